"""The files that HAProxy loads, read as one configuration; of one like another only what differs.

What a section means is proxies.py's.
"""

import functools
import itertools
from dataclasses import dataclass, field

from confsync.core.haproxy import proxies, servers, text
from confsync.core.haproxy.proxies import Proxy
from confsync.core.haproxy.remembering import OFTEN, differing

Key = tuple[str, str, int]
"""A section's keyword, its name, and how many of these came before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All sections of all files.

    `pieces`: each file's text, cut into sections; `keys`: whose they are (None: nobody's). `taken`: how
    many were read since all were.
    """

    proxies: dict[Key, Proxy]
    pieces: tuple[tuple[str, ...], ...] = field(repr=False)
    keys: tuple[tuple[Key | None, ...], ...] = field(default=(), repr=False)
    taken: int = field(default=0, repr=False)

    def bearing(self, name: str) -> Proxy | None:
        """Find the proxy of a name that has servers of its own: the last one, if there are more."""
        found = [
            self.proxies[key]
            for keyword in ("listen", "backend")
            for key in itertools.takewhile(
                self.proxies.__contains__, ((keyword, name, n) for n in itertools.count())
            )
        ]
        return found[-1] if found else None


_recent: tuple[Configuration, ...] = ()
"""What was read last: the next one is most likely nearly one of them."""


@functools.lru_cache(maxsize=4)
def read(texts: tuple[str, ...]) -> Configuration:
    """Read files in the order in which HAProxy loads them; of one like another only what differs."""
    global _recent  # noqa: PLW0603 - a hint, which makes no difference to what is found
    recent = _recent
    pieces = tuple(text.pieces(t) for t in texts)
    likes = (like for each in recent if (like := _like(each, pieces)) is not None)
    found = next(likes, None) or _whole(pieces)
    _recent = (found, *recent)[:4]
    return found


def _like(known: Configuration, pieces: tuple[tuple[str, ...], ...]) -> Configuration | None:
    """Read what differs from a known configuration, if that is proxies that concern nobody else."""
    if len(known.pieces) != len(pieces):
        return None
    found = dict(known.proxies)
    taken = known.taken
    for before, now, keys in zip(known.pieces, pieces, known.keys, strict=True):
        places = differing(before, now)
        if places is None or taken + len(places) > OFTEN:
            return None
        taken += len(places)
        for at in places:
            key = keys[at]
            if key is None:
                return None
            old = found[key]
            new = proxies.alone(now[at], old.defaults).proxy
            # It stood alone before, as it does now: so nothing hangs on it, and it inherits as before.
            if new is None or proxies.alone(before[at], old.defaults).proxy is not old:
                return None
            if (new.section.keyword, new.section.name) != key[:2]:
                return None
            found[key] = new
    return Configuration(proxies=found, pieces=pieces, keys=known.keys, taken=taken)


def _whole(pieces: tuple[tuple[str, ...], ...]) -> Configuration:
    """Read all."""
    found: dict[Key, Proxy] = {}
    seen: dict[tuple[str, str], int] = {}
    scope = proxies.Scope()
    proxies.expect(sum(map(len, pieces)))
    keys: list[tuple[Key | None, ...]] = []
    for each in pieces:
        own: list[Key | None] = []
        for proxy in scope.read(each):
            if proxy is None:
                own.append(None)
                continue
            pair = (proxy.section.keyword, proxy.section.name)
            seen[pair] = number = seen.get(pair, -1) + 1
            found[(*pair, number)] = proxy
            own.append((*pair, number))
        keys.append(tuple(own))
    servers.read.expect(sum(len(proxy.servers) for proxy in found.values()))
    return Configuration(proxies=found, pieces=pieces, keys=tuple(keys))
