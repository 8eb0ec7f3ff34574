"""Completion in the shells themselves, at a terminal."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.terminal import Terminal

START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
LINES = {
    "confsync sta": ["confsync", "status"],
    "confsync once --ap": ["confsync", "once", "--apply"],
    "confsync once --output=j": ["confsync", "once", "--output=json"],
    "confsync once --output j": ["confsync", "once", "--output", "json"],
    "confsync check --services ./serv": ["confsync", "check", "--services", "./services.json"],
    "confsync --config=./serv": ["confsync", "--config=./services.json"],
    "confsync nix ": ["confsync", "nix"],
}


def shell(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise machine.Missing(f"no {name} on this machine")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """A PATH with this checkout's confsync first, and no settings of this machine's user."""
    (tmp_path / "services.json").touch()
    program = tmp_path / "bin" / "confsync"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m confsync "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_commands_flags_choices_and_files_are_completed(
    name: str, environ: Mapping[str, str], tmp_path: Path
) -> None:
    shell(name)
    with Terminal(START[name], env=environ) as terminal:
        terminal.run(f"cd {tmp_path}")
        if name == "zsh":
            terminal.run("autoload -Uz compinit; compinit -D")
        terminal.run(f"source <(confsync completion {name})")
        assert {line: terminal.complete(line) for line in LINES} == LINES


def test_zsh_finds_the_script_on_its_path(environ: Mapping[str, str], tmp_path: Path) -> None:
    shell("zsh")
    with Terminal(START["zsh"], env=environ) as terminal:
        terminal.run(f"cd {tmp_path}; confsync completion zsh >bin/_confsync")
        terminal.run("fpath=($PWD/bin $fpath)")
        terminal.run("autoload -Uz compinit; compinit -D")
        assert {line: terminal.complete(line) for line in LINES} == LINES


def test_fish_completes(environ: Mapping[str, str], tmp_path: Path) -> None:
    shell("fish")
    asked = [line for line in LINES if not line.endswith("nix ")]
    script = "confsync completion fish | source; " + "; ".join(
        f"complete -C '{line}'" for line in asked
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={**environ, "TERM": "dumb"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        LINES[line][-1] for line in asked
    ]
