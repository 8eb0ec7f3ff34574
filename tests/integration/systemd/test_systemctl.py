"""The module against programs that say what real ones say (texts from Debian 12)."""

from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.systemd.systemctl import Systemctl
from tests.unit.adapters.systemd.test_systemctl import SHOWN


class Programs:
    """A PATH with `systemctl` and `journalctl` that say and return what a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"

    def will(self, name: str, said: str, code: int = 0) -> None:
        program = self.folder / name
        program.write_text(
            f"#!/bin/sh\necho {name} \"$@\" >> {self.log}\ncat <<'EOF'\n{said}\nEOF\nexit {code}\n"
        )
        program.chmod(0o755)

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Programs(tmp_path)


async def test_show_asks_for_one_unit_and_no_right(programs: Programs) -> None:
    programs.will("systemctl", SHOWN)
    one = Systemctl("haproxy.service")
    assert (await one.show()).main_pid == 193
    assert await one.main_pid() == 193
    assert programs.asked()[0].startswith("systemctl show ")
    assert programs.asked()[0].endswith(" -- haproxy.service")


async def test_an_unknown_unit_names_the_setting(programs: Programs) -> None:
    programs.will("systemctl", "LoadState=not-found\nActiveState=inactive\nMainPID=0")
    with pytest.raises(errors.TargetUnavailable, match=r"no unit x\.service") as caught:
        await Systemctl("x.service").show()
    assert "target.unit" in caught.value.remedy
    assert await Systemctl("x.service").main_pid() == 0


async def test_a_machine_without_systemd(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.will("systemctl", "System has not been booted with systemd as init system", 1)
    with pytest.raises(errors.TargetUnavailable, match="has not been booted") as caught:
        await Systemctl("haproxy.service").show()
    assert 'target.type = "socket"' in caught.value.remedy
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(errors.TargetUnavailable, match="cannot run systemctl"):
        await Systemctl("haproxy.service").show()


async def test_a_reload_is_asked_for_without_asking_back(programs: Programs) -> None:
    programs.will("systemctl", "")
    await Systemctl("haproxy.service").reload(5)
    assert programs.asked() == ["systemctl reload --no-ask-password -- haproxy.service"]


@pytest.mark.parametrize(
    "said",
    [
        "Failed to reload haproxy.service: Interactive authentication required.\nSee system logs",
        "Failed to reload haproxy.service: Access denied",
    ],
)
async def test_a_reload_that_is_not_allowed_names_the_rule(programs: Programs, said: str) -> None:
    programs.will("systemctl", said, 1)
    with pytest.raises(errors.TargetDenied) as caught:
        await Systemctl("haproxy.service").reload(5)
    assert "polkit" in caught.value.remedy


async def test_a_reload_that_fails(programs: Programs) -> None:
    programs.will("systemctl", "Job for haproxy.service failed.\nSee more", 1)
    with pytest.raises(errors.ReloadFailed, match=r"failed: Job for haproxy\.service failed\."):
        await Systemctl("haproxy.service").reload(5)


async def test_the_journals_words_and_their_absence(programs: Programs) -> None:
    programs.will("journalctl", "[ALERT] (1) : bad\x1b[2J")
    one = Systemctl("haproxy.service")
    assert await one.words(12.9) == "[ALERT] (1) : bad [2J"
    assert "--since=@12 -u haproxy.service" in programs.asked()[0]
    programs.will("journalctl", "No journal files were opened due to insufficient permissions.", 1)
    assert await one.words(12.4) == ""


async def test_the_journal_is_read_again_when_it_lags(programs: Programs) -> None:
    (programs.folder / "journalctl").write_text(
        f"#!/bin/sh\necho x >> {programs.log}\n[ $(wc -l < {programs.log}) -lt 2 ] || echo late\n"
    )
    (programs.folder / "journalctl").chmod(0o755)
    assert await Systemctl("haproxy.service").words(1) == "late"


async def test_a_hanging_systemctl_is_given_up(programs: Programs) -> None:
    (programs.folder / "systemctl").write_text("#!/bin/sh\nsleep 1000\n")
    (programs.folder / "systemctl").chmod(0o755)
    with pytest.raises(errors.TargetUnavailable, match="was not done within"):
        await Systemctl("haproxy.service").reload(0.1)
