"""What should be: the catalog, typed.

Service by service in registrations.py; here is what services have to do with one another. Each thing
that could not be taken is a Problem in words. Which services may shrink is not decided here
(guards.py), nor what a template does with the rest (rendering.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from confsync.core import naming, registrations
from confsync.core.ghosts import Ghosts
from confsync.core.registrations import Made, Work
from confsync.core.untrusted import shown
from confsync.domain.catalog import Catalog, Service, Status
from confsync.domain.loadbalancer import LoadBalancer, Problem

REMEMBERED = 1_000
"""Settled ids of servers that are gone, kept in case they come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What all services are typed with; see `desired`."""

    statuses: frozenset[Status] = frozenset()
    reserved: frozenset[str] = frozenset()
    loops: frozenset[tuple[str, int]] = frozenset()
    ids: Mapping[str, int]


class Memo:
    """What was typed last, so that only services that changed are typed again.

    It makes no difference to the outcome. What is the very object of the last time is known by sight:
    among a thousand services the one that changed costs hardly more than among ten.
    `typed`: how many were typed the last time.
    """

    def __init__(self) -> None:
        self.typed = 0
        self._begin(_Given(ids={}))

    def _begin(self, given: _Given) -> None:
        self._given = given
        self._slugs: dict[str, str] = {}
        self._remarks: list[Problem] = []
        self._made: dict[str, Made] = {}  # by name, sorted by slug
        self._ghosts = Ghosts()
        self._problems: tuple[Problem, ...] = ()
        self._ids: dict[str, int] = {}
        self._stale = True

    def desired(
        self, services: Sequence[Service], given: _Given
    ) -> tuple[LoadBalancer, dict[str, int]]:
        """See `desired`."""
        if self._given != given:
            self._begin(given)
        changed = self._changed(services)
        if len(services) != len(self._made) or any(s.name not in self._made for s in changed):
            self._rename(services)
            changed = self._changed(services)
        self._type(changed)
        self._stale = self._ghosts.look(self._made) or self._stale
        if self._stale:
            self._collect()
        backends = tuple(one.backend for one in self._made.values())
        return LoadBalancer(backends=backends, problems=self._problems), dict(self._ids)

    def _changed(self, services: Iterable[Service]) -> list[Service]:
        """Give the services that are not the very objects of the last time."""
        made = self._made
        return [s for s in services if (one := made.get(s.name)) is None or one.service is not s]

    def _rename(self, services: Iterable[Service]) -> None:
        """Settle the slugs anew, and forget services that went or whose slug another one took."""
        self._stale = True
        self._slugs = naming.slugs((s.name for s in services), self._given.reserved)
        self._remarks = _one_case(self._slugs)
        for name, one in list(self._made.items()):
            if self._slugs.get(name) != one.backend.slug:
                self._ghosts.replaced(name, one, None)
                del self._made[name]

    def _type(self, services: Iterable[Service]) -> None:
        """Type services: one that is equal, though not the very object, came out so already."""
        self.typed = 0
        for service in services:
            name, before = service.name, self._made.get(service.name)
            if before is not None and before.service.repeats(service):
                self._made[name] = replace(before, service=service)  # known by sight from now on
                continue
            work = Work(self._given.loops, self._given.ids)
            after = registrations.made(service, self._slugs[name], self._given.statuses, work)
            self.typed += 1
            self._stale = self._stale or before is None or before.aside != after.aside
            self._ghosts.replaced(name, before, after)
            self._made[name] = after

    def _collect(self) -> None:
        """Sort by slug, and put together what is beside the backends."""
        self._made = dict(sorted(self._made.items(), key=lambda item: item[1].backend.slug))
        made = self._made.values()
        found = [*self._remarks, *(problem for one in made for problem in one.problems)]
        found += self._ghosts.problems()
        self._problems = tuple(sorted(found, key=lambda p: (p.service, p.instance, p.what)))
        self._ids = _recorded(made, self._given.ids)
        self._stale = False


def desired(
    catalog: Catalog,
    *,
    statuses: frozenset[Status],
    reserved: frozenset[str] = frozenset(),
    loops: frozenset[tuple[str, int]] = frozenset(),
    ids: Mapping[str, int] | None = None,
    memo: Memo | None = None,
) -> tuple[LoadBalancer, dict[str, int]]:
    """Type a catalog.

    `statuses`: those to serve; other instances are `absent`. `reserved`: names that no slug may take.
    `loops`: canonical address and port of HAProxy's own listeners; `*`, `0.0.0.0` and `::` stand for
    every loopback address. `ids`: the collisions settled so far, "slug/server" -> id; the second
    value returned is what to record instead. The problems are sorted, the same for the same catalog.
    `memo`: of earlier calls.
    """
    given = _Given(statuses=statuses, reserved=reserved, loops=loops, ids=ids or {})
    return (memo or Memo()).desired(catalog.services, given)


def _recorded(made: Iterable[Made], ids: Mapping[str, int]) -> dict[str, int]:
    """Give what to record: all that was settled, and the latest of those that are gone."""
    known = {key for one in made for key in one.known}
    gone = [(key, number) for key, number in ids.items() if key not in known]
    settled = {key: number for one in made for key, number in one.settled.items()}
    return dict(gone[-REMEMBERED:]) | settled


def _one_case(slugs: Mapping[str, str]) -> list[Problem]:
    """Remark on names that differ only by case, which a Host header cannot tell apart."""
    work = Work(frozenset(), {})
    seen: dict[str, str] = {}
    for name in sorted(slugs, reverse=True):
        first = seen.setdefault(slugs[name].lower(), name)
        if first != name:
            work.problem(
                f"differs from {shown(first)} only by case, which a Host header does not tell",
                name,
                dropped=False,
            )
    return work.problems
