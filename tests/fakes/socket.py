"""A HAProxy's socket in memory, for what the engine changes at runtime."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

from confsync.core.planning import Surroundings
from confsync.domain.change import (
    AddServer,
    Admin,
    RetireServer,
    SetAddress,
    SetState,
    SetWeight,
    Step,
)
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Applied, Capabilities, Drift, Expected, Leftover, Observed
from confsync.errors import ConfsyncError
from tests.fakes.world import MAIN, Haproxy, Row


class Killed(BaseException):
    """The agent ends here, as by kill -9."""


class Socket:
    """HAProxy's socket for changes at runtime; every batch is written down in `sent`."""

    def __init__(self, haproxy: Haproxy) -> None:
        self.haproxy = haproxy
        self.told: Capabilities | None = Capabilities(version="3.0.0", deletes=True, waits=True)
        self.around_it: Surroundings | None = Surroundings(configs=(MAIN,))
        self.sent: list[tuple[Step, ...]] = []
        self.dies_after = -1
        """Steps that are still done before the socket dies (-1: it lives)."""
        self.killed_after = -1
        """Steps that are still done before the agent is killed."""
        self.in_use: set[tuple[str, str]] = set()
        self.audits = 0
        self.collections = 0
        self.error: ConfsyncError | None = None
        self.notes: tuple[str, ...] = ()

    async def capabilities(self, observed: Observed) -> Capabilities | None:
        if self.error:
            raise self.error
        return self.told

    async def around(
        self, main: str, config: RenderedConfig, observed: Observed
    ) -> Surroundings | None:
        return self.around_it

    def ahead(self, before: Observed) -> AbstractContextManager[None]:
        return nullcontext()

    async def apply(self, steps: tuple[Step, ...], before: Observed) -> Applied:
        await asyncio.sleep(0)
        if not self.haproxy.running:
            return Applied(doubt="HAProxy does not run")
        if before.worker_pid != self.haproxy.pid:
            return Applied(doubt="another worker answers")
        self.sent.append(steps)
        for number, step in enumerate(steps):
            if number == self.dies_after:
                return Applied(done=steps[:number], doubt="the socket died")
            if number == self.killed_after:
                raise Killed
            self._do(step)
        if self.killed_after == len(steps):
            raise Killed
        return Applied(done=steps)

    def _do(self, step: Step) -> None:
        table = self.haproxy.table
        match step:
            case AddServer():
                row = Row(step.address, step.port, step.weight, step.state)
                table[step.backend, step.server] = row
            case RetireServer():
                if (step.backend, step.server) in table:
                    table[step.backend, step.server].state = step.state
            case SetWeight():
                table[step.backend, step.server].weight = step.weight
            case SetState():
                table[step.backend, step.server].state = step.state
            case SetAddress():
                row = table[step.backend, step.server]
                row.address, row.port = step.address, step.port
            case _:
                pass

    async def collect(
        self, leftovers: tuple[Leftover, ...], before: Observed
    ) -> tuple[Leftover, ...]:
        self.collections += 1
        gone = tuple(o for o in leftovers if (o.backend, o.server) not in self.in_use)
        for one in gone:
            self.haproxy.table.pop((one.backend, one.server), None)
        return gone

    async def audit(self, expected: tuple[Expected, ...], before: Observed) -> tuple[Drift, ...]:
        self.audits += 1
        if self.error:
            raise self.error
        drifts = (self._drift(one) for one in expected)
        return tuple(drift for drift in drifts if drift is not None)

    def _drift(self, one: Expected) -> Drift | None:
        backend, server = one.backend, one.server
        name = f"{backend}/{server}"
        row = self.haproxy.table.get((backend, server))
        if row is None:
            gone = Drift(backend=backend, server=server, what=f"{name} is not there")
            return None if one.retired else gone
        repair: Step
        hand: Step | None = None
        if row.state is not one.state:
            what = f"{name} is in {row.state}"
            repair = SetState(backend=backend, server=server, state=one.state)
            if one.state is Admin.READY:
                hand = SetState(backend=backend, server=server, state=row.state)
        elif row.weight != one.weight and not one.retired:
            what = f"{name} has weight {row.weight}"
            repair = SetWeight(backend=backend, server=server, weight=one.weight)
            hand = SetWeight(backend=backend, server=server, weight=row.weight)
        elif (row.address, row.port) != (one.address, one.port):
            what = f"{name} is elsewhere"
            repair = SetAddress(backend=backend, server=server, address=one.address, port=one.port)
        else:
            return None
        return Drift(backend=backend, server=server, what=what, repair=(repair,), hand=hand)
