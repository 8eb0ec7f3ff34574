"""Blocking queries without end: index rules, endless jittered retries, a pace.

What is asked, and what an answer means, is the caller's.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import tenacity

from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.reading import SERVICES, Reader
from confsync.adapters.consul.roster import Roster
from confsync.errors import DiscoveryError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30
POLL = 5
"""Seconds between questions to a registry that gives no index to wait for."""

LATER = 2
"""Rounds of the loop that what was learned is ahead of the next question, which costs as much work as
acting on it does: who publishes has one, and who acts the next."""

BURST = 20
RATE = 10
"""Answers at once, and answers a second after those: what one query may take of a registry that
answers without end, whatever the reason (a check whose output changes all the time, a wrong index)."""


@dataclasses.dataclass(slots=True)
class Cursor:
    """The index rules of blocking queries (Consul's API, Blocking Queries, Implementation Details).

    `send`: the index to ask with, 0 for an answer at once. `last`: of the last answer, kept over
    failures, so that a registry that was reset meanwhile is noticed.
    """

    send: int = 0
    last: int = 0

    def failed(self) -> None:
        """Ask for an answer at once next: an old index could block for a whole wait."""
        self.send = 0

    def answered(self, index: int) -> bool:
        """Take an answer's index (0: none); returns whether it fell, so the next is asked anew."""
        fell = 0 < index < self.last
        self.send = 0 if fell else index
        self.last = index or self.last
        return fell


class Pace:
    """A token bucket: `pause()` gives the seconds to wait before the next question."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._left = float(BURST)

    def pause(self) -> float:
        """Count one answer."""
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._at) * RATE) - 1
        self._at = now
        return max(0.0, -self._left / RATE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class News(Generic[T]):
    """An answer that was read. `moved`: its index differs, or there is none; `fell`: it is lower."""

    value: T
    moved: bool
    fell: bool


class Follower:
    """Asks until answered, for all the queries of a watch."""

    def __init__(self, reader: Reader, roster: Roster, *, sleep: Sleep | None = None) -> None:
        """`sleep`: a test's; it is told the seconds and sees no early end."""
        self._reader = reader
        self._roster = roster
        self._sleep = sleep
        self._back = asyncio.Event()

    async def follow(
        self,
        path: str,
        read: Callable[[Answer], Awaitable[T]],
        take: Callable[[News[T]], None],
        *,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Block on a path for ever, or until `goes_on` says no after an answer or before a try.

        `read` may ask more and may raise DiscoveryError, which is retried like any other.
        """
        cursor = Cursor()
        pace = Pace(asyncio.get_running_loop().time)
        generation = 0

        async def attempt() -> tuple[Answer, T] | None:
            nonlocal generation
            if not goes_on():
                return None
            if generation != self._reader.generation:
                # Another token may see more, which moves no index.
                generation = self._reader.generation
                cursor.failed()
            try:
                answer = await self._reader.ask(path, index=cursor.send)
                return answer, await read(answer)
            except DiscoveryError:
                cursor.failed()
                raise

        try:
            while (answered := await self.persist(path, attempt)) is not None:
                answer, value = answered
                self._roster.indexed(path, yes=answer.index > 0)
                before = cursor.last
                fell = cursor.answered(answer.index)
                moved = answer.index != before or not answer.index
                take(News(value=value, moved=moved, fell=fell))
                if path != SERVICES:
                    # The listing keeps its connection: where the registry allows no more of them,
                    # those whom it brought would have it, and nothing that goes would be heard of.
                    for _ in range(LATER):
                        await asyncio.sleep(0)
                pause = pace.pause() if answer.index else POLL
                if pause:
                    await self._pause(pause)
        finally:
            self._roster.ended(path)

    async def persist(self, query: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, with jittered pauses that grow from 0.25 to 30 s.

        Retry-After is kept to. `query` names it in the roster while it fails.
        """
        try:
            value = await attempt()
        except DiscoveryError as error:
            value = await self._retried(query, attempt, error)
        if self._roster.answered(query) and query == SERVICES:
            # The first query of all works again: the others need not sit out their pauses.
            self._back.set()
            self._back.clear()
        return value

    async def _retried(
        self, query: str, attempt: Callable[[], Awaitable[T]], failed: DiscoveryError
    ) -> T:
        """Try again until it works. `failed`: how the first try ended."""
        first: list[DiscoveryError] = [failed]

        async def attempted() -> T:
            if first:
                raise first.pop()
            return await attempt()

        grow = tenacity.wait_random_exponential(
            multiplier=2 * FIRST_PAUSE, min=FIRST_PAUSE, max=LONGEST_PAUSE
        )
        told = 0.0

        def wait(state: tenacity.RetryCallState) -> float:
            nonlocal told
            error = state.outcome.exception() if state.outcome is not None else None
            assert isinstance(error, DiscoveryError)
            self._roster.failed(query, error)
            told = error.retry_after
            return float(max(grow(state), told))

        async def sleep(seconds: float) -> None:
            # Who was told how long to wait does so, whatever the others hear.
            await self._pause(seconds, patient=told > 0)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(DiscoveryError),
            stop=tenacity.stop_never,
            wait=wait,
            sleep=sleep,
        )
        value: T = await retrying(attempted)
        return value

    async def _pause(self, seconds: float, *, patient: bool = False) -> None:
        if self._sleep is not None:
            await self._sleep(seconds)
        elif patient:
            await asyncio.sleep(seconds)
        else:
            try:
                async with asyncio.timeout(seconds):
                    await self._back.wait()
            except TimeoutError:
                return
