"""What a watch knows so far, and what of it may be told: complete catalogs, and how the source is.

One writer's state without a task or a clock of its own. Queries put in what they learn; whoever
waits for `changed` takes out the catalog and the state.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from confsync.adapters.consul.reading import Listing, Reading
from confsync.domain.catalog import Catalog, Instance
from confsync.domain.status import SourceState
from confsync.errors import DiscoveryError

SHOWN = 5
"""Names in a note, before it only counts."""


class Roster:
    """Names as listed, services as answered, queries that fail."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        """`now`: unix seconds."""
        self.names: frozenset[str] = frozenset()
        self.changed = asyncio.Event()
        self.mode = ""
        self._now = now
        self._listed = False
        self._listing = Listing(names=frozenset())
        self._readings: dict[str, Reading] = {}
        self._failing: dict[str, DiscoveryError] = {}
        self._fell = False
        self._published: Catalog | None = None
        self._state = SourceState(since=now())
        self._unindexed: set[str] = set()

    def relist(self, listing: Listing, *, fell: bool) -> None:
        """Take the names; what is known of a name that is gone is forgotten."""
        self._listing, self._listed = listing, True
        self.names = listing.names
        for name in self._readings.keys() - self.names:
            del self._readings[name]
        self._fell |= fell
        self.changed.set()

    def put(self, reading: Reading, *, fell: bool) -> None:
        """Take what was read of a service; a denied one keeps the instances that it had."""
        name = reading.service.name
        if name not in self.names:
            return
        before = self._readings.get(name)
        if reading.service.denied and before is not None:
            service = dataclasses.replace(reading.service, instances=before.service.instances)
            reading = dataclasses.replace(reading, service=service)
        self._readings[name] = reading
        self._fell |= fell
        self.changed.set()

    def confirm(self, name: str) -> bool:
        """Note that a service was answered just as before; False when nothing is known of it."""
        before = self._readings.get(name)
        if before is None:
            return False
        service = dataclasses.replace(before.service, seen=self._now())
        self._readings[name] = dataclasses.replace(before, service=service)
        return True

    def knows(self, name: str) -> bool:
        """Tell whether a listed service was answered."""
        return name in self._readings

    def index(self, name: str) -> int:
        """Return the index of a service's last answer, 0 when there was none."""
        reading = self._readings.get(name)
        return reading.index if reading is not None else 0

    def everything(self) -> Iterator[tuple[str, Instance]]:
        """Go over all instances, before the selection by tags, with the name of their service."""
        for name, reading in self._readings.items():
            for instance in reading.everything:
                yield name, instance

    def failed(self, query: str, error: DiscoveryError) -> None:
        """Note that a query fails."""
        self._failing[query] = error
        self.changed.set()

    def answered(self, query: str) -> bool:
        """Note that a query was answered; returns whether it had failed before."""
        if self._failing.pop(query, None) is None:
            return False
        self.changed.set()
        return True

    def indexed(self, query: str, *, yes: bool) -> None:
        """Note whether a query's answer came with an index to wait for."""
        if yes == (query in self._unindexed):
            (self._unindexed.discard if yes else self._unindexed.add)(query)
            self.changed.set()

    def ended(self, query: str) -> None:
        """Forget a query that is not asked any more."""
        self.answered(query)
        self.indexed(query, yes=True)

    def set_mode(self, words: str) -> None:
        """Note how the watching is done."""
        self.mode = words
        self.changed.set()

    def take_state(self) -> SourceState | None:
        """Return the state of the source when it differs from the one taken before."""
        # The error shown stays until its own query is answered: a queue of queries that fail one
        # after the other is one piece of news.
        errors = [str(error) for error in self._failing.values()]
        error = self._state.error if self._state.error in errors else next(iter(errors), "")
        up = not errors and (self._published is not None or self._complete())
        state = SourceState(
            up=up,
            error=error,
            since=self._state.since if up == self._state.up else self._now(),
            denied=tuple(sorted(n for n, r in self._readings.items() if r.service.denied)),
            notes=tuple(self._notes()),
        )
        if state == self._state:
            return None
        self._state = state
        return state

    def take_catalog(self) -> Catalog | None:
        """Return the catalog when it is complete and differs from the one taken before.

        The first is complete when every name was answered. A name that is listed later joins when it
        is answered: the others do not wait for it.
        """
        if self._published is None and not self._complete():
            return None
        services = tuple(self._readings[name].service for name in sorted(self._readings))
        catalog = Catalog(services=services, index_fell=self._fell)
        # A fall without a change is forgotten: it says nothing about a later change.
        self._fell = False
        if catalog == self._published:
            return None
        self._published = catalog
        return catalog

    def _complete(self) -> bool:
        return self._listed and self.names <= self._readings.keys()

    def _notes(self) -> Iterator[str]:
        if self.mode:
            yield self.mode
        if self._listing.refused:
            yield f"names that no query can hold are left out: {_some(self._listing.refused)}"
        if self._listing.filtered:
            yield "the token may not see all services"
        if partial := [n for n, r in self._readings.items() if r.partial]:
            yield f"the token may not see all instances of: {_some(partial)}"
        if odd := [n for n, r in self._readings.items() if r.unreadable]:
            yield f"registrations that make no sense are left out: {_some(odd)}"
        if self._unindexed:
            yield "answers come without an index (a proxy?): asked every few seconds instead"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
