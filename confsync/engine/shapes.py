"""Which structures HAProxy's own check has passed, so that a change of servers need not wait for it.

The structure of a set is its texts with server lines reduced to their shape: their words without
name, address, port, id and weight, which are typed and known to be distinct. A set is known when all
else in it is as it was in one that passed, and each section has only shapes of servers that it had
in one of those. A file that is no configuration counts with all its text. Pure.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Collection

from confsync.core.haproxy import proxies, text
from confsync.core.haproxy.remembering import Each, Remembered
from confsync.core.haproxy.text import Section
from confsync.core.haproxy.words import value
from confsync.domain.rendered import RenderedConfig, digest

_MOST = 32
"""Structures that are remembered."""
_VALUES = frozenset({"id", "weight"})

Shape = tuple[str, ...]
Piece = tuple[str, frozenset[Shape]]
Key = tuple[tuple[str, bool, tuple[str, ...]], ...]
"""Of each file its destination, whether it counts as a configuration, and the digests of its sections
without their servers, or of all its text."""


class Shapes:
    """Remembers what passed."""

    def __init__(self) -> None:
        self._passed: OrderedDict[Key, list[frozenset[Shape]]] = OrderedDict()
        self._each = Each(_piece)

    def passed(self, config: RenderedConfig, configs: Collection[str]) -> None:
        """Remember a set that a check has passed. `configs`: those files that are configurations."""
        key, shapes = self._structure(config, configs)
        before = self._passed.get(key, shapes)
        self._passed[key] = [
            one if one is other else one | other for one, other in zip(before, shapes, strict=True)
        ]
        self._passed.move_to_end(key)
        while len(self._passed) > _MOST:
            self._passed.popitem(last=False)

    def knows(self, config: RenderedConfig, configs: Collection[str]) -> bool:
        """Tell whether a set has no structure that has not passed."""
        key, shapes = self._structure(config, configs)
        known = self._passed.get(key)
        return known is not None and all(
            new is old or new <= old for new, old in zip(shapes, known, strict=True)
        )

    def forget(self) -> None:
        """Trust nothing any more: what was known was refused."""
        self._passed.clear()

    def _structure(
        self, config: RenderedConfig, configs: Collection[str]
    ) -> tuple[Key, list[frozenset[Shape]]]:
        """Give what must be as it was, and the shapes in each section."""
        key: list[tuple[str, bool, tuple[str, ...]]] = []
        shapes: list[frozenset[Shape]] = []
        for file in config.files:
            if file.destination not in configs:
                key.append((file.destination, False, (digest(file.text),)))
                continue
            pieces = self._each(text.pieces(file.text))
            key.append((file.destination, True, tuple(rest for rest, _ in pieces)))
            shapes += [found for _, found in pieces]
        return tuple(key), shapes


@Remembered
def _piece(chunk: str) -> Piece:
    """Give the digest of a section without its servers, and their shapes."""
    section = text.section(chunk)
    servers = [line for line in section.lines if line[0] == "server"]
    if (
        section.keyword not in proxies.BEARING
        or any(line[0].startswith(".") for line in section.lines)
        or not _distinct(servers)
    ):
        return digest(chunk), frozenset()
    rest = [section.head, *(line for line in section.lines if line[0] != "server")]
    return digest(repr(rest)), frozenset(_shapes(section))


def _distinct(servers: list[tuple[str, ...]]) -> bool:
    """Tell whether names and numbers can be read and are each used once."""
    names = [line[1] for line in servers if len(line) > 2]
    numbers = [
        line[at + 1] for line in servers for at in range(3, len(line) - 1) if line[at] == "id"
    ]
    return (
        len(names) == len(servers) == len(set(names))
        and len(numbers) == len(set(numbers))
        and all(value(name) == name for name in names)
    )


def _shapes(section: Section) -> set[Shape]:
    found: set[Shape] = set()
    before: Shape = ()
    for line in section.lines:
        if line[0] == "default-server":
            before = (*before, *line)
        elif line[0] == "server":
            found.add((*before, *_reduced(line)))
    return found


def _reduced(line: tuple[str, ...]) -> Shape:
    words = iter(line[3:])
    kept = [line[0], "" if _plain(line[2]) else line[2]]
    for word in words:
        if word in _VALUES:
            argument = next(words, "")
            if not argument.isascii() or not argument.isdigit():
                kept += [word, argument]
        else:
            kept.append(word)
    return tuple(kept)


def _plain(place: str) -> bool:
    """Tell whether a server is at an IP address and a port: nothing is resolved then."""
    host, _, port = place.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65_535) or "%" in host:
        return False
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
