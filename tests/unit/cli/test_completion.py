"""What could stand at the cursor, for every command and flag, and what a registry cannot slip in."""

import argparse
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync.cli import arguments, completion, grammar, main

PARSER = arguments.parser()
(SUB,) = (a for a in PARSER._actions if isinstance(a, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = dict(SUB.choices)


def offered(*words: str, environ: dict[str, str] | None = None) -> list[str]:
    """Candidates without their descriptions."""
    return [each.split("\t")[0] for each in completion.offered(words, environ or {})]


def long_flags(parser: argparse.ArgumentParser) -> list[str]:
    return [action.option_strings[-1] for action in parser._actions if action.option_strings]


def test_every_command_is_offered_with_what_it_does() -> None:
    assert offered("") == list(COMMANDS)
    assert f"run\t{COMMANDS['run'].description}" in list(completion.offered([""], {}))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_a_command_is_offered(name: str) -> None:
    assert offered(name, "-") == long_flags(COMMANDS[name])


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (["-"], long_flags(PARSER)),
        (["--v"], ["--version"]),
        (["re"], ["release", "resume"]),
        (["--debug", "-c", "once", "pau"], ["pause"]),
        (["-c", "x", "--config=y", "pau"], ["pause"]),
        (["nix", ""], []),
        (["nix", "--"], []),
        (["run", "x", ""], offered("run", "-")),
        (["once", "--ap"], ["--apply"]),
        (["once", "--apply", "--ap"], []),
        (["once", "--release", "x", "--rel"], ["--release"]),
        (["once", "--output", ""], ["text", "json"]),
        (["once", "--output", "j"], ["json"]),
        (["once", "--output=j"], ["--output=json"]),
        (["once", "--output", "=", "j"], ["json"]),
        (["once", "--output", "="], ["text", "json"]),
        (["once", "--timeout", ""], []),
        (["once", "--nix=j"], []),
        (["once", "--apply=j"], []),
        (["-c", ""], [completion.FILES]),
        (["--config=/etc"], [completion.FILES]),
        (["check", "--services", "/etc"], [completion.FILES]),
        (["demo", "--consul", ""], [completion.FILES]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["completion", "z"], ["zsh"]),
        ([], list(COMMANDS)),
    ],
)
def test_what_is_offered(line: list[str], answer: list[str]) -> None:
    assert offered(*line) == answer


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which an agent answers that holds services, some with evil names."""
    names = ["web", "api.v2", "", "a b", "$(reboot)", "-rf", "a;b", "a:b", "a\nb", "wörk"]
    reply = {"ok": True, "holds": [{"service": name} for name in names] + [None, {}]}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "agent.sock"))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                assert json.loads(file.readline()) == {"command": "release", "args": {}}
                file.write(json.dumps(reply).encode() + b"\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield {"CONFSYNC_STATE__DIRECTORY": str(tmp_path)}
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def test_held_services_are_offered_unless_a_shell_would_obey_their_names(
    agent: dict[str, str],
) -> None:
    assert offered("release", "", environ=agent) == ["web", "api.v2"]
    assert offered("release", "w", environ=agent) == ["web"]
    assert offered("once", "--release", "a", environ=agent) == ["api.v2"]


def test_the_settings_of_the_line_say_where_the_agent_is(
    agent: dict[str, str], tmp_path: Path
) -> None:
    settings = tmp_path / "other.toml"
    settings.write_text(f"[state]\ndirectory = '{agent['CONFSYNC_STATE__DIRECTORY']}'\n")
    for words in (["-c", str(settings)], [f"--config={settings}"]):
        assert offered(*words, "release", "") == ["web", "api.v2"]


def test_without_an_agent_or_with_wrong_settings_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFSYNC_STATE__DIRECTORY", str(tmp_path))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[")
    for words in (["release", ""], ["-c", str(wrong), "release", ""], ["-c", "", "release", ""]):
        assert main.main(["completion", "words", "confsync", *words]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_line_may_hold_anything(capsys: pytest.CaptureFixture[str]) -> None:
    """What the shells hand over is not for argparse to read."""
    for words, first in (
        (["--"], "--help"),
        (["once", "--"], "--help"),
        (["--", "once", "--ad"], "--adopt"),
        (["--version", "once", "--ad"], "--adopt"),
        (["-"], "--help"),
    ):
        assert main.main(["completion", "words", "./confsync", *words]) == 0
        assert capsys.readouterr().out.split()[0] == first


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_a_script_is_printed_and_nothing_may_follow(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["completion", shell]) == 0
    assert capsys.readouterr().out == completion.SCRIPTS[shell]
    assert main.main(["completion", shell, "--debug"]) == 2
    assert "nothing follows" in capsys.readouterr().err


def test_the_shells_of_the_parser_are_those_with_scripts() -> None:
    (shell,) = (a for a in COMMANDS["completion"]._actions if a.dest == "shell")
    assert tuple(shell.choices or ()) == (*completion.SCRIPTS, "words")


def test_the_grammar_has_every_flag_of_the_parser() -> None:
    read = grammar.read(PARSER)
    assert [each.name for each in read.commands] == list(COMMANDS)
    for name, parser in COMMANDS.items():
        command = read.command(name)
        assert command is not None
        shown = [flag for action in parser._actions for flag in action.option_strings]
        assert [flag for each in command.flags for flag in each.flags] == shown
        assert all(each.help for each in (*command.flags, *command.words))
