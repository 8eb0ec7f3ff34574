"""What a check must read, from values alone; on a real disk: adapters/haproxy/test_check.py."""

import dataclasses
from collections.abc import Collection, Mapping

import pytest

from confsync import errors
from confsync.core.haproxy import candidate
from confsync.core.haproxy.command import MasterCommand
from confsync.domain.rendered import RenderedConfig, RenderedFile

MAIN = "/etc/h/haproxy.cfg"
MAP = "/etc/h/hosts.map"


def config(**texts: str) -> RenderedConfig:
    """Make a set of NAME_EXT=text in /etc/h."""
    files = []
    for name, text in texts.items():
        path = f"/etc/h/{name.replace('_', '.')}"
        files.append(RenderedFile(destination=path, text=text, template=f"{name}.j2"))
    return RenderedConfig(files=tuple(files))


def staged(one: RenderedConfig, folder: str = "/etc/h") -> dict[str, str]:
    return {f.destination: f"{folder}/.{f.destination.rpartition('/')[2]}.new" for f in one.files}


def disk(
    texts: Mapping[str, str] | None = None, folders: Mapping[str, Collection[str]] | None = None
) -> candidate.Disk:
    return candidate.Disk(
        read=lambda path: (texts or {}).get(path, ""), listing=(folders or {}).get
    )


def command(*files: str) -> MasterCommand:
    return MasterCommand(pid=1, files=files, options=("-W", "-L", "lb1"))


def test_a_file_that_names_nothing_new_is_read_where_it_is_staged() -> None:
    one = config(haproxy_cfg="new\n")
    found = candidate.prepare(MAIN, one, staged(one), None, disk())
    assert found.files == ("/etc/h/.haproxy.cfg.new",)
    assert found.copies == {}
    assert found.names == {"/etc/h/.haproxy.cfg.new": MAIN}
    assert found.sources[MAIN].text == "new\n"
    assert found.arguments(None) == ["-c", "-f", "/etc/h/.haproxy.cfg.new"]


def test_the_live_files_are_read_as_they_are() -> None:
    files = ("/a.cfg", MAIN)
    found = candidate.prepare(MAIN, RenderedConfig(), {}, command(*files), disk({MAIN: "live\n"}))
    assert found.files == files
    assert found.sources[MAIN].text == "live\n"
    assert found.arguments(command(*files)) == ["-c", "-W", "-L", "lb1", "-f", "/a.cfg", "-f", MAIN]


def test_new_destinations_are_named_as_whole_words_by_their_staged_paths() -> None:
    text = f'acl a path -f "{MAP}"\nuse_backend %[path,map({MAP},n)]\n# {MAP}.old x{MAP} ~{MAP}\n'
    one = config(haproxy_cfg=text, hosts_map="a b\n")
    found = candidate.prepare(MAIN, one, staged(one), None, disk())
    new = "/etc/h/.hosts.map.new"
    copy = "/etc/h/.haproxy.cfg.check.confsync"
    assert found.files == (copy,)
    assert found.copies == {
        copy: f'acl a path -f "{new}"\nuse_backend %[path,map({new},n)]\n'
        f"# {MAP}.old x{MAP} ~{MAP}\n"
    }
    assert found.names == {copy: MAIN, new: MAP, "/etc/h/.haproxy.cfg.new": MAIN}
    assert found.sources[MAIN].text == text
    assert found.remarks == ()


def test_a_destination_is_found_as_haproxy_sees_it() -> None:
    one = config(haproxy_cfg="acl a path -f /in/hosts.map\n", hosts_map="a b\n")
    files = (one.files[0], dataclasses.replace(one.files[1], seen_as="/in/hosts.map"))
    one = dataclasses.replace(one, files=files)
    found = candidate.prepare(MAIN, one, staged(one), None, disk())
    assert list(found.copies.values()) == ["acl a path -f /etc/h/.hosts.map.new\n"]


def test_what_is_not_named_literally_is_remarked() -> None:
    one = config(haproxy_cfg="map hosts.map\n", hosts_map="a b\n")
    (remark,) = candidate.prepare(MAIN, one, staged(one), None, disk()).remarks
    assert remark.startswith(f"{MAP} changes, but is not named by its full path in {MAIN}")


def test_a_dry_run_keeps_its_copy_where_it_stages() -> None:
    one = config(haproxy_cfg=f"map {MAP}\n", hosts_map="a b\n")
    found = candidate.prepare(MAIN, one, staged(one, "/tmp/x"), None, disk())
    assert found.files == ("/tmp/x/.haproxy.cfg.check.confsync",)
    maps = config(hosts_map="a b\n")
    live = disk({MAIN: f"map {MAP}\n"})
    found = candidate.prepare(MAIN, maps, staged(maps, "/tmp/x"), None, live)
    assert found.files == ("/tmp/x/.haproxy.cfg.check.confsync",)


def test_a_folder_is_opened_in_the_order_of_bytes_with_what_is_new() -> None:
    one = config(haproxy_cfg="m\n", b_cfg="b\n", hosts_map="a b\n")
    folders = {"/etc/h": ["z.cfg", "\udcff.cfg", ".hidden.cfg", "A.cfg", "x.map", "haproxy.cfg"]}
    found = candidate.prepare(MAIN, one, staged(one), command("/etc/h"), disk({}, folders))
    assert [name.rpartition("/")[2] for name in found.files] == [
        "A.cfg",
        ".b.cfg.new",
        ".haproxy.cfg.new",
        "z.cfg",
        "\udcff.cfg",
    ]


def test_a_main_file_that_does_not_run_is_checked_alone_and_remarked() -> None:
    found = candidate.prepare(MAIN, RenderedConfig(), {}, command("/other.cfg"), disk())
    assert found.files == (MAIN,)
    assert found.remarks == (
        (
            f"the running HAProxy does not load {MAIN} but /other.cfg: set target.config, or start "
            "HAProxy with it"
        ),
    )


def judged(code: int, output: str, *, live: bool = False) -> tuple[str, ...]:
    one = config(haproxy_cfg="one\nwibble hush\n")
    found = candidate.prepare(MAIN, one, staged(one), None, disk())
    return candidate.judged(
        code, output, found, live=live, masked=lambda text: text.replace("hush", "*****")
    )


def test_warnings_of_a_check_that_passed() -> None:
    said = "[WARNING]  (9) : config : [/etc/h/.haproxy.cfg.new:1] : odd hush\n"
    assert judged(0, said) == (f"{MAIN}:1: odd *****",)


def test_a_refusal_stands_beside_its_line() -> None:
    said = "[ALERT]  (9) : config : parsing [/etc/h/.haproxy.cfg.new:2] : unknown 'wibble'\n"
    with pytest.raises(errors.CheckRejected) as caught:
        judged(1, said)
    assert str(caught.value) == f"HAProxy refuses the configuration: {MAIN}:2: unknown 'wibble'"
    assert caught.value.detail.splitlines() == [
        f"{MAIN}:2: unknown 'wibble'",
        "      2 | wibble *****",
        "        | (rendered from haproxy_cfg.j2)",
    ]
    with pytest.raises(errors.CheckRejected, match="refuses the files on disk"):
        judged(1, said, live=True)


def test_what_says_nothing_is_shown_as_it_is_and_a_signal_judges_nothing() -> None:
    with pytest.raises(errors.CheckRejected, match="exit code 2") as caught:
        judged(2, "odd\x1b hush\n")
    assert caught.value.detail == "odd\N{REPLACEMENT CHARACTER} *****"
    with pytest.raises(errors.CheckUnavailable, match="signal 11"):
        judged(-11, "")


def test_an_unknown_start_is_told() -> None:
    assert "only /a.cfg was checked, with confsync's own environment" in candidate.unknown_start(
        "/a.cfg"
    )
    assert candidate.unknown_start("/a.cfg", "its").endswith("with its environment")
