"""What is at the destinations now: read anew each time, and held against what was read before."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from confsync.adapters.files import destination as dest
from confsync.domain.rendered import digest

Stamp = tuple[int, int, int, int]
Fingerprint = tuple[Stamp | None, ...]
Found = Mapping[str, dest.Present | None]
"""Destination -> what is there, None where nothing is."""


class Looking:
    """Looks at destinations, and knows which texts the engine has decided on."""

    def __init__(self) -> None:
        self._read: dict[str, str | None] = {}
        """Digests of what was read last, which is what the engine decided on."""
        self._likely: dict[str, str] = {}
        """What is most likely there when a destination is read next."""

    def read(self, destinations: tuple[str, ...]) -> dict[str, str | None]:
        """Read the texts (None: absent), to decide on. Raises WriteError."""
        found = {d: dest.read(d, self._likely.get(d)) for d in destinations}
        self.expect({d: text for d, text in found.items() if text is not None})
        self._read = {d: None if text is None else digest(text) for d, text in found.items()}
        return found

    def present(self, destinations: Iterable[str]) -> dict[str, dest.Present | None]:
        """Read what is there with what a replacement keeps (None: absent). Raises WriteError."""
        return {d: dest.present(d, self._likely.get(d)) for d in destinations}

    def expect(self, texts: Mapping[str, str]) -> None:
        """Remember what will be there: where it is, it need not be decoded and digested again."""
        self._likely |= texts

    def unseen(self, destinations: Iterable[str], now: Found) -> str | None:
        """Name one of them that is no longer what was read to decide on."""
        for destination in destinations:
            found = dest.digest_of(now[destination])
            if self._read.get(destination, found) != found:
                return destination
        return None

    def decided(self) -> None:
        """End a decision: what was read for it says nothing about the next."""
        self._read = {}


def fingerprint(destinations: Iterable[str]) -> Fingerprint:
    """Tell cheaply whether something changed: stat only (None: absent or not to be seen)."""
    return tuple(_stamp(Path(d)) for d in destinations)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_ctime_ns
