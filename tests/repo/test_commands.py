"""docs/commands.md against the code: exit codes, commands, flags."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.cli import arguments, main, working
from confsync.engine import draft

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
CODES = {
    int(code): words for code, words in re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
}

TABLE = {
    errors.SettingsError: 78,
    errors.Unavailable: 69,
    errors.DiscoveryError: 69,
    errors.RegistryDenied: 77,
    errors.RenderError: 65,
    errors.CheckRejected: 65,
    errors.CheckUnavailable: 69,
    errors.WriteError: 73,
    errors.NotOurs: 73,
    errors.TargetError: 69,
    errors.TargetUnavailable: 69,
    errors.TargetDenied: 77,
    errors.ReloadFailed: 75,
    errors.CertificateRefused: 65,
    errors.NeedsReload: 75,
    errors.VipError: 69,
    errors.VipDenied: 77,
    errors.StateError: 73,
    errors.Locked: 75,
    errors.AgentUnreachable: 69,
}


def every(kind: type[errors.ConfsyncError]) -> Iterator[type[errors.ConfsyncError]]:
    for below in kind.__subclasses__():
        yield below
        yield from every(below)


def test_every_error_has_the_code_of_the_table() -> None:
    ours = {kind: kind.exit_code for kind in every(errors.ConfsyncError)}
    assert {k: c for k, c in ours.items() if k.__module__ == "confsync.errors"} == TABLE
    assert set(ours.values()) <= set(CODES)


def test_the_page_has_no_code_that_nothing_gives() -> None:
    others = {
        0,
        main.BUG,
        main.USAGE,
        draft.WOULD_CHANGE_EXIT,
        draft.HELD_EXIT,
        main.INTERRUPTED,
        main.READER_GONE,
        working.TERMINATED,
    }
    assert set(CODES) == set(TABLE.values()) | others


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "in step, or applied"),
        (1, "bug"),
        (2, "usage"),
        (3, "would change"),
        (4, "held by the guard"),
        (65, "refuses the configuration, or a template fails"),
        (69, "not reachable in time"),
        (73, "cannot write, or not ours to replace"),
        (75, "reload failed or not confirmed; locked by another agent"),
        (77, "denied"),
        (78, "settings wrong"),
    ],
)
def test_the_words_of_the_contract(code: int, words: str) -> None:
    assert words in CODES[code]


def commands() -> dict[str, argparse.ArgumentParser]:
    parser = arguments.parser()
    (sub,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(sub.choices)


def test_every_command_is_on_the_page_and_no_other() -> None:
    assert set(re.findall(r"^\| `confsync (\w+)", PAGE, re.MULTILINE)) == set(commands())


def test_every_flag_is_on_the_page_and_no_other() -> None:
    shown: dict[str, set[str]] = {}
    for flags, of in re.findall(r"^\| (`-.+?`) \| (.+?) \|", PAGE, re.MULTILINE):
        for flag in re.findall(r"--[a-z-]+", flags):
            shown[flag] = set(commands()) if of == "all" else set(of.split(", "))
    real: dict[str, set[str]] = {}
    for name, parser in commands().items():
        for action in parser._actions:
            for flag in action.option_strings:
                if flag.startswith("--") and flag != "--help":
                    real.setdefault(flag, set()).add(name)
    assert shown == real
