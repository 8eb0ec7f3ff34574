"""One program that is kept running: started anew, with growing pauses, each time that it ends."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from confsync.errors import ConfsyncError, TargetUnavailable
from confsync.ports import Telemetry

LAST = 1.0
"""Seconds that a program has for its end after TERM, before it is killed."""
AGAIN = 1.0
"""Seconds after which a program that was told to end is told once more."""


class Process(Protocol):
    """One run of a program."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def words(self) -> Iterable[str]:
        """The last lines that it wrote."""

    async def wait(self) -> int:
        """Wait for its end; returns its exit code, or its signal's number, negative."""

    def signal(self, number: int) -> None:
        """Signal the program itself; nothing when it has ended."""

    def kill(self) -> None:
        """End it and whatever is left of its group, at once."""

    def close(self) -> None:
        """Listen to it no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Seconds: the first pause, which doubles up to the longest.

    Who ran for longer than the longest begins with the first one again.
    """

    first: float = 0.25
    longest: float = 15.0


class Kept:
    """A program and its life. `start` raises ConfsyncError; `died` is told of each end, at once."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[Process]],
        telemetry: Telemetry,
        *,
        pauses: Pauses,
        died: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.process: Process | None = None
        self.starts = 0
        self.since = 0.0
        """Unix seconds just before its last start."""
        self.last = ""
        """How it ended last, in words."""
        self.words: tuple[str, ...] = ()
        """What it wrote last before that."""
        self._start = start
        self._telemetry = telemetry
        self._pauses = pauses
        self._died = died
        self._pause = pauses.first

    @property
    def pid(self) -> int:
        """Of the running program; 0: it does not run."""
        return self.process.pid if self.process else 0

    async def run(self) -> None:
        """Keep it running, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.once()
            if loop.time() - began > self._pauses.longest:
                self._pause = self._pauses.first
            self._telemetry.event(
                "error", "program ended", child=self.name, why=self.last, again_in=self._pause
            )
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, self._pauses.longest)

    async def once(self) -> None:
        """Start it, and wait for its end."""
        self.starts += 1
        self.since = time.time()
        try:
            process = await self._start()
        except ConfsyncError as error:
            self.last = str(error)
            self._died(self.last)
            return
        self.process, self.words = process, ()
        self._telemetry.event("info", "program runs", child=self.name, pid=process.pid)
        code = await process.wait()
        # Whoever hears of it finds it gone.
        self.process, self.words, self.last = None, tuple(process.words), ended(code)
        self._died(self.last)
        process.kill()  # what it left behind would be in the way of the next one
        process.close()

    async def end(self, soft: int, seconds: float) -> None:
        """Have it end: by a signal, within so many seconds; then TERM; then at once.

        `run` must have been cancelled.
        """
        process, self.process = self.process, None
        if process is None:
            return
        for number, wait in ((soft, seconds), (signal.SIGTERM, LAST)):
            if await self._told(process, number, wait):
                break
        process.kill()
        await process.wait()
        process.close()

    async def _told(self, process: Process, number: int, wait: float) -> bool:
        """Signal it until it ends, for so many seconds; tell whether it has.

        Again and again: who loads its files anew in that moment (HAProxy's master) may lose one.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while (left := until - loop.time()) > 0:
            process.signal(number)
            try:
                async with asyncio.timeout(min(left, AGAIN)):
                    await process.wait()
            except TimeoutError:
                continue
            return True
        if wait > 0:
            self._telemetry.event(
                "warning",
                "program does not end",
                child=self.name,
                signal=signal.Signals(number).name,
                seconds=round(wait, 1),
            )
        return False

    def hung(self) -> None:
        """Kill it, since it does not answer; who keeps it starts it anew."""
        if self.process is not None:
            self.process.kill()

    def failed(self) -> TargetUnavailable:
        """Give its end as an error: for a start that nothing can be done about."""
        return TargetUnavailable(
            f"{self.name} ended at its start: {self.last}", detail="\n".join(self.words)
        )


def ended(code: int) -> str:
    """Say how a program ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
