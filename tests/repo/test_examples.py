"""Every example is one that confsync takes as it stands; HAProxy's check too, where there is one."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from confsync.cli import main
from tests.support import machine

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())
SERVICES = EXAMPLES / "05-own-template" / "services.json"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Copy an example; /etc/haproxy becomes a folder that this machine has."""

    def copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(EXAMPLES / name, folder)
        (folder / "etc").mkdir()
        settings = folder / "confsync.toml"
        text = settings.read_text()
        assert "/etc/haproxy/" in text
        settings.write_text(text.replace("/etc/haproxy/", f"{folder}/etc/"))
        return settings

    monkeypatch.setenv("CONFSYNC_STATE__DIRECTORY", str(tmp_path / "state"))
    return copy


def haproxy() -> str:
    for version in ("2.6", "2.8"):
        try:
            return machine.haproxy_binary(version)
        except machine.Missing:
            continue
    pytest.skip("no HAProxy on this machine")


def test_there_are_examples_and_each_says_what_it_is() -> None:
    assert NAMES == [
        "01-host-systemd",
        "02-sidecar",
        "03-docker-target",
        "04-file-source",
        "05-own-template",
        "06-once-in-ci",
        "07-load-balancer",
    ]
    assert all((EXAMPLES / name / "README.md").is_file() for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_templates_are_good_as_they_stand(name: str) -> None:
    settings = EXAMPLES / name / "confsync.toml"
    command = ["check", "--no-haproxy", "-c", str(settings)]
    assert main.main(command) == 0
    assert main.main([*command, "--services", str(SERVICES)]) == 0


# These are checked inside their containers: tests/examples.
CONTAINED = {"03-docker-target", "07-load-balancer"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CONTAINED])
def test_haproxy_takes_what_they_make(
    name: str,
    example: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONFSYNC_TARGET__BINARY", haproxy())
    settings = example(name)
    if name == "01-host-systemd":
        # Debian's package makes this user; other machines have none of that name.
        monkeypatch.setenv("CONFSYNC_TEMPLATE__0__VARS__USER", "")
        monkeypatch.setenv("CONFSYNC_TEMPLATE__0__VARS__GROUP", "")
    for services in ([], ["--services", str(SERVICES)]):
        code = main.main(["check", "-c", str(settings), *services])
        said = capsys.readouterr()
        assert (code, said.err) == (0, "")
        assert "Problems" not in said.out


def test_the_own_template_is_what_its_page_says(
    example: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The hostile zone is one word with `quote`, and costs its instance without."""
    monkeypatch.setenv("CONFSYNC_TARGET__BINARY", haproxy())
    settings = example("05-own-template")
    assert main.main(["once", "-c", str(settings)]) == 3
    said = capsys.readouterr().out
    assert "+    # zone not\\x20one\\x20word" in said
    assert "maxconn 200" in said
    assert "+api.example.org api" in said
    assert "Questions: ops@example.org" in said
    template = settings.with_name("haproxy.cfg.j2")
    template.write_text(template.read_text().replace('"unknown")|quote', '"unknown")'))
    assert main.main(["check", "-c", str(settings), "--services", str(SERVICES)]) == 0
    said = capsys.readouterr().out
    assert "haproxy.cfg.j2:" in said
    assert "instance api-2" in said


def test_the_readme_shows_the_first_example() -> None:
    """One set of settings in two places, but for comments and the opt-in tag."""

    def lines(text: str) -> list[str]:
        bare = (re.sub(r"\s*#.*", "", line).strip() for line in text.splitlines())
        return [line for line in bare if line and not line.startswith("tags")]

    readme = (EXAMPLES.parent / "README.md").read_text()
    shown = readme.partition("`/etc/confsync/confsync.toml`:\n")[2].partition("\n3. ")[0]
    assert lines(shown) == lines((EXAMPLES / "01-host-systemd" / "confsync.toml").read_text())


def test_the_unit_of_the_example_is_there() -> None:
    page = (EXAMPLES / "01-host-systemd" / "README.md").read_text()
    (unit,) = re.findall(r"\.\./\.\./(deploy/\S+\.service)", page)
    assert (EXAMPLES.parent / unit).is_file()
