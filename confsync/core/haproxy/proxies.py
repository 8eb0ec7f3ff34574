"""A whole configuration as HAProxy takes it in: proxies with the defaults and servers they end up with.

Files come in their order of loading. A proxy inherits from the `defaults` before it, named or not,
in whichever file, or from the one that it names (manual 4). What stands in `.if` blocks may or may
not be there: nothing is evaluated, so a proxy that hangs on one is doubtful, and so is each server in
one. Which changes need a reload is weighing.py's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from confsync.core.haproxy import servers, text
from confsync.core.haproxy.remembering import Each, Remembered
from confsync.core.haproxy.servers import Server, Words
from confsync.core.haproxy.text import Section
from confsync.core.haproxy.words import value

BEARING = frozenset({"backend", "listen"})
"""Sections whose `server` lines are servers of a proxy; those of `peers` and `ring` are not."""

IN_A_BLOCK = "stands in an `.if` block"
_NAMED = re.compile(
    r"""\b(?:use-server[ \t]+"?([^\s"]+)|track[ \t]+"?([^\s"]+)|srv_\w+\(["'\\]*([^)"'\\,]+))"""
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line's words, and the directives that decide whether it counts (none: it does)."""

    words: Words
    block: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a proxy inherits. `key` alone tells two apart: all texts that it was made of."""

    key: str = ""
    lines: tuple[Line, ...] = field(default=(), compare=False, repr=False)
    doubt: str = field(default="", compare=False)

    @property
    def servers(self) -> tuple[Words, ...]:
        """The words of its `default-server` lines."""
        return tuple(line.words[1:] for line in self.lines if line.words[0] == "default-server")

    @property
    def others(self) -> tuple[Line, ...]:
        """All other lines."""
        return tuple(line for line in self.lines if line.words[0] != "default-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A section with what it inherits. `doubt`: why it cannot be known what it says ("" if it can).

    `own`: its lines but those about servers; `servers` in order; `templates`: its `server-template`
    lines, each with the `default-server` words that it stands behind.
    """

    section: Section
    defaults: Defaults
    doubt: str = ""
    own: tuple[Line, ...] = ()
    servers: tuple[Server, ...] = ()
    templates: tuple[tuple[Words, ...], ...] = ()

    @property
    def title(self) -> str:
        """Name it for an operator."""
        return f"{self.section.keyword} {self.section.name}".strip() or "the first lines"

    @property
    def bearing(self) -> bool:
        """Tell whether it has servers of its own."""
        return self.section.keyword in BEARING

    def same(self, other: "Proxy") -> bool:
        """Tell whether HAProxy surely takes both for the same."""
        return (
            self.section.text == other.section.text
            and self.defaults == other.defaults
            and self.doubt == other.doubt
        )


def expect(count: int) -> None:
    """Keep room for what is read of so many pieces."""
    for kept in (text.section, _blocks, _proxy, alone, named_servers):
        kept.expect(count)


class Scope:
    """What carries over from section to section and from file to file."""

    def __init__(self) -> None:
        self._last = Defaults()
        self._named: dict[str, Defaults] = {}

    def read(self, pieces: Sequence[str]) -> Iterator[Proxy | None]:
        """Read a file, piece by piece; None is for one that says nothing."""
        depth = 0
        for piece in pieces:
            if depth == 0 and (known := alone(piece, self._last)).proxy is not None:
                yield known.proxy
                continue
            section = text.section(piece)
            if not section.head and not section.lines and piece is pieces[0]:
                yield None
                continue
            inside = depth > 0
            depth, leaks = _depth(section.text, depth)
            doubt = IN_A_BLOCK if inside else "ends in an `.if` block" if leaks else ""
            if section.keyword == "defaults":
                yield self._begin(section, doubt)
            elif section.keyword in text.PROXY_KEYWORDS:
                defaults, unsure = self._inherited(section.head[2:])
                yield _proxy(section.text, defaults, doubt or unsure or defaults.doubt)
            else:
                yield _proxy(section.text, Defaults(), doubt)

    def _begin(self, section: Section, doubt: str) -> Proxy:
        named = len(section.head) > 1 and section.head[1] != "from"
        inherits = section.head[2 if named else 1 :]
        base, unsure = self._inherited(inherits) if inherits else (Defaults(), "")
        doubt = doubt or unsure or base.doubt
        proxy = _proxy(section.text, base, doubt)
        lines = _lines(section.text)
        self._last = Defaults(
            key=f"{base.key}\0{section.text}\0{doubt}",
            lines=(*base.lines, *lines),
            doubt=f"inherits from a `defaults` that {doubt}" if doubt else "",
        )
        if named:
            self._named[section.head[1]] = self._last
        return proxy

    def _inherited(self, said: Words) -> tuple[Defaults, str]:
        """Find what `from NAME` means, or its absence; with it, a doubt."""
        if not said:
            return self._last, ""
        if len(said) == 2 and said[0] == "from" and said[1] in self._named:
            return self._named[said[1]], ""
        return self._last, f"begins with `{' '.join(said)}`, which cannot be followed"


@dataclass(frozen=True, slots=True)
class Alone:
    """What a piece is where nothing but the last defaults counts (None: more does)."""

    proxy: Proxy | None = None


@Remembered
def alone(chunk: str, defaults: Defaults) -> Alone:
    """Read a section outside of blocks that names no defaults, as most are, at one look."""
    section = text.section(chunk)
    plain = (
        section.keyword in text.PROXY_KEYWORDS - {"defaults"}
        and len(section.head) == 2
        and _blocks(chunk) == (0, 0)
    )
    return Alone(_proxy(chunk, defaults, defaults.doubt) if plain else None)


def _depth(chunk: str, depth: int) -> tuple[int, bool]:
    """Follow `.if` blocks through a section: the depth behind it, and whether it is not its own."""
    after, lowest = _blocks(chunk)
    return max(depth + after, 0), after != 0 or lowest < 0


@Remembered
def _blocks(chunk: str) -> tuple[int, int]:
    """Count a section's `.if` less its `.endif`: at its end, and at the lowest."""
    depth = lowest = 0
    for words in text.section(chunk).lines:
        first = value(words[0])
        depth += (first == ".if") - (first == ".endif")
        lowest = min(lowest, depth)
    return depth, lowest


def _lines(chunk: str) -> tuple[Line, ...]:
    """List a section's lines, each with the directives that it hangs on."""
    blocks: list[list[Words]] = []
    found = []
    for words in text.section(chunk).lines:
        match value(words[0]):
            case ".if":
                blocks.append([words])
            case ".elif" | ".else" if blocks:
                blocks[-1].append(words)
            case ".endif" if blocks:
                blocks.pop()
            case first:
                block = tuple(each for block in blocks for each in block)
                found.append(Line((words[0] if first is None else first, *words[1:]), block))
    return tuple(found)


@Remembered
def _proxy(chunk: str, defaults: Defaults, doubt: str) -> Proxy:
    section = text.section(chunk)
    lines = _lines(chunk)
    if section.keyword not in BEARING:
        return Proxy(section=section, defaults=defaults, doubt=doubt, own=lines)
    if value(section.name) != section.name or not section.name:
        doubt = doubt or "has no plain name"
    said = list(defaults.servers)
    blocks = [b for line in defaults.lines if line.words[0] == "default-server" for b in line.block]
    own: list[Line] = []
    found: list[Server] = []
    templates: list[tuple[Words, ...]] = []
    for line in lines:
        match line.words[0]:
            case "default-server":
                said.append(line.words[1:])
                blocks += line.block
            case "server":
                found.append(_server(line, tuple(said), tuple(blocks)))
            case "server-template":
                templates.append((line.words, *said, *blocks, *line.block))
            case _:
                own.append(line)
    return Proxy(
        section=section,
        defaults=defaults,
        doubt=doubt,
        own=tuple(own),
        servers=tuple(found),
        templates=tuple(templates),
    )


def _server(line: Line, said: tuple[Words, ...], blocks: tuple[Words, ...]) -> Server:
    found = servers.read(line.words, said)
    if not line.block and not blocks:
        return found
    odd = f"{'it' if line.block else 'a `default-server` before it'} {IN_A_BLOCK}"
    raw = (line.words, *said, *blocks, *line.block)
    return Server(name=found.name, odd=odd, raw=raw)


Named = tuple[frozenset[str], frozenset[str]]


@Remembered
def named_servers(chunk: str) -> Named:
    """List the servers that a section's lines name: all of them, and those that others `track`.

    `SERVER` or `BACKEND/SERVER`; HAProxy refuses to delete these, and a file without them.
    """
    found = _NAMED.findall(chunk)
    tracked = frozenset(track for _, track, _ in found if track)
    return frozenset(next(filter(None, names)) for names in found), tracked


named = Each(named_servers)
