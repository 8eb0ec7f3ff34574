"""The command as a process: what it imports, where its output goes, how it ends by signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.agent import SERVICES, SETTINGS, STATUS, Agent, agent

PYTHON = [sys.executable, "-X", "faulthandler"]


def loaded_modules(*argv: str) -> set[str]:
    """Run main in a fresh interpreter; the modules that it has imported by the end."""
    code = (
        "import sys; from confsync.__main__ import main; main(sys.argv[1:]);"
        "print(); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {
    "aiohttp",
    "asyncio",
    "consul",
    "jinja2",
    "logging",
    "pydantic",
    "rich",
    "tenacity",
    "yaml",
}


class TestImports:
    def test_version_waits_for_no_parser(self) -> None:
        bare = subprocess.run(
            [sys.executable, "-c", "import sys; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert loaded_modules("--version") - set(bare.stdout.split()) == {
            "confsync",
            "confsync.__main__",
            "confsync.cli",
            "confsync.cli.main",
        }

    def test_help_imports_argparse_and_nothing_more(self) -> None:
        code = "import sys, argparse; argparse.ArgumentParser().format_help(); print(*sys.modules)"
        bare = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        more = loaded_modules("--help") - set(bare.stdout.split())
        assert {name for name in more if not name.startswith("confsync")} == set()
        assert {name for name in more if name.startswith("confsync")} == {
            "confsync",
            "confsync.__main__",
            "confsync.cli",
            "confsync.cli.arguments",
            "confsync.cli.main",
        }

    def test_status_imports_nothing_heavy(self, folder: Path) -> None:
        found = loaded_modules("status", "-c", "confsync.toml")
        assert "confsync.cli.asking" in found
        assert found & HEAVY == set()


class TestUsage:
    @pytest.mark.parametrize(
        ("argv", "code"),
        [(["--version"], 0), (["--no-color", "--version"], 0), (["check", "--help"], 0), ([], 2)],
    )
    @pytest.mark.parametrize(
        ("where", "instead"),
        [("> /dev/full", 73), ("| nobody", 141), (">&-", 73), ("2>&-", None)],
    )
    def test_help_and_version_where_nobody_can_read_them(
        self, argv: list[str], code: int, where: str, instead: int | None
    ) -> None:
        """A script that closes or fills the output gets an exit code, never a traceback."""
        command = [*PYTHON, "-m", "confsync", *argv]
        if where == "| nobody":
            read, write = os.pipe()
            os.close(read)
            done = subprocess.run(command, check=False, stdout=write, stderr=subprocess.PIPE)
            os.close(write)
        else:
            shell = ["sh", "-c", f'"$@" {where}', "sh", *command]
            done = subprocess.run(shell, check=False, stderr=subprocess.PIPE)
        assert done.returncode == (code if code or instead is None else instead)
        assert b"Traceback" not in done.stderr


class TestProcess:
    def test_interrupt_has_no_traceback(self, agents: list[Agent]) -> None:
        asked = agent(agents, None)
        child = subprocess.Popen(
            [*PYTHON, "-m", "confsync", "status"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert asked.asked.wait(60)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out, err) == (130, b"", b"")

    @pytest.mark.parametrize(
        ("command", "number", "code"),
        [("check", signal.SIGINT, 130), ("once", signal.SIGTERM, 143)],
    )
    def test_a_turn_that_is_ended_leaves_nothing_behind(
        self, command: str, number: signal.Signals, code: int, folder: Path
    ) -> None:
        """While HAProxy checks, the candidate (with what passwords it has) lies in TMPDIR."""
        os.mkfifo(folder / "begun")
        (folder / "endless").write_text(
            '#!/bin/sh\ncase $1 in -v*) echo "HAProxy version 2.6.12";;'
            " *) echo > begun; exec sleep 100;; esac\n"
        )
        (folder / "endless").chmod(0o755)
        (folder / "services.json").write_text(json.dumps(SERVICES))
        settings = SETTINGS.replace("[target]", '[target]\nbinary = "./endless"')
        (folder / "confsync.toml").write_text(settings)
        temporary = folder / "tmp"
        temporary.mkdir()
        child = subprocess.Popen(
            [*PYTHON, "-m", "confsync", command],
            env={**os.environ, "TMPDIR": str(temporary)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        (folder / "begun").read_text()  # until the check says that it begins
        staged = list(temporary.iterdir())
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out, err) == (code, b"", b"")
        assert staged
        assert list(temporary.iterdir()) == []

    def test_a_reader_that_goes_away_is_no_error(self, agents: list[Agent]) -> None:
        agent(agents, STATUS)
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [*PYTHON, "-m", "confsync", "status"],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (141, b"")

    def test_a_full_disk_under_the_output(self, agents: list[Agent]) -> None:
        agent(agents, STATUS)
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*PYTHON, "-m", "confsync", "status"],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert done.returncode == 73
        assert done.stderr == b"confsync: error: cannot write the output: No space left on device\n"

    def test_what_the_locale_cannot_say_is_escaped(self, agents: list[Agent]) -> None:
        agent(agents, {**STATUS, "source": {"up": False, "error": "é"}})
        done = subprocess.run(
            [*PYTHON, "-m", "confsync", "status"],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        assert b"does not answer: \\xe9\n" in done.stdout
