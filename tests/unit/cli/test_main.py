"""Arguments, exit codes, lazy imports, and the way out of every failure, without a traceback."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import confsync
from confsync import errors
from confsync.cli import arguments, main
from tests.unit.cli.schema import faults
from tests.unit.cli.test_document import SCHEMA

PYTHON = [sys.executable, "-X", "faulthandler"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CONFSYNC_"):
            monkeypatch.delenv(name)
    return tmp_path


class Agent:
    """Answers on a control socket with one line, or never."""

    def __init__(self, path: Path, reply: dict[str, object] | None) -> None:
        self.requests: list[dict[str, object]] = []
        self.asked = threading.Event()
        self._reply = reply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rwb") as file:
            self.requests.append(json.loads(file.readline()))
            self.asked.set()
            if self._reply is None:
                file.read()
            else:
                file.write(json.dumps(self._reply).encode() + b"\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.fixture
def agents(folder: Path) -> Iterator[list[Agent]]:
    (folder / "confsync.toml").write_text('[state]\ndirectory = "."\n')
    started: list[Agent] = []
    yield started
    for each in started:
        each.close()


def agent(agents: list[Agent], reply: dict[str, object] | None) -> Agent:
    agents.append(Agent(Path("agent.sock"), reply))
    return agents[-1]


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
    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["--version"], ["--no-color", "--version"]):
            assert main.main(words) == 0
            assert capsys.readouterr().out == f"confsync {confsync.__version__}\n"

    def test_no_command_is_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main([]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "usage: confsync" in said.err

    @pytest.mark.parametrize(
        "argv",
        [
            ["nonsense"],
            ["once", "--adopt"],
            ["once", "--timeout", "0"],
            ["once", "--timeout", "nan"],
            ["once", "--timeout", "soon"],
            ["once", "--output", "xml"],
            ["once", "--app"],
            ["release", "web", "--all"],
            ["release", "--registry", "--all"],
            ["run", "more"],
            ["--config"],
        ],
    )
    def test_wrong(self, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(argv) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "error: " in said.err

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

    @pytest.mark.parametrize(
        ("argv", "config", "debug"),
        [
            (["status"], None, False),
            (["-c", "a", "status"], "a", False),
            (["status", "-c", "b"], "b", False),
            (["--debug", "-c", "a", "status", "-c", "b"], "b", True),
            (["-c", "a", "status", "--debug"], "a", True),
        ],
    )
    def test_shared_flags_stand_anywhere(
        self, argv: list[str], config: str | None, debug: bool
    ) -> None:
        options = arguments.parser().parse_args(argv)
        assert (options.config, options.debug, options.no_color) == (config, debug, False)

    def test_once(self) -> None:
        argv = ["once", "--apply", "--release", "a", "--release", "b", "--timeout", "3"]
        options = arguments.parser().parse_args(argv)
        assert (options.apply, options.release, options.timeout) == (True, ["a", "b"], 3.0)
        assert arguments.parser().parse_args(["once"]).timeout == 10


def every(kind: type[errors.ConfsyncError]) -> Iterator[type[errors.ConfsyncError]]:
    for below in kind.__subclasses__():
        yield below
        yield from every(below)


def made(kind: type[errors.ConfsyncError]) -> errors.ConfsyncError:
    if issubclass(kind, errors.SettingsError):
        return kind(["a fault"])
    if issubclass(kind, errors.RenderError):
        return kind("what", template="t.j2", line=3, remedy="do this")
    return kind("what", remedy="do this", detail="one\ntwo")


OURS = [each for each in every(errors.ConfsyncError) if each.__module__ == "confsync.errors"]


class TestErrors:
    @pytest.mark.parametrize("kind", OURS)
    @pytest.mark.parametrize("grouped", [False, True])
    def test_each_error_ends_with_its_code(
        self, kind: type[errors.ConfsyncError], grouped: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error: BaseException = made(kind)
        if grouped:
            error = BaseExceptionGroup("", [BaseExceptionGroup("", [error])])
        assert main._explain(error, debug=False) == kind.exit_code
        said = capsys.readouterr().err
        assert said.startswith("confsync: error: ")
        assert "Traceback" not in said

    def test_what_remedy_and_detail(self, capsys: pytest.CaptureFixture[str]) -> None:
        main._explain(made(errors.CheckRejected), debug=False)
        assert capsys.readouterr().err == "confsync: error: what\n  do this\n  one\n  two\n"

    def test_the_worst_of_a_group_wins(self) -> None:
        both = [made(errors.Unavailable), made(errors.Locked)]
        assert main._explain(ExceptionGroup("", both), debug=False) == 75
        bug = [*both, ZeroDivisionError()]
        assert main._explain(ExceptionGroup("", bug), debug=False) == 1

    def test_a_bug(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main._explain(ValueError("hunter2"), debug=False) == 1
        said = capsys.readouterr().err
        assert said.startswith("confsync: a bug of confsync: ValueError\n")
        assert "hunter2" not in said
        assert main._explain(ValueError("x"), debug=True) == 1
        assert "ValueError: x" in capsys.readouterr().err

    def test_interrupted(self, capsys: pytest.CaptureFixture[str]) -> None:
        group = BaseExceptionGroup("", [KeyboardInterrupt()])
        assert main._explain(group, debug=False) == 130
        assert capsys.readouterr().err == ""

    def test_wrong_settings_show_all_faults(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "confsync.toml").write_text('[log]\nlevel = "x"\n[guards]\n')
        assert main.main(["check"]) == 78
        said = capsys.readouterr()
        assert said.out == ""
        lines = said.err.splitlines()
        assert lines[0] == "confsync: error: 2 faults in the settings"
        assert lines[1].startswith('  confsync.toml:2: [log] level = "x": ')
        assert lines[2].startswith("  confsync.toml:3: [guards]: ")

    def test_who_asks_for_json_gets_json(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main.main(["once", "--output", "json", "-c", "no.toml"]) == 78
        said = capsys.readouterr()
        document = json.loads(said.out)
        assert (document["outcome"], document["exit_code"]) == ("failed", 78)
        assert "no such file" in document["detail"]
        assert said.err.startswith("confsync: error: 1 fault")


STATUS: dict[str, object] = {"ok": True, "alive": True, "exit_code": 4, "version": "1", "holds": []}


class TestAsking:
    def test_no_agent(self, agents: list[Agent], capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["status"]) == 69
        assert "confsync run" in capsys.readouterr().err

    def test_a_fault_elsewhere_in_the_settings_does_not_hide_the_agent(
        self, agents: list[Agent], folder: Path
    ) -> None:
        (folder / "confsync.toml").write_text('[state]\ndirectory = "."\n[log]\nlevel = "x"\n')
        agent(agents, STATUS)
        assert main.main(["status"]) == 0

    @pytest.mark.parametrize(
        ("reply", "argv", "code"),
        [
            ({}, [], 0),
            ({}, ["--check"], 4),
            ({"exit_code": 0}, ["--check"], 0),
            ({"exit_code": None}, ["--check"], 69),
            ({"exit_code": 4000}, ["--check"], 69),
            ({"alive": False}, [], 69),
            ({"alive": False}, ["--check"], 69),
        ],
    )
    def test_status(
        self,
        agents: list[Agent],
        reply: dict[str, object],
        argv: list[str],
        code: int,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        agent(agents, {**STATUS, **reply})
        assert main.main(["status", *argv]) == code
        assert capsys.readouterr().out.startswith("confsync 1, pid")

    def test_status_as_json(self, agents: list[Agent], capsys: pytest.CaptureFixture[str]) -> None:
        agent(agents, STATUS)
        assert main.main(["status", "--output", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"schema": 1, **STATUS}

    @pytest.mark.parametrize(
        ("argv", "request_", "said"),
        [
            (
                ["release"],
                ("release", {"service": None, "registry": False, "all": False}),
                "nothing is held",
            ),
            (
                ["release", "web"],
                ("release", {"service": "web", "registry": False, "all": False}),
                "nothing is held",
            ),
            (
                ["release", "--", "--all"],
                ("release", {"service": "--all", "registry": False, "all": False}),
                "nothing is held",
            ),
            (
                ["release", "--all"],
                ("release", {"service": None, "registry": False, "all": True}),
                "nothing is held",
            ),
            (["pause"], ("pause", {}), "paused: "),
            (["resume"], ("resume", {}), "resumed"),
        ],
    )
    def test_commands(
        self,
        agents: list[Agent],
        argv: list[str],
        request_: tuple[str, dict[str, object]],
        said: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        asked = agent(agents, {"ok": True})
        assert main.main(argv) == 0
        assert asked.requests == [{"command": request_[0], "args": request_[1]}]
        assert capsys.readouterr().out.startswith(said)

    def test_a_refusal(self, agents: list[Agent], capsys: pytest.CaptureFixture[str]) -> None:
        agent(agents, {"ok": False, "error": "a\nb", "remedy": "c", "exit_code": 73})
        assert main.main(["pause"]) == 73
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "confsync: error: a\\nb\n  c\n")

    def test_a_refusal_never_ends_with_0(self, agents: list[Agent]) -> None:
        agent(agents, {"ok": False, "exit_code": 0})
        assert main.main(["pause"]) == 69


SERVICES = {
    "services": [{"name": "web", "instances": [{"id": "a", "address": "10.0.0.1", "port": 80}]}]
}
SETTINGS = """
[source]
type = "file"
path = "services.json"
[target]
config = "haproxy.cfg"
master_socket = "master.sock"
stats_socket = "admin.sock"
[state]
directory = "state"
"""


class TestWorking:
    """The commands on the real wiring, as far as it goes without HAProxy."""

    @pytest.fixture
    def site(self, folder: Path) -> Path:
        (folder / "state").mkdir()
        (folder / "services.json").write_text(json.dumps(SERVICES))
        (folder / "confsync.toml").write_text(SETTINGS)
        return folder

    def test_check_without_haproxy(self, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["check", "--no-haproxy", "--services", "services.json"]) == 0
        said = capsys.readouterr()
        assert said.out == "good: settings and templates; HAProxy's own check was left out\n"
        assert said.err == ""

    @pytest.fixture
    def failing(self, site: Path) -> Path:
        with (site / "confsync.toml").open("a") as file:
            file.write('[[template]]\nsource = "t.j2"\ndestination = "haproxy.cfg"\n')
        (site / "t.j2").write_text("a\n{{ nothing.here }}\n")
        return site

    def test_check_of_a_template_that_fails(
        self, failing: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main.main(["check", "--no-haproxy"]) == 65
        said = capsys.readouterr()
        assert said.out.startswith("refused in stage ")
        assert said.err.startswith("confsync: error: ")
        assert "t.j2:2" in said.err

    def test_once_as_json(self, failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What the wiring gives keeps to the schema, and nothing was changed."""
        before = sorted(failing.rglob("*"))
        assert main.main(["once", "--output", "json"]) == 65
        said = capsys.readouterr()
        document = json.loads(said.out)
        assert faults(document, SCHEMA) == []
        assert (document["outcome"], document["exit_code"]) == ("failed", 65)
        assert "t.j2:2" in document["error"]
        assert said.err.startswith("confsync: error: ")
        assert sorted(failing.rglob("*")) == before


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
