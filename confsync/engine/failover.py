"""Runs the failover's state machine (core/failover.py): clock and queue around it, nothing more.

The other places look at `standing`. Whatever ends this, the addresses are removed and the program
that elects is ended; what even that does not reach ends with the lease, and by the program's guard.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from confsync.core import failover
from confsync.core.failover import Await, Do, Pause, Start, State, Tell, Word
from confsync.errors import VipError
from confsync.ports import Election, SharedAddresses

_PARTS = 4
"""Renewals within a lease. Each is heard by whoever watches the host's addresses, so not more."""


class Says(Protocol):
    """Where it says what happens."""

    def __call__(self, level: str, text: str, /, **fields: object) -> None:
        """Say a constant text with fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What others may know. `role`: "holds", "waits", "parts", "off" or "left"."""

    engine: str
    addresses: tuple[str, ...]
    role: str
    healthy: bool
    why: str
    takeovers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`engine`: its name, for people. `lease`: seconds.

    `stale`: seconds for which it holds what was told of HAProxy's health.
    """

    engine: str
    addresses: tuple[str, ...]
    lease: float
    stale: float = math.inf


class Failover:
    """One host's part in the shared addresses. `clean` first, then `run`, once."""

    def __init__(
        self,
        options: Options,
        election: Election,
        addresses: SharedAddresses,
        event: Says,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._election = election
        self._addresses = addresses
        self._event = event
        self._clock = clock
        self._state = State()
        self._queue: asyncio.Queue[failover.Event] = asyncio.Queue()
        self._running = False
        self._over = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._burst: list[asyncio.TimerHandle] = []
        self._renewed = 0.0
        self._heard = 0.0
        self._takeovers = 0
        self._ticking = False

    async def clean(self) -> None:
        """Remove what an earlier run left; find out whether this can work at all.

        Raises VipError, SettingsError: then nothing must be started.
        """
        for each in self._addresses.clean():
            self._event("warning", "shared address of an earlier run removed", address=each)
        self._election.ready()

    def health(self, ok: bool, why: str) -> None:
        """Tell whether HAProxy answers; `why` not. To be told again and again."""
        self._heard = self._clock()
        self._queue.put_nowait(failover.Health(ok=ok, why=why))

    async def leave(self) -> None:
        """Give the addresses to the other host; return when they are gone from this one."""
        self._queue.put_nowait(failover.Leave())
        if self._running:
            await self._over.wait()

    def standing(self) -> Standing:
        """Tell how things are."""
        state = self._state
        if state.held:
            role = "parts" if state.parting else "holds"
        elif state.left:
            role = "left"
        else:
            role = "waits" if state.running else "off"
        return Standing(
            engine=self._options.engine,
            addresses=self._options.addresses,
            role=role,
            healthy=state.healthy,
            why=state.why,
            takeovers=self._takeovers,
        )

    async def run(self) -> None:
        """Take part until `leave`."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                ticks = group.create_task(self._tick(), name="lease")
                while not self._state.left:
                    await self._take_in(await self._queue.get(), group)
                ticks.cancel()
        finally:
            # Of a regular end nothing is left to do; of a crash or a cancellation all of it.
            self._election.stop()
            self._addresses.drop()
            for timer in (*self._timers, *self._burst):
                timer.cancel()
            self._addresses.close()
            self._running = False
            self._over.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._options.lease / _PARTS)
            if not self._ticking:  # one at a time: those that were missed are not made up for
                self._ticking = True
                self._queue.put_nowait(failover.Tick())

    async def _take_in(self, event: failover.Event, group: asyncio.TaskGroup) -> None:
        if isinstance(event, failover.Tick):
            self._ticking = False
            event = failover.Tick(late=self._late())
            if self._state.healthy and self._clock() - self._heard > self._options.stale:
                why = f"nobody has asked HAProxy for {self._options.stale:g} s"
                await self._step(failover.Health(ok=False, why=why), group)
        await self._step(event, group)

    async def _step(self, event: failover.Event, group: asyncio.TaskGroup) -> None:
        self._state, actions = failover.step(self._state, event)
        for action in actions:
            match action:
                case Start(serial=serial):
                    group.create_task(self._elect(serial), name="election")
                case Await(pause=pause, seconds=seconds):
                    wait = self._election.farewell if pause is Pause.FAREWELL else seconds
                    self._later(wait, failover.Over(pause=pause))
                case Tell(level=level, text=text, why=why):
                    fields = {"why": why} if why else {}
                    self._event(level, text, engine=self._options.engine, **fields)
                case _:
                    await self._do(action)

    async def _do(self, action: Do) -> None:
        match action:
            case Do.STOP:
                self._election.stop()
            case Do.GOODBYE:
                await self._election.goodbye()
            case Do.BEAT:
                self._election.beat()
            case Do.TAKE:
                self._takeovers += 1
                self._renewed = self._clock()
                if self._lease():
                    self._announce()
                    self._election.taken()
                    self._again()
            case Do.RENEW:
                if not self._late():
                    self._lease()
            case Do.ANNOUNCE:
                self._announce()
            case Do.DROP:
                self._quiet()
                self._addresses.drop()

    async def _elect(self, serial: int) -> None:
        """Run the program that elects; what it says becomes events of this run."""

        def tell(word: Word) -> None:
            self._queue.put_nowait(failover.Said(serial=serial, word=word))

        try:
            detail = await self._election.run(tell)
        except (VipError, OSError) as error:  # OSError: no descriptors are left, say
            detail = str(error)
        self._queue.put_nowait(failover.Said(serial=serial, word=Word.ENDED, detail=detail))

    def _late(self) -> bool:
        """Tell whether the lease may have run out: then the address may be another's."""
        return self._clock() - self._renewed > self._options.lease

    def _lease(self) -> bool:
        try:
            self._addresses.lease()
        except VipError as error:
            self._queue.put_nowait(failover.Refused(why=str(error)))
            return False
        self._renewed = self._clock()
        return True

    def _announce(self) -> None:
        # Not after the goodbye, nor when the lease may have ended: it would call traffic back from the
        # host that took over.
        if self._state.held and not self._state.parting and not self._late():
            self._addresses.announce()

    def _again(self) -> None:
        self._quiet()
        loop = asyncio.get_running_loop()
        self._burst = [loop.call_later(each, self._announce) for each in failover.BURST]

    def _quiet(self) -> None:
        for timer in self._burst:
            timer.cancel()
        self._burst = []

    def _later(self, seconds: float, event: failover.Event) -> None:
        loop = asyncio.get_running_loop()
        self._timers = [timer for timer in self._timers if timer.when() > loop.time()]
        self._timers.append(loop.call_later(seconds, self._queue.put_nowait, event))
