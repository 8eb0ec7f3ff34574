"""The docker target's parts over an engine, a bridge and sockets in memory."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import cast

from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.check import Checker
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.events import Event
from confsync.adapters.docker.signalling import Signalling
from confsync.adapters.docker.target import DockerTarget
from confsync.adapters.docker.ways import Ways
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged
from tests.unit.adapters.docker.box import container


class FakeEngine:
    def __init__(self) -> None:
        self.found: Container | Exception = container(pid=100)
        self.finds = 0
        self.events: list[Event] = []
        self.closed = False

    async def find(self, _: str) -> Container:
        self.finds += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def watch(self, heard: Callable[[Event], None]) -> None:
        for event in self.events:
            heard(event)
        await asyncio.Event().wait()

    def close(self) -> None:
        self.closed = True


class FakeBridge:
    available = True
    why = "no perl"

    def __init__(self) -> None:
        self.used: list[Container] = []

    @property
    def place(self) -> str:
        return self.used[-1].place

    def use(self, box: Container) -> None:
        self.used.append(box)

    def close(self) -> None:
        pass


class Way:
    """A SocketTarget's place."""

    def __init__(self, seen: Observed | Exception) -> None:
        self.seen = seen
        self.reloads = 0

    async def observe(self) -> Observed:
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        raise AssertionError("the container's own program checks")

    async def ready(self, before: Observed) -> None:
        raise AssertionError

    async def reload(self, before: Observed) -> Observed:
        self.reloads += 1
        return before

    async def servers(self) -> tuple[ServerState, ...]:
        return ()


class Rest:
    """Checker, signalling and delivery in one."""

    def __init__(self) -> None:
        self.signalled = 0
        self.masters: list[int] = []
        self.verified: list[Container] = []
        self.error: Exception | None = None
        self.notes: tuple[str, ...] = ()
        self.processes = Observed(running=True, worker_pid=7, notes=("by signal",))

    async def check(
        self, box: Container, main: str, staged: Staged | None, *, master: int = 0
    ) -> tuple[str, ...]:
        self.masters.append(master)
        return (f"checked in {box.name}",)

    async def observe(self, box: Container, seen: Observed) -> Observed:
        if self.error:
            raise self.error
        return self.processes

    async def reload(self, box: Container, observe: object) -> Observed:
        self.signalled += 1
        return self.processes

    async def verify(self, box: Container) -> None:
        self.verified.append(box)
        if self.error:
            raise self.error


SILENT = Observed(running=False, why="no socket")
RUNS = Observed(running=True, master=True, master_pid=1, worker_pid=8, worker_started=5.0)
HERE = dataclasses.replace(RUNS, place=container().place)


class Here:
    def __init__(
        self, wanted: str = "lb", sockets: tuple[str, str] | None = None, peer: int | None = None
    ) -> None:
        self.engine, self.bridge, self.rest = FakeEngine(), FakeBridge(), Rest()
        self.near, self.far = Way(SILENT), Way(RUNS)
        master, stats = sockets or ("/nowhere", "/nowhere")
        bridge = cast(Bridge, self.bridge)
        self.current = Current(wanted, cast(Engine, self.engine), bridge)
        self.ways = Ways(
            bridge,
            near=self.near,
            far=self.far,
            master_socket=master,
            stats_socket=stats,
            peer=None if peer is None else lambda _: peer,
        )
        self.target = DockerTarget(
            self.current,
            self.ways,
            checker=cast(Checker, self.rest),
            signalling=cast(Signalling, self.rest),
            delivered=self.rest,
        )

    async def hear(self, *events: Event) -> list[str]:
        """Let the target hear these; returns what it passed on."""
        self.engine.events = list(events)
        woken: list[str] = []
        task = asyncio.ensure_future(self.target.watch(woken.append))  # noqa: TID251
        await asyncio.sleep(0.01)
        self.stop = task.cancel
        return woken
