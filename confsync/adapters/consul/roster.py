"""What a watch knows so far, and what of it may be told: complete catalogs, and how the source is.

One writer's state without a task or a clock of its own. Queries put in what they learn; whoever
waits for `changed` takes out the catalog and the state.

What is taken out is kept up as the answers come in: a change of one service among a thousand costs
what it costs among ten. A service that did not change stays the very same object in each catalog,
`seen` included: later stages know by that what they need not look at.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet

from confsync.adapters.consul.reading import Listing, Reading
from confsync.domain.catalog import Catalog, Instance, Service
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
        self._services: dict[str, Service] = {}
        self._sorted = True
        self._denied: set[str] = set()
        self._partial: set[str] = set()
        self._odd: set[str] = set()
        self._failing: dict[str, DiscoveryError] = {}
        self._fell = False
        self._taken: dict[str, Service] | None = None
        self._differing: set[str] = set()
        self._state = SourceState(since=now())
        self._unindexed: set[str] = set()

    def relist(self, listing: Listing, *, fell: bool) -> None:
        """Take the names; what is known of a name that is gone is forgotten."""
        if listing is self._listing and not fell:
            return
        gone = self.names - listing.names
        self._listing, self._listed = listing, True
        self.names = listing.names
        for name in gone & self._readings.keys():
            self._forget(name)
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
        if before is None:
            self._sorted = False
        elif reading.service.repeats(before.service):
            reading = dataclasses.replace(reading, service=before.service)
        self._readings[name] = reading
        self._services[name] = reading.service
        self._compare(name)
        _keep(self._denied, name, yes=reading.service.denied)
        _keep(self._partial, name, yes=reading.partial)
        _keep(self._odd, name, yes=reading.unreadable > 0)
        self._fell |= fell
        self.changed.set()

    def _forget(self, name: str) -> None:
        del self._readings[name], self._services[name]
        self._compare(name)
        for names in (self._denied, self._partial, self._odd):
            names.discard(name)

    def _compare(self, name: str) -> None:
        """Note whether a service is another than in the catalog taken last."""
        if self._taken is not None:
            differs = self._services.get(name) != self._taken.get(name)
            _keep(self._differing, name, yes=differs)

    def knows(self, name: str) -> bool:
        """Tell whether a listed service was answered."""
        return name in self._readings

    def unknown(self) -> AbstractSet[str]:
        """Return the listed services that no answer has come of yet."""
        if len(self._readings) == len(self.names):  # nothing is known of others
            return frozenset()
        return self.names - self._readings.keys()

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
            _keep(self._unindexed, query, yes=not yes)
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
        up = not errors and (self._taken is not None or self._complete())
        state = SourceState(
            up=up,
            error=error,
            since=self._state.since if up == self._state.up else self._now(),
            denied=tuple(sorted(self._denied)),
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
        if self._taken is None and not self._complete():
            return None
        # A fall without a change is forgotten: it says nothing about a later change.
        fell, self._fell = self._fell, False
        if self._taken is not None and not self._differing:
            return None
        if not self._sorted:
            self._services, self._sorted = dict(sorted(self._services.items())), True
        self._taken = self._services.copy()
        self._differing.clear()
        return Catalog(services=tuple(self._services.values()), index_fell=fell)

    def _complete(self) -> bool:
        return self._listed and not self.unknown()

    def _notes(self) -> Iterator[str]:
        if self.mode:
            yield self.mode
        if self._listing.refused:
            yield f"names that no query can hold are left out: {_some(self._listing.refused)}"
        if self._listing.filtered:
            yield "the token may not see all services"
        if self._partial:
            yield f"the token may not see all instances of: {_some(self._partial)}"
        if self._odd:
            yield f"registrations that make no sense are left out: {_some(self._odd)}"
        if self._unindexed:
            yield "answers come without an index (a proxy?): asked every few seconds instead"


def _keep(names: set[str], name: str, *, yes: bool) -> None:
    (names.add if yes else names.discard)(name)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
