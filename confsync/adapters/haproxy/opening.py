"""Opens servers before their first check, where taking others away would leave none that serves.

For runtime.closed_until_checked: a backend whose servers are all replaced would answer 503 until the
first check of a new one has passed (measured on 2.6 to 3.2).
"""

from collections.abc import Iterator, Sequence

from confsync import errors
from confsync.adapters.haproxy import commands, readback
from confsync.adapters.haproxy.readback import Place, Seen
from confsync.adapters.haproxy.session import Session
from confsync.domain.change import AddServer, Admin, ReplaceMap, Step


async def open_last(talk: Session, done: Sequence[Step], taking: Sequence[Step]) -> None:
    """Open what waits for its first check in backends that `taking` leaves without a server.

    `done`: the steps before, which may have closed one that was checked in an earlier life. Raises
    TargetError.
    """
    taken = {
        (step.backend, step.server)
        for step in taking
        if commands.takes_away(step) and not isinstance(step, ReplaceMap)
    }
    closed = {(step.backend, step.server) for step in done if isinstance(step, AddServer)}
    found: dict[str, list[Seen]] = {backend: [] for backend, _ in taken}
    for answer in await talk.ask(*readback.questions(taking)):
        for server in readback.servers(answer):
            if server.backend in found:
                found[server.backend].append(server)
    told = [
        commands.opened(backend, server)
        for servers in found.values()
        for backend, server in _to_open(servers, taken, closed)
    ]
    for command, answer in zip(told, await talk.ask(*told) if told else (), strict=True):
        if words := commands.refusal(command, answer):
            raise errors.TargetUnavailable(f"`{command}` was answered with `{words[:200]}`")


def _to_open(servers: Sequence[Seen], taken: set[Place], closed: set[Place]) -> Iterator[Place]:
    """Name those of one backend that must be opened (none: others go on, or nobody serves now)."""
    ready = [s for s in servers if s.state is Admin.READY and s.weight > 0]
    serving = {s.place for s in ready if s.up}
    if not serving or serving - taken:
        return
    for server in ready:
        waits = server.checked and (server.unchecked or server.place in closed)
        if waits and not server.up and server.place not in taken:
            yield server.place
