"""What should be: the catalog, typed.

Service by service in registrations.py; here is what services have to do with one another. Each thing
that could not be taken is a Problem in words. Which services may shrink is not decided here
(guards.py), nor what a template does with the rest (rendering.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from confsync.core import naming, registrations
from confsync.core.registrations import Made, Registration, Work
from confsync.core.untrusted import shown
from confsync.domain.catalog import Catalog, Service, Status
from confsync.domain.loadbalancer import LoadBalancer, Problem

REMEMBERED = 1_000
"""Settled ids of servers that are gone, kept in case they come back."""


class Memo:
    """What was typed last, so that only services that changed are typed again.

    It makes no difference to the outcome. `typed`: how many were typed the last time.
    """

    def __init__(self) -> None:
        self.typed = 0
        self._under: tuple[object, ...] = ()
        self._listed: tuple[tuple[str, ...], dict[str, str], list[Problem]] = ((), {}, [])
        self._made: dict[str, Made] = {}

    def under(self, *inputs: object) -> None:
        """Forget everything when anything but the services has changed."""
        if self._under != inputs:
            self._under = inputs
            self._made = {}
            self._listed = ((), {}, [])
        self.typed = 0

    def slugs(
        self, names: tuple[str, ...], reserved: frozenset[str]
    ) -> tuple[dict[str, str], list[Problem]]:
        """Name -> slug, with the remarks on those names."""
        if not self._listed[1] or self._listed[0] != names:
            work = Work(frozenset(), {})
            found = naming.slugs(names, reserved)
            _one_case(found, work)
            self._listed = (names, found, work.problems)
        return self._listed[1:]

    def made(
        self,
        services: Sequence[Service],
        slugs: Mapping[str, str],
        statuses: frozenset[Status],
        loops: frozenset[tuple[str, int]],
        ids: Mapping[str, int],
    ) -> list[Made]:
        """Type services, in their order."""
        found = []
        for service in services:
            slug = slugs[service.name]
            known = self._made.get(service.name)
            if known is None or known.backend.slug != slug or not known.still(service):
                known = registrations.made(service, slug, statuses, Work(loops, ids))
                self.typed += 1
            elif known.service is not service:
                known = replace(known, service=service)  # so that the next look is a short one
            found.append(known)
        self._made = {one.service.name: one for one in found}
        return found


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
    ids, memo = ids or {}, memo or Memo()
    memo.under(statuses, reserved, loops, ids)
    slugs, remarks = memo.slugs(tuple(s.name for s in catalog.services), reserved)
    made = memo.made(catalog.services, slugs, statuses, loops, ids)
    made.sort(key=lambda one: one.backend.slug)
    found = [*remarks, *(problem for one in made for problem in one.problems), *_shared(made)]
    problems = sorted(found, key=lambda p: (p.service, p.instance, p.what))
    return (
        LoadBalancer(backends=tuple(one.backend for one in made), problems=tuple(problems)),
        _recorded(made, ids),
    )


def _recorded(made: Sequence[Made], ids: Mapping[str, int]) -> dict[str, int]:
    """Give what to record: all that was settled, and the latest of those that are gone."""
    known = {key for one in made for key in one.known} if ids else set()
    gone = [(key, number) for key, number in ids.items() if key not in known]
    settled = {key: number for one in made for key, number in one.settled.items()}
    return dict(gone[-REMEMBERED:]) | settled


def _one_case(slugs: Mapping[str, str], work: Work) -> None:
    """Remark on names that differ only by case, which a Host header cannot tell apart."""
    seen: dict[str, str] = {}
    for name in sorted(slugs, reverse=True):
        first = seen.setdefault(slugs[name].lower(), name)
        if first != name:
            work.problem(
                f"differs from {shown(first)} only by case, which a Host header does not tell",
                name,
                dropped=False,
            )


def _shared(made: Sequence[Made]) -> list[Problem]:
    """Remark on one address and port under two services: one of the registrations is a ghost."""
    if len(frozenset[str]().union(*(m.names for m in made))) == sum(len(m.names) for m in made):
        return []
    work = Work(frozenset(), {})
    holders: dict[str, list[tuple[str, Registration]]] = {}
    for each in made:
        for one in each.served:
            holders.setdefault(one.server.server, []).append((each.backend.name, one))
    for server, found in holders.items():
        if len(found) < 2:
            continue
        newest = max(one.modify_index for _, one in found)
        newer = [name for name, one in found if one.modify_index == newest]
        likely = f"; {shown(newer[0])} registered last" if len(newer) == 1 else ""
        names = ", ".join(shown(name) for name, _ in found[:5])
        for name, one in found:
            if len(newer) == 1 and name == newer[0]:
                continue
            work.problem(
                f"{server} is registered under {len(found)} services ({names}){likely}",
                name,
                one.server.id,
                dropped=False,
            )
    return work.problems
