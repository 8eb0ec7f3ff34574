"""Reads what `haproxy -c` says, and sets it beside the lines that it is about. Pure.

Formats of 2.6 to 3.2 (2.6 and 2.8 also say "Configuration file is valid", 3.x is silent): an entry is
`[ALERT]    (PID) : TEXT`, further lines of it begin with `   | `; a place is `[FILE:LINE]`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

SHOWN = 20
"""Entries that a message shows; a wrong default makes one for each of thousands of lines."""

_ENTRY = re.compile(r"\[(?P<level>ALERT|WARNING|NOTICE|DIAG)\]\s+(?:\S+ )?\(\d+\) : (?P<text>.*)")
_PLACE = re.compile(r"\[(?P<file>[^\[\]\s]+):(?P<line>\d+)\]")
# Said after the alerts, about all of them.
_CLOSING = re.compile(
    r"^(?:config : )?(?:Error\(s\) found in configuration file : |"
    r"Fatal errors found in configuration\.)"
)
_PREFIX = re.compile(r"^(?:config : )?(?:parsing )?\[(?P<file>[^\[\]\s]+):(?P<line>\d+)\]\s*: ?")
_SECRET = re.compile(r"\b(insecure-password|password|stats\s+auth)(\s+)\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that HAProxy said. `level`: ALERT, WARNING, NOTICE or DIAG."""

    level: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checked file: its text as rendered (or live), and the template that made it ("" if none)."""

    text: str
    template: str = ""


def entries(output: str, names: Mapping[str, str]) -> tuple[Entry, ...]:
    """Split an output; `names`: staged path or check copy -> the path to show in its place."""
    for path in sorted(names, key=len, reverse=True):
        output = output.replace(path, names[path])
    found: list[Entry] = []
    for line in output.splitlines():
        if match := _ENTRY.match(line):
            found.append(Entry(level=match["level"], text=match["text"].strip()))
        elif found and line.startswith("   | "):
            last = found.pop()
            found.append(Entry(level=last.level, text=f"{last.text} {line[5:].strip()}"))
    return tuple(found)


def warnings(said: tuple[Entry, ...]) -> tuple[str, ...]:
    """Return the warnings, each on one line with its place first."""
    found = [printable(_placed(e.text)) for e in said if e.level == "WARNING"]
    return _shortened(found)


def headline(said: tuple[Entry, ...]) -> str:
    """Return the first thing that is wrong, on one line; "" when HAProxy named none."""
    alerts = _alerts(said)
    return printable(_placed(alerts[0].text)) if alerts else ""


def beside_lines(said: tuple[Entry, ...], sources: Mapping[str, Source]) -> str:
    """Set every alert beside the lines that it names, with the template that made them."""
    blocks = []
    for entry in _alerts(said):
        block = [printable(_placed(entry.text))]
        for match in dict.fromkeys(
            (m["file"], int(m["line"])) for m in _PLACE.finditer(entry.text)
        ):
            block += _line(sources, *match)
        blocks.append("\n".join(block))
    return "\n".join(_shortened(blocks))


def printable(text: str) -> str:
    """Replace control characters: a terminal must not obey what a configuration holds."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def printable_lines(text: str) -> str:
    """Replace control characters other than the ends of lines."""
    return "\n".join(map(printable, text.splitlines()))


def without_passwords(text: str) -> str:
    """Hide what follows the words for a password in the configuration (where secrets are unknown)."""
    return _SECRET.sub(r"\1\2*****", text)


def _alerts(said: tuple[Entry, ...]) -> list[Entry]:
    alerts = [e for e in said if e.level == "ALERT"]
    return [e for e in alerts if not _CLOSING.match(e.text)] or alerts


def _placed(text: str) -> str:
    text = _PREFIX.sub(lambda match: f"{match['file']}:{match['line']}: ", text)
    return text.removeprefix("config : ")


def _line(sources: Mapping[str, Source], file: str, number: int) -> list[str]:
    source = sources.get(file)
    lines = source.text.split("\n") if source else []
    if source is None or not 0 < number <= len(lines):
        return []
    shown = [f"  {number:5d} | {printable(lines[number - 1])}"]
    if source.template:
        shown.append(f"        | (rendered from {source.template})")
    return shown


def _shortened(found: list[str]) -> tuple[str, ...]:
    if len(found) <= SHOWN:
        return tuple(found)
    return (*found[:SHOWN], f"... and {len(found) - SHOWN} more")
