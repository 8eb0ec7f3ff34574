"""HAProxy's configuration text, split into sections and words: every file comes back byte for byte.

Words keep their quotes (words.py): two spellings of one value count as a difference, which is the
safe side. A section is parsed once for its text, so that of a large configuration only what changed
is read again. What a section means, with the defaults that it inherits, is proxies.py's.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from confsync.core.haproxy.remembering import Remembered
from confsync.core.haproxy.words import value, words

__all__ = [
    "PROXY_KEYWORDS",
    "SECTION_KEYWORDS",
    "Section",
    "ServerLine",
    "binds",
    "chunks",
    "pieces",
    "proxies",
    "read",
    "section",
    "sections",
    "server_lines",
    "words",
]

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

_PORT = re.compile(r"\A[0-9]{1,5}\Z")
_ODD = re.compile(r"""["'\\$]""")
# A line that may begin a section: by its keyword as it stands, or by a first word with quotes.
_HEAD = re.compile(
    rf"^[ \t\v\f]*(?:(?:{'|'.join(sorted(SECTION_KEYWORDS))})(?=[ \t\v\f\r\n#]|\Z)"
    r"""|[^ \t\v\f\r\n"'\\#]*["'\\])""",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: its keyword, its name (may be empty), and its lines' words, comments left out.

    `text`: as it stands in the file, down to the next section's first line.
    """

    keyword: str
    name: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    text: str = field(default="", compare=False, repr=False)


def chunks(text: str, like: Sequence[str] = ()) -> list[str]:
    """Cut a text before each section's first line; joined, the pieces are the text.

    `like`: the pieces of a text that is nearly the same. Where both are equal, from the front and from
    the back, its pieces are taken as they are, and only what lies between is searched.
    """
    front: list[str] = []
    start = 0
    for piece in like:
        if not text.startswith(piece, start):
            break
        front.append(piece)
        start += len(piece)
    if start == len(text):
        return front
    while front:  # what follows may be more of its last piece, even of that one's first line
        last = front.pop()
        start -= len(last)
        if "\n" in last:
            break
    back: list[str] = []
    end = len(text)
    for piece in reversed(like[len(front) + 1 :]):
        begin = end - len(piece)
        if begin <= start or text[begin - 1] != "\n" or not text.startswith(piece, begin):
            break
        back.append(piece)
        end = begin
    return front + _cut(text, start, end) + back[::-1]


_recent: tuple[tuple[str, ...], ...] = ()
"""The pieces of the texts that were cut last: the next one is most likely nearly one of them."""


@functools.lru_cache(maxsize=8)
def pieces(text: str) -> tuple[str, ...]:
    """Cut a text as `chunks` does; remembered, and what is as in a text before is not searched."""
    global _recent  # noqa: PLW0603 - a hint, which makes no difference to what is found
    known = _recent
    like = next((each for each in known if each and text.startswith(each[0])), ())
    found = tuple(chunks(text, like))
    _recent = (found, *(each for each in known if each is not like))[:4]
    return found


def _cut(text: str, start: int, end: int) -> list[str]:
    cuts = [start]
    for match in _HEAD.finditer(text, start, end):
        begin = match.start()
        if text[match.end() - 1] in "\"'\\":
            stop = text.find("\n", begin)
            first = words(text[begin : stop if stop >= 0 else len(text)])[:1]
            if not first or value(first[0]) not in SECTION_KEYWORDS:
                continue
        if begin > start:
            cuts.append(begin)
    cuts.append(end)
    return [text[a:b] for a, b in itertools.pairwise(cuts) if a < b]


@Remembered
def section(chunk: str) -> Section:
    """Read one piece of `chunks`."""
    lines = [parts for line in chunk.split("\n") if (parts := words(line))]
    head: tuple[str, ...] = ()
    if lines and (keyword := value(lines[0][0])) in SECTION_KEYWORDS:
        head = (keyword or "", *lines.pop(0)[1:])
    return Section(
        keyword=head[0] if head else "",
        name=head[1] if len(head) > 1 else "",
        head=head,
        lines=tuple(lines),
        text=chunk,
    )


def sections(text: str) -> tuple[Section, ...]:
    """Split a text into its sections, in order; lines before the first one form a nameless section."""
    return read(pieces(text))


def read(cut: Sequence[str]) -> tuple[Section, ...]:
    """Read the pieces of a text."""
    found = [section(piece) for piece in cut]
    if found and not found[0].head and not found[0].lines:
        del found[0]
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
