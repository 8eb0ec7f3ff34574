"""What runs beside the turns of an agent: keeping, the check after a change, the chores.

What only looks or writes to the state runs beside a turn; what touches HAProxy or the files waits for
its end, and a turn for it.
"""

import asyncio
from collections.abc import Callable

from confsync.engine.auditing import News
from confsync.engine.cycle import Cycle
from confsync.engine.upkeep import Upkeep
from confsync.errors import ConfsyncError
from confsync.ports import Telemetry

LATE = 0.8
"""Seconds from a change that went ahead to the check of its file, which is promised within one:
further changes join it, and a check is most of the work that a change costs."""
AGAIN = 5.0
"""Seconds after which a check that could not be made is tried again."""


class Background:
    """One agent's. `saving`: held while the state is written."""

    def __init__(
        self,
        cycle: Cycle,
        busy: asyncio.Lock,
        telemetry: Telemetry,
        poke: Callable[[str], None],
    ) -> None:
        self._cycle = cycle
        self._upkeep: Upkeep | None = cycle.upkeep
        self._busy = busy
        self._telemetry = telemetry
        self._poke = poke
        self._left = asyncio.Event()
        self._wanted: frozenset[str] = frozenset()
        self._said = ""
        self._unchecked = ""
        self.saving = asyncio.Lock()

    def wake(self) -> None:
        """Do what a turn has left."""
        self._wanted = frozenset()
        if self._upkeep is not None:
            self._left.set()

    async def run(self) -> None:
        """Do what is left, for ever."""
        while True:
            await self._left.wait()
            self._left.clear()
            await self._save()
            while self._cycle.stepper.unproven is not None:
                await asyncio.sleep(LATE)
                await self._save()
                if not await self._prove():
                    await asyncio.sleep(AGAIN)

    async def close(self) -> None:
        """Leave nothing for the next start that can be done now."""
        if self._upkeep is not None:
            await self._save()
            await self._prove()

    async def chores(self, *, paused: bool) -> None:
        """Do what is due by the clock, between two turns."""
        if self._upkeep is None:
            return
        async with self._busy:
            before = self._cycle.outlook.record
            self._tell(await self._upkeep.chores(paused=paused))
            if self._cycle.outlook.record is not before:
                self._left.set()

    async def _save(self) -> None:
        async with self.saving:
            said = "; ".join(await self._cycle.finish())
            if said and said != self._said:
                self._telemetry.event("warning", "not kept for a restart", error=said)
            self._said = said

    async def _prove(self) -> bool:
        """Have the live file checked, and act on it unless it has changed since."""
        assert self._upkeep is not None
        try:
            config, refused = await self._upkeep.prove()
            async with self._busy:
                if config is None or self._cycle.stepper.unproven is not config:
                    return True  # the check was of a file that is no more; the next one tells
                if refused is None:
                    await self._upkeep.proven(config)
                else:
                    self._tell(await self._upkeep.undo(refused))
        except ConfsyncError as error:
            # The next change is checked before it is made.
            self._cycle.stepper.shapes.forget()
            if str(error) != self._unchecked:
                self._telemetry.event("warning", "a change is not checked yet", error=str(error))
            self._unchecked = str(error)
            return False
        self._unchecked = ""
        return True

    def _tell(self, news: News) -> None:
        for note in news.notes:
            self._telemetry.event("info", "upkeep", note=note)
        for alarm in news.alarms:
            self._telemetry.event("error", "alarm", alarm=alarm)
        for why in news.wanted:
            if why not in self._wanted:
                self._poke(why)
        self._wanted |= frozenset(news.wanted)
