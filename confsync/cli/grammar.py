"""The command line as values, read from the parser, for whoever tells others about it.

The one place that looks into argparse: completion and the man page say what the parser says.
"""

import argparse
from dataclasses import dataclass

FILES = frozenset({"FILE", "PROGRAM"})
"""How the parser names values that are files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A flag, or (without `flags`) a word that stands by itself.

    `value`: how help names what must follow, empty when nothing does. `name`: the parser's own.
    """

    name: str
    flags: tuple[str, ...] = ()
    value: str = ""
    choices: tuple[str, ...] = ()
    help: str
    again: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, or the program as a whole, whose `commands` are those."""

    name: str
    help: str
    flags: tuple[Argument, ...]
    words: tuple[Argument, ...]
    commands: tuple["Command", ...] = ()

    def command(self, name: str) -> "Command | None":
        """Find a command by its name."""
        return next((each for each in self.commands if each.name == name), None)

    def flag(self, written: str) -> Argument | None:
        """Find a flag as it is written: `-c`, `--config`."""
        return next((each for each in self.flags if written in each.flags), None)


def read(parser: argparse.ArgumentParser) -> Command:
    """Read a parser and those of its commands; what its help hides is left out."""
    shown = [each for each in parser._actions if each.help is not argparse.SUPPRESS]  # noqa: SLF001
    subs = [each for each in shown if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001
    plain = [_argument(each) for each in shown if each not in subs]
    return Command(
        name=parser.prog.rpartition(" ")[2],
        help=parser.description or "",
        flags=tuple(each for each in plain if each.flags),
        words=tuple(each for each in plain if not each.flags),
        commands=tuple(read(each) for sub in subs for each in sub.choices.values()),
    )


def _argument(action: argparse.Action) -> Argument:
    takes = action.nargs != 0
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    choices = tuple(map(str, action.choices or ()))
    return Argument(
        name=action.dest,
        flags=tuple(action.option_strings),
        value=(metavar or "|".join(choices) or action.dest.upper()) if takes else "",
        choices=choices,
        help=action.help or "",
        optional=not action.required,
        again=isinstance(action, argparse._AppendAction),  # noqa: SLF001
    )
