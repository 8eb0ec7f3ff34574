"""From what runs to what should be over HAProxy's socket: the steps, and what only a reload can do.

    compare(running, target, ...) -> Comparison

Both are configurations as HAProxy takes them in. Additions come first, then maps, then what takes
traffic away: a request always finds a server. planning.py decides what becomes of both lists.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from confsync.core import additions, serving
from confsync.core.circumstances import Context
from confsync.core.haproxy import difference, servers
from confsync.core.haproxy.configuration import Configuration
from confsync.core.haproxy.proxies import Proxy
from confsync.core.haproxy.servers import Server
from confsync.core.serving import Work
from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)
from confsync.domain.running import Leftover


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs. `steps` in order, with the words for each; `reload`: why one is needed."""

    steps: tuple[Step, ...] = ()
    reasons: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()


def after(proxy: Proxy, steps: Iterable[Step]) -> tuple[Server, ...]:
    """Give a proxy's servers once steps were done; those of other proxies are passed over."""
    found = {server.name: server for server in proxy.servers}
    for step in steps:
        if isinstance(step, ReplaceMap) or step.backend != proxy.section.name:
            continue
        match step:
            case AddServer():
                found[step.server] = servers.added(step)
            case RetireServer(gone=True):
                found.pop(step.server, None)
            case RetireServer() if step.server in found:
                found[step.server] = replace(found[step.server], state=step.state)
            case SetWeight() if step.server in found:
                found[step.server] = replace(found[step.server], weight=step.weight)
            case SetMaxconn() if step.server in found:
                found[step.server] = replace(found[step.server], maxconn=step.maxconn)
            case SetState() if step.server in found:
                found[step.server] = replace(found[step.server], state=step.state)
            case SetAddress() if step.server in found:
                found[step.server] = replace(
                    found[step.server], address=step.address, port=step.port
                )
    return tuple(found.values())


def draining(steps: Iterable[Step]) -> tuple[RetireServer, ...]:
    """Give the retirements of servers that drain, and that only a reload that waits removes."""
    found: dict[tuple[str, str], RetireServer] = {}
    for step in steps:
        if isinstance(step, AddServer | RetireServer | SetState):
            found.pop((step.backend, step.server), None)
        if isinstance(step, RetireServer) and not step.gone and step.state is Admin.DRAIN:
            found[step.backend, step.server] = step
    return tuple(found.values())


def compare(
    old: Configuration,
    new: Configuration,
    done: tuple[Step, ...],
    context: Context,
    replaced: tuple[tuple[ReplaceMap, str], ...],
    files: tuple[str, ...],
) -> Comparison:
    """Compare what runs (`old`, and `done` since then) with what should be.

    `replaced`: maps to replace, with the words for each; `files`: why other files need a reload.
    """
    touched = {step.backend for step in done if not isinstance(step, ReplaceMap)}
    works: list[Work] = []
    inherited: list[str] = []
    ordered = list(old.proxies) == list(new.proxies)
    for known, proxy in _pairs(old, new, ordered=ordered):
        if known is proxy and not touched:
            continue  # as most are, and quickly seen
        if known is None:
            works.append(Work(reload=[difference.added(proxy.section)]))
        elif proxy.section.name in touched or not known.same(proxy):
            steps = done if proxy.section.name in touched else ()
            works.append(serving.compare(known, proxy, after(known, steps), context, inherited))
    if not ordered:
        for key, proxy in old.proxies.items():
            if key not in new.proxies:
                works.append(serving.removed(proxy, after(proxy, done), context))
    reload = [*files, *(why for work in works for why in work.reload)]
    if inherited and not any(why.startswith("defaults") for why in reload):
        reload += inherited
    if not reload and not ordered:
        reload.append("the order of sections changed")
    return _together(works, reload, replaced, context)


def _pairs(
    old: Configuration, new: Configuration, *, ordered: bool
) -> Iterable[tuple[Proxy | None, Proxy]]:
    """Give all proxies of `new`, each with the one that runs. `ordered`: of both, in one order."""
    if ordered:
        return zip(old.proxies.values(), new.proxies.values(), strict=True)
    return ((old.proxies.get(key), proxy) for key, proxy in new.proxies.items())


def _together(
    works: list[Work],
    reload: list[str],
    replaced: tuple[tuple[ReplaceMap, str], ...],
    context: Context,
) -> Comparison:
    retired = [
        one
        for work in works
        for one in work.early
        if not work.reload or (not one[1].odd and one[1].place not in context.places())
    ]
    steps = (
        *(step for work in works for step in work.giving),
        *(step for step, _ in replaced),
        *(step for work in works for step in work.taking),
        *(step for step, _, _ in retired),
    )
    reasons = [why for work in works for why in work.reasons]
    reasons += [why for _, why in replaced]
    reasons += [why for work in works for why in work.taken]
    reasons += [why for _, _, why in retired]
    return Comparison(steps=steps, reasons=tuple(reasons), reload=tuple(reload))


def compacted(old: Configuration, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Leave out what later steps undo or repeat, since a reload may be refused for days.

    `after` gives the same for the servers of `old`.
    """
    loaded: dict[str, set[str]] = {}
    settled: set[object] = set()
    kept: list[Step] = []
    for step in reversed(steps):
        if isinstance(step, ReplaceMap):
            if step.destination not in settled:
                settled.add(step.destination)
                kept.append(step)
            continue
        place = step.backend, step.server
        if place in settled:
            continue
        if isinstance(step, RetireServer) and step.gone:
            settled.add(place)
            if step.backend not in loaded:
                proxy = old.bearing(step.backend)
                loaded[step.backend] = {s.name for s in proxy.servers} if proxy else set()
            if step.server in loaded[step.backend]:
                kept.append(step)
            continue
        kind = SetState if isinstance(step, RetireServer) else type(step)
        if (place, AddServer) not in settled and (place, kind) not in settled:
            settled.add((place, kind))
            kept.append(step)
    return tuple(reversed(kept))


def leftovers(
    old: Configuration,
    before: tuple[Step, ...],
    steps: tuple[Step, ...],
    known: tuple[Leftover, ...],
    now: float,
) -> tuple[Leftover, ...]:
    """Give what stays in HAProxy of retired servers, once `steps` were done after `before`."""
    found = {(one.backend, one.server): one for one in known}
    running: dict[str, dict[str, Server]] = {}
    for step in steps:
        match step:
            case RetireServer() if known_one := found.get((step.backend, step.server)):
                found[step.backend, step.server] = replace(
                    known_one, state=step.state, cause=step.cause, since=now
                )
            case RetireServer(gone=True):
                if step.backend not in running:
                    proxy = old.bearing(step.backend)
                    there = after(proxy, before) if proxy else ()
                    running[step.backend] = {server.name: server for server in there}
                if (server := running[step.backend].get(step.server)) is not None:
                    found[step.backend, step.server] = _leftover(step, server, now)
            case AddServer():
                found.pop((step.backend, step.server), None)
    return tuple(found.values())


def _leftover(step: RetireServer, server: Server, now: float) -> Leftover:
    return Leftover(
        backend=step.backend,
        server=step.server,
        address=server.address,
        port=server.port,
        server_id=server.server_id,
        weight=server.weight,
        maxconn=server.maxconn,
        options=additions.flat(server),
        state=step.state,
        cause=step.cause,
        delete=step.delete,
        since=now,
    )
