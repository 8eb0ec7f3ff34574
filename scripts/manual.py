"""Makes the man pages in docs/man, so that they cannot say anything else than the program.

    make docs

confsync(1) from the parser and the table of exit codes in docs/commands.md, confsync.toml(5) from
what docs/settings.md is made of.
"""

import re
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path

from confsync.cli import arguments, grammar
from confsync.settings import page

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "man"

_DESCRIPTION = """
confsync watches Consul's catalog (or a file), renders HAProxy's configuration from templates, has it
checked by HAProxy itself, and applies it to the running HAProxy without dropping a connection. It
says what it would do and why, does all of it or nothing, and keeps the last good state when the world
around it fails. Stopping it never touches traffic.
"""
_FILES = (
    ("/etc/confsync/confsync.toml", "the settings, where no others are named"),
    ("/var/lib/confsync", "the state directory: last good services, what runs, previous files"),
    ("/var/lib/confsync/agent.sock", "where a running agent answers"),
)
_ENVIRONMENT = (
    ("CONFSYNC_CONFIG", "the settings file, where no flag names one"),
    ("CONFSYNC_TABLE__KEY", "a setting; it beats the settings file"),
    ("CONSUL_HTTP_TOKEN", "Consul's ACL token, where the settings name no token_file"),
    ("NO_COLOR", "when set: no colours"),
)


def pages() -> dict[str, str]:
    """Make all pages: name -> text."""
    return {"confsync.1": command_line(), "confsync.toml.5": settings()}


def write() -> None:
    """Write the pages to their folder."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


def command_line() -> str:
    """Make confsync(1)."""
    whole = grammar.read(arguments.parser())
    shared = [flag.flags for flag in whole.flags]
    lines = _head("CONFSYNC", 1, "confsync", whole.help)
    lines += [".SH SYNOPSIS", r"\fBconfsync\fR [\fIOPTION\fR ...] \fICOMMAND\fR ..."]
    lines += [".SH DESCRIPTION", *_text(_DESCRIPTION), ".SH COMMANDS"]
    for command in whole.commands:
        lines += [f".SS {_synopsis(command, shared)}", *_text(command.help)]
        for each in (*command.words, *command.flags):
            if each.flags not in shared:
                lines += _entry(_named(each), each.help)
    lines += [".SH OPTIONS", *_text("All but `--version` may also stand behind the command.")]
    for flag in whole.flags:
        lines += _entry(_named(flag), flag.help)
    lines.append(".SH EXIT STATUS")
    for code, meaning in _exit_codes():
        lines += _entry(rf"\fB{code}\fR", meaning)
    for title, entries in (("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        lines.append(f".SH {title}")
        for name, text in entries:
            lines += _entry(rf"\fI{_plain(name)}\fR", text)
    lines += [".SH SEE ALSO", ".BR confsync.toml (5),", ".BR haproxy (1)"]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Make confsync.toml(5)."""
    lines = _head("CONFSYNC.TOML", 5, "confsync.toml", "The settings of confsync.")
    lines.append(".SH DESCRIPTION")
    _, _, body = page.text().partition("change that file.\n")
    for block in re.split(r"\n{2,}", body.strip()):
        if block.startswith("#"):
            level, _, title = block.partition(" ")
            lines.append(
                f"{'.SS' if level == '###' else '.SH'} {_inline(title)}".replace('"', r"\(dq")
            )
        elif block.startswith("| "):
            lines += _table(block)
        else:
            # A paragraph right behind a heading is one already.
            lines += [*([] if lines[-1].startswith(".S") else [".PP"]), *_text(block)]
    lines += [".SH SEE ALSO", ".BR confsync (1)"]
    return "\n".join(lines) + "\n"


def _head(title: str, section: int, name: str, text: str) -> list[str]:
    return [
        r".\" Made by scripts/manual.py: make docs",
        # No date: the page is as old as the program that it was made from.
        f'.TH {title} {section} "" confsync',
        ".nh",  # names of settings are long, and no words
        ".ad l",
        ".SH NAME",
        rf"{_plain(name)} \- {_plain(text[:1].lower() + text[1:].rstrip('.'))}",
    ]


def _synopsis(command: grammar.Command, without: Collection[tuple[str, ...]]) -> str:
    words = [f"confsync {_plain(command.name)}"]
    words += [
        f"[{_named(flag, short=True)}]" for flag in command.flags if flag.flags not in without
    ]
    words += [f"[{_named(w)}]" if w.optional else _named(w) for w in command.words]
    return " ".join(words)


def _named(each: grammar.Argument, *, short: bool = False) -> str:
    """Show a flag with what it takes, or a word: `-c, --config FILE`."""
    flags = ", ".join(rf"\fB{_plain(flag)}\fR" for flag in each.flags[-1 if short else 0 :])
    return " ".join(filter(None, [flags, rf"\fI{_plain(each.value)}\fR" if each.value else ""]))


def _exit_codes() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "commands.md").read_text()
    return re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)


def _table(block: str) -> Iterator[str]:
    for row in block.splitlines()[2:]:
        key, default, meaning = row.removeprefix("| ").removesuffix(" |").split(" | ", 2)
        shown = default if default == "needed" else f"default {default}"
        yield from _entry(f"{_inline(key)} ({_inline(shown)})", meaning)


def _entry(name: str, markdown: str) -> list[str]:
    return [".TP", name, *_text(markdown)]


def _text(markdown: str) -> list[str]:
    lines = textwrap.wrap(
        _inline(" ".join(markdown.split())), 80, break_on_hyphens=False, break_long_words=False
    )
    # No line may be read as a request.
    return [rf"\&{line}" if line.startswith((".", "'")) else line for line in lines]


def _inline(markdown: str) -> str:
    """Turn words of Markdown into roff: `code` and strong ones become bold, links their text."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown.replace(r"\|", "|"))
    return re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", r"\\fB\1\2\\fR", _plain(text))


def _plain(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-")


if __name__ == "__main__":
    write()
