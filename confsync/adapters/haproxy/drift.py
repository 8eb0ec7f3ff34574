"""Where a running HAProxy is not as the record says, and whose doing that is. Pure.

What confsync itself sets is in the record (the journal, before it is sent), so that a maintenance, a
drain or a weight that is not there is another hand's. Health is no drift, nor what an agent sets.
"""

from collections.abc import Iterable, Iterator

from confsync.adapters.haproxy.readback import Place, Seen, same_address
from confsync.domain.change import Admin, SetAddress, SetState, SetWeight
from confsync.domain.running import Drift, Expected


def compare(expected: Iterable[Expected], seen: Iterable[Seen]) -> tuple[Drift, ...]:
    """Compare servers. Ones that nobody expects count in the backends of which one is expected.

    A server without an address is one whose line could not be read: even its name may be another.
    """
    there: dict[Place, Seen] = {server.place: server for server in seen}
    known: set[Place] = set()
    unread: set[str] = set()
    found: list[Drift] = []
    for server in expected:
        place = server.backend, server.server
        known.add(place)
        actual = there.get(place)
        if not server.address:
            unread.update(() if actual else (server.backend,))
        elif actual is not None:
            found += _differences(server, actual)
        elif not server.retired:
            found.append(
                Drift(
                    backend=server.backend,
                    server=server.server,
                    what=f"{server.backend}/{server.server}: HAProxy does not have it",
                )
            )
    backends = {backend for backend, _ in known} - unread
    found += (
        Drift(
            backend=backend,
            server=name,
            what=f"{backend}/{name}: HAProxy has it, the configuration does not",
        )
        for backend, name in there
        if backend in backends and (backend, name) not in known
    )
    return tuple(found)


def _differences(server: Expected, seen: Seen) -> Iterator[Drift]:
    backend, name = server.backend, server.server
    where = f"{backend}/{name}"
    moved = seen.port != server.port or not same_address(seen.address, server.address)
    if moved:
        actual = f"{seen.address or 'nowhere'}:{seen.port}"
        move = SetAddress(
            backend=backend,
            server=name,
            address=server.address,
            port=server.port,
            down=seen.checked,
        )
        yield Drift(
            backend=backend,
            server=name,
            what=f"{where}: at {actual}, not {server.address}:{server.port}",
            repair=(move,),
        )
    if seen.weight != server.weight and not server.agent and not server.retired:
        yield Drift(
            backend=backend,
            server=name,
            what=f"{where}: weight {seen.weight}, not {server.weight}",
            repair=(SetWeight(backend=backend, server=name, weight=server.weight),),
            hand=SetWeight(backend=backend, server=name, weight=seen.weight),
        )
    if seen.state != server.state and not _agents(server, seen):
        # Who gives traffic to what should have none has no excuse; who takes it may have one.
        mild = {Admin.READY: 0, Admin.DRAIN: 1, Admin.MAINT: 2}
        if server.retired and mild[seen.state] > mild[server.state]:
            return
        hand = mild[seen.state] > mild[server.state]
        yield Drift(
            backend=backend,
            server=name,
            what=f"{where}: {seen.state}, not {server.state}",
            repair=(
                SetState(backend=backend, server=name, state=server.state, agent=server.agent),
            ),
            hand=SetState(backend=backend, server=name, state=seen.state, agent=server.agent)
            if hand
            else None,
        )


def _agents(server: Expected, seen: Seen) -> bool:
    """Tell whether an agent check may have set the state: it is heard in ready servers."""
    return server.agent and server.state is Admin.READY and seen.agent
