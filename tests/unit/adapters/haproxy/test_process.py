import os
from pathlib import Path

import pytest

from confsync.adapters.haproxy import process

CAPTURED = Path(__file__).parent / "captured"


def master(proc: Path, words: list[str], environment: str = "PATH=/bin") -> None:
    """Make a /proc of one process, 7."""
    folder = proc / "7"
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(os.fsencode(w) + b"\0" for w in words))
    (folder / "environ").write_text(environment.replace("\n", "\0") + "\0")
    (folder / "cwd").symlink_to("/srv/lb")
    (folder / "exe").symlink_to("/usr/sbin/haproxy")


@pytest.mark.parametrize("version", ["2.6", "2.8", "3.0", "3.2"])
def test_what_a_reloaded_master_leaves_in_its_environment_is_left_out(
    version: str, tmp_path: Path
) -> None:
    left = (CAPTURED / version / "environ").read_text()
    assert "HAPROXY_MWORKER" in left
    words = (CAPTURED / version / "cmdline").read_text().split()
    master(tmp_path, words, left + "NOTIFY_SOCKET=/run/systemd/notify\nWEB=127.0.0.1\nHAPROXY_X=1")
    command = process.read(7, tmp_path)
    assert command is not None
    assert command.environment is not None
    assert {k: v for k, v in command.environment.items() if k != "HAPROXY_LOCALPEER"} == {
        "WEB": "127.0.0.1",
        "HAPROXY_X": "1",
    }
    assert command.files == ("/etc/haproxy/haproxy.cfg",)
    assert command.options == ("-W",)


def test_relative_files_start_at_the_working_directory(tmp_path: Path) -> None:
    master(tmp_path, ["haproxy", "-f", "etc/a.cfg", "-f", "/b.cfg"])
    command = process.read(7, tmp_path)
    assert command is not None
    assert command.files == ("/srv/lb/etc/a.cfg", "/b.cfg")
    assert command.directory == "/srv/lb"
    assert command.notes == ()


def test_relative_files_start_at_an_absolute_folder(tmp_path: Path) -> None:
    master(tmp_path, ["haproxy", "-C", "/opt", "-f", "a.cfg"])
    command = process.read(7, tmp_path)
    assert command is not None
    assert command.files == ("/opt/a.cfg",)


def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    master(tmp_path, ["haproxy", "-f", "a.cfg"])
    for name in ("environ", "cwd", "exe"):
        (tmp_path / "7" / name).unlink()
    command = process.read(7, tmp_path)
    assert command is not None
    assert command.environment is None
    assert len(command.notes) == 2
    assert all("run confsync as root" in note for note in command.notes)


def test_an_upgraded_program_is_noticed(tmp_path: Path) -> None:
    master(tmp_path, ["haproxy", "-f", "/a.cfg"])
    (tmp_path / "7" / "exe").unlink()
    (tmp_path / "7" / "exe").symlink_to("/usr/sbin/haproxy (deleted)")
    command = process.read(7, tmp_path)
    assert command is not None
    assert (command.program, command.replaced) == ("/usr/sbin/haproxy", True)


def test_what_is_no_haproxy_or_not_there_is_none(tmp_path: Path) -> None:
    assert process.read(7, tmp_path) is None
    master(tmp_path, ["/sbin/init", "splash"])
    assert process.read(7, tmp_path) is None
