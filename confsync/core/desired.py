"""What should be: the catalog, typed.

Every name, address, port, weight and id that leaves here is safe to print in any file. One bad
registration costs itself and nothing else, and each is a Problem in words. Which services may shrink
is not decided here (guards.py), nor what a template does with the rest (rendering.py).

What registrator writes, and what has to be survived: `:udp` twins on the port of another service,
two ids on one address and port, stale ids that now point at another container, ports on which HAProxy
itself listens (a loop), addresses that are none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from confsync.core import naming
from confsync.core.untrusted import shown
from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.loadbalancer import Backend, LoadBalancer, Problem, Server

HEAVIEST = 256
"""HAProxy's highest weight (manual 5.2, "weight")."""

REMEMBERED = 1_000
"""Settled ids of servers that are gone, kept in case they come back."""

_WEIGHT = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_RANK = {Status.PASSING: 0, Status.WARNING: 1, Status.MAINTENANCE: 2, Status.CRITICAL: 3}


@dataclass(slots=True)
class _Typed:
    """One registration with what it was made of; the index tells which of two is newer."""

    server: Server
    modify_index: int


@dataclass(slots=True)
class _Work:
    """What one run collects."""

    loops: frozenset[tuple[str, int]]
    ids: Mapping[str, int]
    problems: list[Problem] = field(default_factory=list)
    settled: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def problem(self, what: str, service: str, instance: str = "", *, dropped: bool = True) -> None:
        self.problems.append(
            Problem(
                what=what,
                service=shown(service),
                instance=shown(instance),
                dropped=dropped,
            )
        )


def desired(
    catalog: Catalog,
    *,
    statuses: frozenset[Status],
    reserved: frozenset[str] = frozenset(),
    loops: frozenset[tuple[str, int]] = frozenset(),
    ids: Mapping[str, int] | None = None,
) -> tuple[LoadBalancer, dict[str, int]]:
    """Type a catalog.

    `statuses`: those to serve; other instances are `absent`. `reserved`: names that no slug may take.
    `loops`: canonical address and port of HAProxy's own listeners; `*`, `0.0.0.0` and `::` stand for
    every loopback address. `ids`: the collisions settled so far, "slug/server" -> id; the second
    value returned is what to record instead. The problems are sorted, the same for the same catalog.
    """
    work = _Work(loops=loops, ids=ids or {})
    slugs = naming.slugs((s.name for s in catalog.services), reserved)
    kept: list[tuple[Backend, list[_Typed]]] = []
    for service in catalog.services:
        slug = slugs[service.name]
        if slug != service.name:
            work.problem(
                f"its name cannot be a proxy's, so it is {slug}", service.name, dropped=False
            )
        if service.denied:
            work.problem(
                "the registry's token may not read it: kept as it was", service.name, dropped=False
            )
        kept.append(_backend(service, slug, statuses, work))
    kept.sort(key=lambda pair: pair[0].slug)
    _one_case(slugs, work)
    _shared(kept, work)
    problems = sorted(work.problems, key=lambda p: (p.service, p.instance, p.what))
    return (
        LoadBalancer(backends=tuple(b for b, _ in kept), problems=tuple(problems)),
        _recorded(work),
    )


def _backend(
    service: Service, slug: str, statuses: frozenset[Status], work: _Work
) -> tuple[Backend, list[_Typed]]:
    typed: list[_Typed] = []
    for instance in service.instances:
        try:
            server = _server(instance, service.name, work)
        except naming.Untypable as error:
            work.problem(str(error), service.name, instance.id)
        else:
            typed.append(_Typed(server, instance.modify_index))
    typed = _one_each(typed, service.name, work)
    typed.sort(key=lambda t: naming.order(t.server.address, t.server.port))
    _number(typed, slug, work)
    served = [t for t in typed if t.server.status in statuses]
    backend = Backend(
        name=service.name,
        slug=slug,
        # Of all instances, served or not: a route should not come and go with health.
        tags=tuple(sorted({tag for t in typed for tag in t.server.tags})),
        instances=tuple(t.server for t in served),
        absent=tuple(
            sorted(
                (t.server.server, t.server.status) for t in typed if t.server.status not in statuses
            )
        ),
    )
    return backend, served


def _server(instance: Instance, service: str, work: _Work) -> Server:
    if instance.id.endswith(":udp"):
        raise naming.Untypable("is registrator's entry of a UDP port")
    if not 1 <= instance.port <= 65_535:
        raise naming.Untypable(f"has port {_bounded(instance.port)}, which is none")
    address = naming.address(instance.address)
    if _loops(address, instance.port, work.loops):
        raise naming.Untypable(
            f"is {naming.server(address, instance.port)}, where HAProxy itself listens (a loop)"
        )
    return Server(
        server=naming.server(address, instance.port),
        server_id=naming.server_id(address, instance.port),
        address=address,
        port=instance.port,
        status=instance.status,
        weight=_weight(instance, service, work),
        id=instance.id,
        tags=instance.tags,
        meta=instance.meta,
        node=instance.node,
        datacenter=instance.datacenter,
    )


def _bounded(number: int) -> str:
    return str(number) if abs(number) < 10**9 else "of many digits"


def _loops(address: str, port: int, loops: frozenset[tuple[str, int]]) -> bool:
    if (address, port) in loops:
        return True
    local = address in {"localhost", "::1"} or (
        address.startswith("127.") and naming.is_ip(address)
    )
    return local and any((every, port) in loops for every in ("*", "", "0.0.0.0", "::"))  # noqa: S104


def _weight(instance: Instance, service: str, work: _Work) -> int:
    weight = instance.weight
    wish = dict(instance.meta).get("weight")
    if wish is not None:
        if _WEIGHT.fullmatch(wish):
            weight = int(wish)
        else:
            work.problem(
                f"its meta weight {shown(wish)} is no number, so the registry's counts",
                service,
                instance.id,
                dropped=False,
            )
    clamped = max(0, min(HEAVIEST, weight))
    if clamped != weight:
        work.problem(
            f"its weight {_bounded(weight)} is outside 0-{HEAVIEST}, so it is {clamped}",
            service,
            instance.id,
            dropped=False,
        )
    return clamped


def _one_each(typed: Iterable[_Typed], service: str, work: _Work) -> list[_Typed]:
    """Keep one registration of an address and port: passing first, then the newer, then by id."""
    best: dict[str, _Typed] = {}
    ranked = sorted(
        typed, key=lambda t: (_RANK[t.server.status], -t.modify_index, t.server.id, t.server.node)
    )
    for one in ranked:
        first = best.setdefault(one.server.server, one)
        if first is not one:
            work.problem(
                f"is {one.server.server} again, which {shown(first.server.id)} is already",
                service,
                one.server.id,
                dropped=False,
            )
    return list(best.values())


def _number(typed: list[_Typed], slug: str, work: _Work) -> None:
    """Settle equal ids within a backend, and remember both sides of each collision.

    HAProxy refuses two servers with one id in a backend. What was settled before stays so.
    """
    used: dict[int, str] = {}
    later: list[_Typed] = []
    for one in typed:
        key = f"{slug}/{one.server.server}"
        work.known.add(key)
        settled = work.ids.get(key, 0)
        if settled in used or not naming.FIRST_ID <= settled < naming.LAST_ID:
            later.append(one)
        else:
            used[settled] = key
            work.settled[key] = settled
            one.server = replace(one.server, server_id=settled)
    for one in later:
        key = f"{slug}/{one.server.server}"
        found, salt = one.server.server_id, 0
        while found in used:
            work.settled[used[found]] = found
            salt += 1
            found = naming.server_id(one.server.address, one.server.port, salt)
        used[found] = key
        if salt:
            work.settled[key] = found
            one.server = replace(one.server, server_id=found)


def _recorded(work: _Work) -> dict[str, int]:
    """Give what to record: all that was settled, and the latest of those that are gone."""
    gone = [(key, number) for key, number in work.ids.items() if key not in work.known]
    return dict(gone[-REMEMBERED:]) | work.settled


def _one_case(slugs: Mapping[str, str], work: _Work) -> None:
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


def _shared(kept: list[tuple[Backend, list[_Typed]]], work: _Work) -> None:
    """Remark on one address and port under two services: one of the registrations is a ghost."""
    holders: dict[str, list[tuple[str, _Typed]]] = {}
    for backend, served in kept:
        for one in served:
            holders.setdefault(one.server.server, []).append((backend.name, one))
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
