"""Servers as HAProxy shows them, and whether they are what steps have made. Pure.

Sources: management.txt 9.3, `show servers state`, `show stat`, `show servers conn`; server-t.h for
the bits. `show servers state` lacks maxconn and all other options of a server.
"""

import ipaddress
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from confsync.adapters.haproxy import commands
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

Place = tuple[str, str]
"""Backend and server."""

# Forced by a hand, ours or another one. 0x02 and 0x10 are inherited from a tracked server, 0x20 and
# 0x40 are a resolver's; 0x04 says that the file has `disabled`, and stays after `ready`.
_FORCED_MAINTENANCE = 0x01
_FORCED_DRAIN = 0x08
# CHK_ST_CONFIGURED and CHK_ST_ENABLED.
_RUNS = 0x02 | 0x04
# HCHK_STATUS_UNKNOWN and HCHK_STATUS_INI (check-t.h).
_NO_CHECK_YET = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One server as it is. `state`: as forced over the socket or by the file, not its health.

    `address` "": a unix socket or an unresolved name. `weight`: as set, without what slowstart
    makes of it. `checked`, `agent`: these checks are on. `up`: by its checks it may serve;
    `unchecked`: no check has ended yet.
    """

    backend: str
    server: str
    server_id: int
    address: str
    port: int
    weight: int
    state: Admin
    checked: bool
    agent: bool
    up: bool = True
    unchecked: bool = False

    @property
    def place(self) -> Place:
        """Its backend and name."""
        return self.backend, self.server


def servers(text: str, only: Container[Place] | None = None) -> Iterator[Seen]:
    """Read `show servers state` by the names of its columns, all or those in `only`."""
    columns: dict[str, int] = {}
    for line in text.split("\n"):
        if line.startswith("# "):
            columns = {name: number for number, name in enumerate(line[2:].split())}
            continue
        # be_id, be_name, srv_id, srv_name come first in each release.
        first = line.split(" ", 4)
        if len(first) < 5 or (only is not None and (first[1], first[3]) not in only):
            continue
        row = line.split(" ")
        if len(row) == len(columns):
            yield _seen(row, columns)


def maxconns(text: str) -> Iterator[tuple[Place, int]]:
    """Read `show stat`: each server's maxconn, 0 for none."""
    columns: list[str] = []
    for line in text.split("\n"):
        if line.startswith("# "):
            columns = line[2:].split(",")
            continue
        row = line.split(",")
        if "slim" in columns and len(row) == len(columns):
            limit = row[columns.index("slim")]
            yield (row[0], row[1]), int(limit) if limit.isdigit() else 0


def purge_delays(text: str) -> dict[Place, int]:
    """Read `show servers conn`: each server's delay (ms) before idle connections are closed."""
    found = {}
    column = -1
    for line in text.split("\n"):
        words = line.split()
        if line.startswith("# ") and "purge_delay" in words:
            column = words.index("purge_delay") - 1
        elif 0 <= column < len(words) and words[column].isdigit():
            backend, _, server = words[0].partition("/")
            found[backend, server] = int(words[column])
    return found


def contradictions(
    steps: Iterable[Step], seen: Mapping[Place, Seen], maxconn: Mapping[Place, int]
) -> dict[int, str]:
    """Tell which steps (by their number) did not come to be, in words.

    Where two steps set one thing of a server, the later one counts. What an agent check may set
    meanwhile is not compared.
    """
    last: dict[tuple[Place, str], tuple[int, object]] = {}
    retired: set[Place] = set()
    for number, step in enumerate(steps):
        if isinstance(step, ReplaceMap):
            continue
        place = (step.backend, step.server)
        if isinstance(step, RetireServer):
            retired.add(place)
        elif isinstance(step, AddServer):
            retired.discard(place)
        for what, value in _made(step):
            last[place, what] = number, value
    found: dict[int, str] = {}
    for (place, what), (number, value) in last.items():
        server = seen.get(place)
        if server is None:
            if place not in retired:
                found.setdefault(number, "HAProxy does not have it")
            continue
        actual: object = maxconn.get(place) if what == "maxconn" else getattr(server, what)
        if what == "address":
            if same_address(server.address, str(value)):
                continue
        elif actual == value:
            continue
        found.setdefault(number, f"its {_WORDS.get(what, what)} is {actual}, not {value}")
    return found


def same_address(one: str, other: str) -> bool:
    """Tell whether two texts are one IP address."""
    if one == other:
        return True
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


_WORDS = {"server_id": "id", "checked": "health check"}


def _made(step: Step) -> Iterator[tuple[str, object]]:
    match step:
        case AddServer():
            yield "address", step.address
            yield "port", step.port
            if step.server_id:
                yield "server_id", step.server_id
            if step.checked:
                yield "checked", True
            if step.again:
                yield "maxconn", step.maxconn
            if not step.agent:
                yield "weight", step.weight
                yield "state", step.state
        case RetireServer():
            yield "state", step.state
        case SetState():
            if not step.agent or step.state is not Admin.READY:
                yield "state", step.state
        case SetWeight():
            yield "weight", step.weight
        case SetMaxconn():
            yield "maxconn", step.maxconn
        case SetAddress():
            yield "address", step.address
            yield "port", step.port
        case _:
            pass


def moved(step: Step) -> SetAddress:
    """Give where a step that moves a server puts it."""
    assert isinstance(step, SetAddress | AddServer), "only these move a server"
    return SetAddress(
        backend=step.backend, server=step.server, address=step.address, port=step.port
    )


def questions(steps: Iterable[Step], most: int = 32) -> tuple[str, ...]:
    """Give the commands whose answers tell what became of steps, but for their maxconn."""
    backends = dict.fromkeys(s.backend for s in steps if not isinstance(s, ReplaceMap))
    return tuple(map(commands.states, backends)) if len(backends) <= most else (commands.states(),)


def further(steps: Iterable[Step], said: Iterable[str]) -> tuple[str, ...]:
    """Give the commands that tell maxconn, by the numbers of backends in the answers so far."""
    limited = {
        step.backend
        for step in steps
        if isinstance(step, SetMaxconn) or (isinstance(step, AddServer) and step.again)
    }
    if not limited:
        return ()
    rows = (line.split(" ", 2) for answer in said for line in answer.split("\n"))
    numbers = {row[1]: int(row[0]) for row in rows if len(row) > 2 and row[0].isdigit()}
    return tuple(commands.limits(numbers[name]) for name in sorted(limited & numbers.keys()))


def _seen(row: list[str], columns: Mapping[str, int]) -> Seen:
    admin = _number(row, columns, "srv_admin_state")
    state = Admin.READY
    if admin & _FORCED_MAINTENANCE:
        state = Admin.MAINT
    elif admin & _FORCED_DRAIN:
        state = Admin.DRAIN
    address = row[columns["srv_addr"]]
    return Seen(
        backend=row[columns["be_name"]],
        server=row[columns["srv_name"]],
        server_id=_number(row, columns, "srv_id"),
        address="" if address == "-" else address,
        port=_number(row, columns, "srv_port"),
        weight=_number(row, columns, "srv_uweight"),
        state=state,
        checked=_number(row, columns, "srv_check_state") & _RUNS == _RUNS,
        agent=_number(row, columns, "srv_agent_state") & _RUNS == _RUNS,
        up=_number(row, columns, "srv_op_state") != 0,
        unchecked=_number(row, columns, "srv_check_status") <= _NO_CHECK_YET,
    )


def _number(row: list[str], columns: Mapping[str, int], name: str) -> int:
    value = row[columns[name]] if name in columns else ""
    return int(value) if value.isdigit() else 0
