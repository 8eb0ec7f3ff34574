from pathlib import Path

import pytest

from confsync.core.haproxy import verdict

CFG = "/etc/haproxy/haproxy.cfg"
VERSIONS = ("2.6", "2.8", "3.0", "3.2")


def said(version: str, name: str) -> tuple[verdict.Entry, ...]:
    text = (Path(__file__).parent / "captured" / version / f"check.{name}").read_text()
    return verdict.entries(text, {})


def source(lines: dict[int, str], template: str = "haproxy.cfg.j2") -> dict[str, verdict.Source]:
    text = "\n".join(lines.get(n, "") for n in range(1, max(lines) + 1))
    return {CFG: verdict.Source(text=text, template=template)}


@pytest.mark.parametrize("version", VERSIONS)
def test_words_stand_beside_the_lines_with_their_template(version: str) -> None:
    lines = source({12: "  server a 127.0.0.1:1 wibble", 13: "bogus"})
    assert verdict.beside_lines(said(version, "bad"), lines).splitlines() == [
        f"{CFG}:12: 'server be/a' : unknown keyword 'wibble'.",
        "     12 |   server a 127.0.0.1:1 wibble",
        "        | (rendered from haproxy.cfg.j2)",
        f"{CFG}:13: unknown keyword 'bogus' in 'backend' section",
        "     13 | bogus",
        "        | (rendered from haproxy.cfg.j2)",
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_headline_is_the_first_fault(version: str) -> None:
    assert verdict.headline(said(version, "bad")) == (
        f"{CFG}:12: 'server be/a' : unknown keyword 'wibble'."
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_warnings_are_one_line_each_and_no_faults(version: str) -> None:
    entries = said(version, "warn")
    first, second = verdict.warnings(entries)
    assert first.startswith("missing timeouts for frontend 'a'. While not properly invalid, ")
    assert first.endswith("'client', 'connect', 'server'.")
    assert second.startswith("missing timeouts for backend 'b'.")
    assert verdict.headline(entries) == ""
    assert verdict.beside_lines(entries, {}) == ""


def test_staged_paths_become_the_real_names() -> None:
    text = (
        "[ALERT]    (9) : config : parsing [/e/.h.cfg.check.confsync:2] : failed to open pattern file "
        "</e/.x.map.confsync>.\n"
    )
    entries = verdict.entries(
        text, {"/e/.h.cfg.check.confsync": "/e/h.cfg", "/e/.x.map.confsync": "/e/x.map"}
    )
    assert verdict.headline(entries) == "/e/h.cfg:2: failed to open pattern file </e/x.map>."


def test_a_fault_without_a_place_and_a_place_without_a_line_are_shown() -> None:
    entries = verdict.entries(
        "[ALERT]    (9) : config : Proxy 'fe': unable to find required default_backend: 'x'.\n"
        f"[ALERT]    (9) : config : parsing [{CFG}:99]: Missing LF on last line\n",
        {},
    )
    assert verdict.beside_lines(entries, source({1: "x"})).splitlines() == [
        "Proxy 'fe': unable to find required default_backend: 'x'.",
        f"{CFG}:99: Missing LF on last line",
    ]


def test_closing_words_are_kept_only_when_there_are_no_others() -> None:
    closing = "[ALERT]    (9) : config : Fatal errors found in configuration.\n"
    assert verdict.headline(verdict.entries(closing, {})) == "Fatal errors found in configuration."


def test_many_faults_are_cut() -> None:
    text = "".join(f"[ALERT]    (9) : fault {n}\n" for n in range(100))
    shown = verdict.beside_lines(verdict.entries(text, {}), {}).splitlines()
    assert len(shown) == verdict.SHOWN + 1
    assert shown[-1] == "... and 80 more"


def test_a_terminal_is_not_commanded() -> None:
    entries = verdict.entries("[ALERT]    (9) : parsing [/c:1] : bad \x1b[2J word\n", {})
    shown = verdict.beside_lines(entries, {"/c": verdict.Source(text="x \x1b]0;evil\x07")})
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\x1b" not in verdict.headline(entries)


def test_words_for_passwords_hide_what_follows() -> None:
    text = "stats auth joe:hush\nuser joe insecure-password hush password $6$hush"
    assert "hush" not in verdict.without_passwords(text)
