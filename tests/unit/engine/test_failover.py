"""The failover's shell on fakes: what is done, in which order, whatever ends it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from confsync.core.failover import Word
from confsync.engine.failover import Failover, Options
from confsync.errors import VipDenied, VipError

LEASE = 0.08


class World:
    """One host: its addresses, the program, what it said, and the order of all that."""

    farewell = 0.0

    def __init__(self, *, stale: float = math.inf) -> None:
        self.done: list[str] = []
        self.events: list[str] = []
        self.has = False
        self.refuse = False
        self.leftovers: tuple[str, ...] = ()
        self.now = 0.0
        self.tell: Callable[[Word], None] | None = None
        self._end = asyncio.Event()
        self._news = asyncio.Event()
        self.failover = Failover(
            Options(engine="fake", addresses=("10.9.0.100",), lease=LEASE, stale=stale),
            self,
            self,
            self.event,
            clock=lambda: self.now,
        )

    def _do(self, what: str) -> None:
        self.done.append(what)
        self._news.set()

    async def until(self, wanted: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not wanted():
                self._news.clear()
                await self._news.wait()

    def event(self, level: str, text: str, /, **fields: object) -> None:
        self.events.append(f"{level}: {text}")
        self._news.set()

    # Addresses

    def clean(self) -> tuple[str, ...]:
        return self.leftovers

    def lease(self) -> None:
        if self.refuse:
            raise VipDenied("may not set it")
        self.has = True
        self._do("lease")

    def announce(self) -> None:
        self._do("announce")

    def drop(self) -> None:
        self.has = False
        self._do("drop")

    def close(self) -> None:
        self._do("close")

    # Election

    def ready(self) -> None:
        self._do("ready")

    async def run(self, tell: Callable[[Word], None]) -> str:
        self.tell, self._end = tell, asyncio.Event()
        self._do("run")
        await self._end.wait()
        return "ended"

    def beat(self) -> None:
        self._do("beat")

    def taken(self) -> None:
        self._do("taken")

    async def goodbye(self) -> None:
        self._do("goodbye")
        self._end.set()

    def stop(self) -> None:
        self._do("stop")
        self._end.set()

    def end(self) -> None:
        self._end.set()

    # Ways

    def says(self, word: Word) -> None:
        assert self.tell is not None
        self.tell(word)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.failover.run())
            yield task
            await self.failover.leave()

    async def win(self) -> None:
        self.failover.health(ok=True, why="")
        await self.until(lambda: "run" in self.done)
        self.says(Word.MASTER)
        await self.until(lambda: "taken" in self.done)

    @property
    def steps(self) -> list[str]:
        """What was done, without what comes again and again."""
        often = {"beat", "announce"}
        kept = [each for each in self.done if each not in often]
        return [each for i, each in enumerate(kept) if each != "lease" or kept[i - 1] != "lease"]


async def test_the_address_is_set_and_announced_before_the_program_goes_on() -> None:
    world = World()
    async with world.running():
        await world.win()
        assert world.done[:4] == ["run", "lease", "announce", "taken"]
        assert world.failover.standing().role == "holds"
        await world.until(lambda: world.done.count("lease") > 3)
        assert world.done.count("beat") >= 3


async def test_leaving_returns_when_the_address_is_gone() -> None:
    world = World()
    async with world.running():
        await world.win()
        world.done.clear()
        await world.failover.leave()
        assert not world.has
        assert world.steps == ["lease", "goodbye", "drop", "stop", "stop", "drop", "close"]
    assert world.failover.standing().role == "left"


async def test_leaving_without_ever_having_run_returns() -> None:
    world = World()
    async with asyncio.timeout(5):
        await world.failover.leave()


async def test_a_cancellation_leaves_no_address_and_no_program() -> None:
    world = World()
    async with world.running() as task:
        await world.win()
        task.cancel()
        await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert not world.has
    assert world.done[-3:] == ["stop", "drop", "close"]


async def test_an_address_that_is_refused_is_handed_over_and_said() -> None:
    world = World()
    world.refuse = True
    async with world.running():
        world.failover.health(ok=True, why="")
        await world.until(lambda: "run" in world.done)
        world.says(Word.MASTER)
        await world.until(lambda: "drop" in world.done)
        assert "taken" not in world.done
        assert "announce" not in world.done
        assert "error: the shared address cannot be set" in world.events
        assert world.failover.standing().role == "off"


async def test_after_a_stall_nothing_is_renewed() -> None:
    """Stopped for longer than the lease: the address is another host's by now."""
    world = World()
    async with world.running():
        await world.win()
        world.done.clear()
        world.now += 2 * LEASE
        await world.until(lambda: "run" in world.done)
        assert world.steps == ["drop", "stop", "run"]
        assert any("held up" in each for each in world.events)


async def test_after_a_stall_nothing_is_announced() -> None:
    """It would call the traffic to a host whose kernel has dropped the address."""
    world = World()
    async with world.running():
        await world.win()
        world.now += 2 * LEASE
        world.done.clear()
        world.says(Word.CONTESTED)
        await world.until(lambda: "run" in world.done)
        assert "announce" not in world.done


async def test_an_answer_of_long_ago_is_none() -> None:
    """Who asks HAProxy has stopped asking: nobody knows whether it still serves."""
    world = World(stale=LEASE / 2)
    async with world.running():
        await world.win()
        world.done.clear()
        world.now += 0.75 * LEASE  # in time for the lease
        await world.until(lambda: not world.has)
        assert "goodbye" in world.done
        assert world.failover.standing().role == "off"
        assert "nobody has asked HAProxy" in world.failover.standing().why
        world.failover.health(ok=True, why="")
        await world.until(lambda: "run" in world.done)


async def test_a_program_that_ends_is_started_again() -> None:
    world = World()
    async with world.running():
        world.failover.health(ok=True, why="")
        await world.until(lambda: "run" in world.done)
        world.end()
        await world.until(lambda: world.done.count("run") == 2)
        assert "error: the program that elects ended" in world.events


async def test_leftovers_are_told() -> None:
    world = World()
    world.leftovers = ("10.9.0.100 on eth0",)
    await world.failover.clean()
    assert world.events == ["warning: shared address of an earlier run removed"]
    assert world.done == ["ready"]


async def test_a_program_that_cannot_start_is_told_and_tried_again() -> None:
    class Broken(World):
        async def run(self, tell: Callable[[Word], None]) -> str:
            self._do("run")
            raise VipError("no program")

    world = Broken()
    async with world.running():
        world.failover.health(ok=True, why="")
        await world.until(lambda: world.done.count("run") == 2)
        assert not world.has
