"""Opens servers before their first check, where taking others away would leave none that serves.

With runtime.closed_until_checked a backend whose servers are all replaced would answer 503 until the
first check of a new one has passed (measured on 2.6 to 3.2); so would one whose servers move one
after the other. A reload would believe them all to be UP.
"""

from collections.abc import Iterator, Sequence

from confsync import errors
from confsync.adapters.haproxy import commands, readback
from confsync.adapters.haproxy.readback import Place, Seen
from confsync.adapters.haproxy.session import Session
from confsync.domain.change import AddServer, Admin, ReplaceMap, SetAddress, Step


def closes(step: Step, *, closed: bool) -> bool:
    """Tell whether a step leaves a server DOWN until its check. `closed`: new ones wait for it."""
    match step:
        case AddServer():
            return closed and step.checked and step.state is Admin.READY
        case SetAddress():
            return step.down
        case _:
            return False


async def open_last(talk: Session, closed: set[Place], steps: Sequence[Step]) -> None:
    """Open what waits for its check in backends that `steps` leave without a server.

    `closed`: servers that were told to be DOWN; those that are UP by now are taken out. Raises
    TargetError.
    """
    taken = {
        (step.backend, step.server)
        for step in steps
        if not isinstance(step, ReplaceMap)
        and (commands.takes_away(step) or (isinstance(step, SetAddress) and step.down))
    }
    if not taken:
        return
    found: dict[str, list[Seen]] = {backend: [] for backend, _ in taken}
    for answer in await talk.ask(*readback.questions(steps)):
        for server in readback.servers(answer):
            if server.backend in found:
                found[server.backend].append(server)
    closed -= {server.place for servers in found.values() for server in servers if server.up}
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
