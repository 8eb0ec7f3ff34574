"""Arguments, exit codes, and the way out of every failure, without a traceback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import confsync
from confsync import errors
from confsync.cli import arguments, main
from tests.fakes.agent import SERVICES, SETTINGS, STATUS, Agent, agent
from tests.unit.cli.schema import faults
from tests.unit.cli.test_document import SCHEMA


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
