"""One service of the catalog, typed: its registrations as servers with legal names and settled ids.

Every name, address, port, weight and id that leaves here is safe to print in any file. One bad
registration costs itself and nothing else. What services have to do with one another is desired.py's.

What registrator writes, and what has to be survived: `:udp` twins on the port of another service,
two ids on one address and port, stale ids that now point at another container, ports on which HAProxy
itself listens (a loop), addresses that are none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from confsync.core import naming
from confsync.core.untrusted import shown
from confsync.domain.catalog import Instance, Service, Status
from confsync.domain.loadbalancer import Backend, Problem, Server

HEAVIEST = 256
"""HAProxy's highest weight (manual 5.2, "weight")."""

_WEIGHT = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_RANK = {Status.PASSING: 0, Status.WARNING: 1, Status.MAINTENANCE: 2, Status.CRITICAL: 3}


@dataclass(slots=True)
class Registration:
    """One registration with what it was made of; the index tells which of two is newer."""

    server: Server
    modify_index: int


@dataclass(slots=True)
class Work:
    """What the typing of one service collects."""

    loops: frozenset[tuple[str, int]]
    ids: Mapping[str, int]
    problems: list[Problem] = field(default_factory=list)
    settled: dict[str, int] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)

    def problem(self, what: str, service: str, instance: str = "", *, dropped: bool = True) -> None:
        """Note something in words, the registry's names escaped."""
        self.problems.append(
            Problem(
                what=what,
                service=shown(service),
                instance=shown(instance),
                dropped=dropped,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A service, typed.

    `names`: of the served ones. `known`: keys of settled ids that it was typed with.
    """

    service: Service
    backend: Backend
    served: tuple[Registration, ...]
    names: frozenset[str]
    problems: tuple[Problem, ...]
    settled: Mapping[str, int]
    known: tuple[str, ...]

    @property
    def aside(self) -> tuple[object, ...]:
        """What comes of it beside its backend."""
        return self.problems, self.settled, self.known


def made(service: Service, slug: str, statuses: frozenset[Status], work: Work) -> Made:
    """Type one service; see desired.desired."""
    if slug != service.name:
        legal = naming.is_legal(service.name)
        why = (
            "a template has a proxy of that name itself"
            if legal
            else "its name cannot be a proxy's"
        )
        work.problem(f"{why}, so it is {slug}", service.name, dropped=False)
    if service.denied:
        work.problem(
            "the registry's token may not read it: kept as it was", service.name, dropped=False
        )
    backend, served = _backend(service, slug, statuses, work)
    return Made(
        service=service,
        backend=backend,
        served=tuple(served),
        names=frozenset(s.server for s in backend.instances),
        problems=tuple(work.problems),
        settled=work.settled,
        known=tuple(work.known),
    )


def _backend(
    service: Service, slug: str, statuses: frozenset[Status], work: Work
) -> tuple[Backend, list[Registration]]:
    typed: list[Registration] = []
    for instance in service.instances:
        try:
            server = _server(instance, service.name, work)
        except naming.Untypable as error:
            work.problem(str(error), service.name, instance.id)
        else:
            typed.append(Registration(server, instance.modify_index))
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


def _server(instance: Instance, service: str, work: Work) -> Server:
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


def _weight(instance: Instance, service: str, work: Work) -> int:
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


def _one_each(typed: Iterable[Registration], service: str, work: Work) -> list[Registration]:
    """Keep one registration of an address and port: passing first, then the newer, then by id."""
    best: dict[str, Registration] = {}
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


def _number(typed: list[Registration], slug: str, work: Work) -> None:
    """Settle equal ids within a backend, and remember both sides of each collision.

    HAProxy refuses two servers with one id in a backend. What was settled before stays so.
    """
    used: dict[int, str] = {}
    later: list[Registration] = []
    for one in typed:
        key = f"{slug}/{one.server.server}"
        if key in work.ids:
            work.known.append(key)
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
