"""Completion of command lines: what could stand at the cursor, and the scripts that ask for it.

The scripts of the shells are a few lines each and hold no names: at each TAB they run
`confsync completion words LINE...`, so that what is offered is what the installed version takes.
The answer has one candidate a line, its description behind a tab; `:files` alone: the shell's own.
"""

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from confsync import errors
from confsync.adapters.control import client
from confsync.cli import arguments, grammar
from confsync.cli.asking import SOCKET
from confsync.cli.printed import Printed
from confsync.settings import sources

PATIENCE = 0.5
"""Seconds that a TAB waits for the agent."""
FILES = ":files"

_HELD = frozenset({("release", "service"), ("once", "release")})
"""Where the name of a held service belongs."""
# A registry chooses these names, and a shell would obey what is inserted. The rest of what is left
# out are the characters at which bash breaks words.
_TYPED = re.compile(r"[A-Za-z0-9_./,+][A-Za-z0-9_./,+-]*", re.ASCII)

_BASH = """\
_confsync() {
    local found
    mapfile -t found < <("$1" completion words "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null)
    if [[ ${found[0]-} == ":files" ]]; then
        compopt -o default
        COMPREPLY=()
    else
        COMPREPLY=("${found[@]%%$'\\t'*}")
    fi
}
complete -F _confsync confsync
"""
_ZSH = """\
#compdef confsync
_confsync() {
    local line
    local -a found shown
    found=("${(@f)$("${(Q)words[1]}" completion words \\
        "${(@Q)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    if [[ $found[1] == ":files" ]]; then
        compset -P '--*='
        _files
        return
    fi
    for line in $found; do
        shown+=("${line%%$'\\t'*}:${line#*$'\\t'}")
    done
    _describe confsync shown
}
if [[ $funcstack[1] == _confsync ]]; then _confsync "$@"; else compdef _confsync confsync; fi
"""
_FISH = """\
function __confsync_words
    set -l line (commandline -opc) (commandline -ct)
    set -l found ($line[1] completion words $line 2>/dev/null)
    if test "$found[1]" = ":files"
        set -l head (commandline -ct | string match -r '^--[^=]*=')
        __fish_complete_path (commandline -ct | string replace -r '^--[^=]*=' '') | \\
            string replace -r -- '^' "$head"
    else
        printf '%s\\n' $found
    end
end
complete -c confsync -f -a '(__confsync_words)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@dataclass(slots=True, kw_only=True)
class _Line:
    """What stands before the cursor: the command, and what is still missing."""

    at: grammar.Command
    wants: grammar.Argument | None = None  # the flag whose value comes next
    words: int = 0
    config: str | None = None
    used: frozenset[str] = frozenset()


def perform(options: argparse.Namespace, environ: Mapping[str, str]) -> Printed:
    """Print a shell's script, or answer one."""
    if options.shell in SCRIPTS:
        return Printed(out=SCRIPTS[options.shell])
    return Printed(out="".join(f"{each}\n" for each in offered(options.line[1:], environ)))


def offered(words: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Answer for the words behind the program's name; the last, maybe empty, is being typed."""
    *before, now = _joined(words) or [""]
    line = _read(before)
    if line is None:
        return
    head = ""
    wants = line.wants
    name, equals, rest = now.partition("=")
    if wants is None and equals and name.startswith("--"):
        wants = line.at.flag(name)
        if wants is None or not wants.value:
            return
        head, now = f"{name}=", rest
    if wants is None and not now.startswith("-"):
        if line.at.commands:
            yield from _matching(now, ((each.name, each.help) for each in line.at.commands))
            return
        if line.words < len(line.at.words):
            wants = line.at.words[line.words]
    if wants is None:
        yield from _matching(now, _flags(line))
    elif wants.value in grammar.FILES:
        yield FILES
    else:
        known = tuple(SCRIPTS) if wants.name == "shell" else wants.choices
        values = known or _held(line, wants, environ)
        yield from (f"{head}{each}" for each in _matching(now, ((v, "") for v in values)))


def _joined(words: Sequence[str]) -> list[str]:
    """Undo bash, which hands `--output=json` over as three words; the value comes by itself."""
    joined: list[str] = []
    for word in words:
        if word == "=" and joined and joined[-1].startswith("--"):
            continue
        joined.append(word)
    # Right behind the sign: the value is empty yet.
    return [*joined, ""] if words and words[-1] == "=" else joined


def _read(words: Iterable[str]) -> _Line | None:
    """Read what is complete; None where nothing sensible can follow."""
    line = _Line(at=grammar.read(arguments.parser()))
    for word in words:
        if line.wants is not None:
            if line.wants.name == "config":
                line.config = word
            line.wants = None
        elif word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            flag = line.at.flag(name)
            if flag is None:
                continue
            if not flag.again:
                line.used |= set(flag.flags)
            if flag.name == "config" and equals:
                line.config = value
            line.wants = flag if flag.value and not equals else None
        elif line.at.commands:
            command = line.at.command(word)
            if command is None:
                return None
            line.at = command
        else:
            line.words += 1
    return line


def _flags(line: _Line) -> Iterator[tuple[str, str]]:
    for flag in line.at.flags:
        if not line.used & set(flag.flags):
            yield flag.flags[-1], flag.help


def _held(line: _Line, wants: grammar.Argument, environ: Mapping[str, str]) -> Iterator[str]:
    """Ask the agent what it holds; without one, nothing."""
    if (line.at.name, wants.name) not in _HELD:
        return
    try:
        directory = sources.state_directory(line.config, environ)
        path = os.path.join(directory, SOCKET)  # noqa: PTH118
        reply = client.ask(path, "release", timeout=PATIENCE)
    except errors.ConfsyncError:
        return
    holds = reply.get("holds")
    for hold in holds if isinstance(holds, list) else ():
        name = hold.get("service") if isinstance(hold, dict) else None
        if isinstance(name, str) and _TYPED.fullmatch(name):
            yield name


def _matching(now: str, found: Iterable[tuple[str, str]]) -> Iterator[str]:
    for word, text in found:
        if word.startswith(now):
            yield f"{word}\t{text}" if text else word
