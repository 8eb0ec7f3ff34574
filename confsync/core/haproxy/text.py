"""HAProxy's configuration text, split into sections and words: enough to compare two texts.

It follows the manual's section 2.2 (quoting and escaping): blanks separate words, `#` outside quotes
begins a comment wherever it stands, a backslash outside strong quotes takes the next character.
Words keep their quotes: two spellings of one value count as a difference, which is the safe side.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SECTION_KEYWORDS = frozenset(
    {
        "backend",
        "cache",
        "crt-store",
        "defaults",
        "dynamic-update",
        "fcgi-app",
        "frontend",
        "global",
        "http-errors",
        "listen",
        "log-forward",
        "log-profile",
        "mailers",
        "peers",
        "program",
        "resolvers",
        "ring",
        "traces",
        "userlist",
        "acme",
    }
)
_ELSEWHERE = frozenset({"namespace", "transparent"})
PROXY_KEYWORDS = frozenset({"frontend", "backend", "listen", "defaults"})

_WORD = re.compile(r"""(?:[^\s"'\\#]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_PORT = re.compile(r"\A[0-9]{1,5}\Z")
_ODD = re.compile(r"""["'\\$]""")
_PLAIN = re.compile(r"""^[^"'\\#]*$""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: its keyword, its name (may be empty), and its lines' words, comments left out."""

    keyword: str
    name: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def words(line: str) -> tuple[str, ...]:
    """Split a line into words, quotes kept; a line with an open quote is one word, as it stands."""
    if _PLAIN.match(line):
        return tuple(line.split())
    found = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        if line[position] == "#":
            break
        match = _WORD.match(line, position)
        if match is None:
            return (line.strip(),)
        found.append(match.group())
        position = match.end()
    return tuple(found)


def sections(text: str) -> tuple[Section, ...]:
    """Split a text into its sections, in order; lines before the first one form a nameless section."""
    found: list[Section] = []
    head: tuple[str, ...] = ()
    lines: list[tuple[str, ...]] = []

    def close() -> None:
        if head or lines:
            found.append(
                Section(
                    keyword=head[0] if head else "",
                    name=head[1] if len(head) > 1 else "",
                    head=head,
                    lines=tuple(lines),
                )
            )

    for line in text.split("\n"):
        parts = words(line)
        if not parts:
            continue
        if parts[0] in SECTION_KEYWORDS:
            close()
            head, lines = parts, []
        else:
            lines.append(parts)
    close()
    return tuple(found)


def proxies(text: str) -> frozenset[str]:
    """Name the proxies that a text declares (frontend, backend, listen, named defaults)."""
    return frozenset(s.name for s in sections(text) if s.keyword in PROXY_KEYWORDS and s.name)


def binds(text: str, *, sure: bool = False) -> frozenset[tuple[str, int]]:
    """List address and port of all literal `bind` lines; the address is "" or "*" for any.

    Ranges, variables, unix sockets and file descriptors are left out: they cannot be compared. `sure`:
    only those that HAProxy surely binds as anybody would, so neither in `.if` blocks nor in another
    network namespace nor, `transparent`, where the host has no such address.
    """
    found: set[tuple[str, int]] = set()
    for section, line, always in _lines(text):
        if section.keyword not in {"frontend", "listen"} or line[0] != "bind" or len(line) < 2:
            continue
        if not sure or (always and _ELSEWHERE.isdisjoint(line)):
            found.update(_addresses(line[1]))
    return frozenset(found)


def _lines(text: str) -> Iterator[tuple[Section, tuple[str, ...], bool]]:
    """Go over all lines with their section, and whether they stand outside all `.if` blocks."""
    depth = 0  # a block may hold whole sections: its first line stands in the one before
    for section in sections(text):
        for line in section.lines:
            depth += (line[0] == ".if") - (line[0] == ".endif")
            yield section, line, depth == 0


def _addresses(word: str) -> Iterator[tuple[str, int]]:
    for part in word.split(","):
        bare = part.strip("\"'").removeprefix("ipv4@").removeprefix("ipv6@")
        address, colon, port = bare.rpartition(":")
        if colon and _PORT.match(port) and "@" not in address and "/" not in address:
            yield address.strip("[]"), int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLine:
    """A literal `server` line of a backend or listen section: name, address and port as written."""

    proxy: str
    server: str
    address: str
    port: int


def server_lines(text: str) -> tuple[ServerLine, ...]:
    """List the literal server lines that HAProxy surely has: those outside `.if` blocks.

    Names that HAProxy would read otherwise than they are written (quotes, variables) are left out.
    """
    found = []
    for section, line, always in _lines(text):
        if section.keyword not in {"backend", "listen"} or line[0] != "server" or len(line) < 3:
            continue
        if always and not _ODD.search(section.name + line[1]):
            for address, port in _addresses(line[2]):
                found.append(
                    ServerLine(proxy=section.name, server=line[1], address=address, port=port)
                )
    return tuple(found)
