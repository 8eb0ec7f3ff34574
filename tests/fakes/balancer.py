"""The parts of a load balancer in memory; what happens is written down in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from confsync.engine.balancing import Balancer, Options
from confsync.engine.children import Kept, Pauses
from tests.fakes.world import Spoken


class Process:
    """One run of a program, which ends when it is told to, or when somebody says so."""

    def __init__(self, world: "World", name: str, pid: int) -> None:
        self.pid = pid
        self.words = ["[ALERT] words"]
        self.deaf = name in world.deaf
        self._world = world
        self._name = name
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def ends(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)

    def signal(self, number: int) -> None:
        if not self._code.done():
            self._world.log.append(f"{self._name} gets {signal.Signals(number).name}")
            if not self.deaf:
                self.ends(0)

    def kill(self) -> None:
        if not self._code.done():
            self._world.log.append(f"{self._name} is killed")
        self.ends(-9)

    def close(self) -> None:
        pass


class World:
    """Everything of one load balancer, with switches."""

    def __init__(self, *, web: bool = True, vip: bool = True, renew: float = 100_000) -> None:
        self.log: list[str] = []
        self.said = Spoken()
        self.deaf: set[str] = set()
        self.silent = ""
        """Why HAProxy does not answer, though it runs."""
        self.cannot: dict[str, Exception] = {}
        self.processes: dict[str, Process] = {}
        self.part: _Failover | None = None
        self.refuses_to_leave = False
        self.healths: list[bool] = []
        self.takes_part = False
        self._pid = 100
        pauses = Pauses(first=0.25, longest=15)
        self.balancer = Balancer(
            options=Options(pauses=pauses, renew=renew),
            haproxy=Kept(
                "haproxy",
                self._starts("haproxy"),
                self.said,
                pauses=pauses,
                died=self._died,
            ),
            probe=self._probe,
            agent=_Agent(self),
            telemetry=self.said,
            notifier=_Notifier(self),
            certificates=_Certificates(self),
            nginx=Kept("nginx", self._starts("nginx"), self.said, pauses=pauses) if web else None,
            web=_Web(self) if web else None,
            failover=(lambda: _Failover(self)) if vip else None,
        )

    def happens(self, what: str) -> None:
        """Write down what happens; raises where it cannot."""
        self.log.append(what)
        if what in self.cannot:
            raise self.cannot[what]

    def _died(self, why: str) -> None:
        self.balancer.haproxy_died(why)

    def _starts(self, name: str) -> Callable[[], Awaitable[Process]]:
        async def start() -> Process:
            self.happens(f"{name} starts")
            self._pid += 1
            self.processes[name] = Process(self, name, self._pid)
            return self.processes[name]

        return start

    async def _probe(self) -> str:
        if not self.balancer.haproxy.pid:
            return "no socket"
        return self.silent

    def count(self, what: str) -> int:
        return self.log.count(what)


class _Agent:
    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, *, ends: asyncio.Event, hangup: asyncio.Event) -> None:
        async def listen() -> None:
            while True:
                await hangup.wait()
                hangup.clear()
                self._world.happens("agent reads anew")

        self._world.happens("agent runs")
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(listen())
            await ends.wait()
            listener.cancel()
        self._world.happens("agent ends")

    async def written(self) -> None:
        await asyncio.sleep(0.01)
        self._world.happens("configuration checked and written")


class _Notifier:
    def __init__(self, world: World) -> None:
        self._world = world

    def ready(self) -> None:
        self._world.happens("ready")

    def reloading(self) -> None:
        self._world.happens("reloading")

    def stopping(self) -> None:
        self._world.happens("stopping")


class _Certificates:
    def __init__(self, world: World) -> None:
        self._world = world

    async def prepare(self) -> None:
        self._world.happens("certificates prepared")

    async def renew(self) -> None:
        self._world.happens("certificates renewed")

    def standing(self) -> object:
        return ()


class _Web:
    def __init__(self, world: World) -> None:
        self._world = world

    async def check(self) -> None:
        self._world.happens("nginx checked")

    async def reload(self) -> None:
        self._world.happens("nginx reloaded")

    async def changed(self) -> bool:
        return False


class _Failover:
    """Takes the address when it hears that HAProxy is healthy, and drops it when it is not."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._leaving = asyncio.Event()
        self._bug: Exception | None = None
        self.holds = False
        world.part = self

    async def clean(self) -> None:
        self._world.happens("leftovers removed")

    async def run(self) -> None:
        self._world.takes_part = True
        try:
            self._world.happens("takes part")
            await self._leaving.wait()
            if self._bug is not None:
                raise self._bug
        finally:
            self._world.takes_part = False
            self._drop()

    def health(self, ok: bool, why: str) -> None:
        self._world.healths.append(ok)
        if ok and self._world.takes_part and not self.holds:
            self.holds = True
            self._world.log.append("address taken")
        elif not ok:
            self._drop()

    def fails(self, bug: Exception) -> None:
        self._bug = bug
        self._leaving.set()

    def _drop(self) -> None:
        if self.holds:
            self.holds = False
            self._world.log.append("address given away")

    async def leave(self) -> None:
        self._world.happens("leaves")
        if self._world.refuses_to_leave:
            await asyncio.Event().wait()
        self._leaving.set()
        await asyncio.sleep(0.25)

    def standing(self) -> object:
        return ()
