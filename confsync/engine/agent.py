"""The agent: wait for a reason, hold off, run a cycle, retry what failed; for ever.

One TaskGroup: the discoverer, a tick that looks at HAProxy and at the files, the reconcile loop, and
what wiring adds (the control socket). Nothing outside the agent ends it; on a stop the running cycle
completes first.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from confsync.domain.catalog import Catalog
from confsync.domain.status import CycleReport, Outcome, SourceState, Stage
from confsync.engine import telling
from confsync.engine.background import Background
from confsync.engine.cycle import Cycle, Turn
from confsync.engine.holdoff import Pace
from confsync.engine.lanes import Lanes
from confsync.engine.mailbox import Mailbox
from confsync.errors import ConfsyncError, TargetUnavailable, Unavailable
from confsync.ports import ConfigStore, Discoverer, Notifier, StateStore, Target, Telemetry

TICK = 1.0
"""Seconds between two looks at HAProxy and at the files."""
RESYNC = 300.0
"""Seconds after which a cycle runs without news."""
PATIENCE = 2.0
"""Seconds that a start waits for the registry before it works without."""
STUCK = 150.0
"""Seconds in one cycle after which the watchdog is fed no more (check and reload end before)."""


_HOLD, _RESYNC = "a hold is looked at", "resync"
_ROUTINE = frozenset({_HOLD, _RESYNC})
_WROTE = frozenset({Outcome.WRITTEN, Outcome.APPLIED, Outcome.RELOADED})
_WRITING = frozenset({Stage.WRITE, Stage.APPLY, Stage.VERIFY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`main`: HAProxy's main file. `destinations`: all files. `retry`: first, longest pause (s).

    `pace`: of reloads; `fast`: of changes at runtime (None: there are none). `adopt`: nobody else
    writes where the files go, so that one which no record knows is ours all the same.
    """

    main: str
    destinations: tuple[str, ...]
    pace: Pace = field(default_factory=Pace)
    fast: Pace | None = None
    retry: tuple[float, float] = (5, 60)
    adopt: bool = False


class Stopped(Exception):
    """Ends the agent's task group once its running cycle is complete."""


class Agent:
    """The state of a running agent; its one writer is its own loop."""

    def __init__(
        self,
        *,
        options: Options,
        cycle: Cycle,
        discoverer: Discoverer,
        target: Target,
        store: ConfigStore,
        state: StateStore,
        telemetry: Telemetry,
        notifier: Notifier,
    ) -> None:
        self.options = options
        self.cycle = cycle
        self.source = SourceState()
        self.report: CycleReport | None = None
        self.paused = bool(state.load("paused"))
        self.retry_at: float | None = None
        self.started = time.time()
        self._discoverer = discoverer
        self._target = target
        self._store = store
        self._state = state
        self._telemetry = telemetry
        self._notifier = notifier
        self._mailbox = Mailbox()
        self._lanes = Lanes(options.pace, options.fast if cycle.upkeep else None)
        self._busy = asyncio.Lock()
        self._background = Background(cycle, self._busy, telemetry, self._mailbox.poke)
        self._busy_since: float | None = None
        self._turn_began = 0.0
        self._reasons: list[str] = []
        self._released: set[str] = set()
        self._registry = False
        self._load_anew = ""
        self._failures = 0
        self._last_good: Catalog | None = None
        self._patient_until = float("inf")
        self._resync_at = float("inf")
        self._seen: object = None
        self._prints: object = None
        self._last_error = ""
        self._carried: tuple[str, ...] = ()
        self._glance = asyncio.Event()

    async def run(self, stop: asyncio.Event, *extra: Callable[[], Awaitable[None]]) -> None:
        """Work until `stop` is set; `extra` are further tasks of the same group."""
        self._last_good = await asyncio.to_thread(self.cycle.restore)
        self._patient_until = time.monotonic() + PATIENCE
        self._mailbox.poke("start")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._discoverer.watch(self._mailbox.publish, self._tell), name="discoverer"
                )
                group.create_task(self._tick(), name="tick")
                group.create_task(self._reconcile(), name="reconcile")
                group.create_task(self._background.run(), name="background")
                for task in extra:
                    group.create_task(_run(task))
                group.create_task(self._stopper(stop), name="stopper")
        except* Stopped:
            pass
        finally:
            await self._discoverer.close()
            await self._background.close()

    async def _stopper(self, stop: asyncio.Event) -> None:
        await stop.wait()
        async with self._background.saving, self._busy:
            raise Stopped

    def glance(self, why: str) -> None:
        """Look at HAProxy now, since something tells that it may have changed.

        What could not be reached is tried again at once.
        """
        self._telemetry.event("debug", "target", news=why)
        code = self.report.exit_code if self.report is not None else 0
        if self.retry_at is not None and code == TargetUnavailable.exit_code:
            self._begin(why)
        self._glance.set()

    def load(self, why: str) -> None:
        """Have HAProxy load its files anew, although nothing that confsync writes differs."""
        self._load_anew = why
        self._begin(why)

    def release(self, services: tuple[str, ...], *, registry: bool) -> None:
        """Have the next cycle let held services (or the registry) go."""
        self._released.update(services)
        self._registry = self._registry or registry
        self._begin("released by hand")

    async def pause(self, *, paused: bool) -> None:
        """Stop or resume writing; survives a restart. Raises StateError when it cannot be kept."""
        await asyncio.to_thread(self._state.save, "paused", paused)
        self.paused = paused
        self._begin("paused by hand" if paused else "resumed by hand")

    @property
    def retry_in(self) -> float | None:
        """Tell in how many seconds what failed is tried again."""
        return None if self.retry_at is None else max(0.0, self.retry_at - time.monotonic())

    @property
    def exit_code(self) -> int:
        """Sum the state up as an exit code: of the last cycle, else of the registry."""
        code = self.report.exit_code if self.report else 0
        unreachable = 0 if self.source.up or not self.source.error else Unavailable.exit_code
        return code if code >= 65 or not unreachable else unreachable

    @property
    def alive(self) -> bool:
        """Tell whether cycles still end."""
        return self._busy_since is None or time.monotonic() - self._busy_since < STUCK

    def _tell(self, source: SourceState) -> None:
        before, self.source = self.source, source
        if source.up and not before.up:
            self._telemetry.event("info", "registry answers", notes=source.notes)
        elif source.error and source.error != before.error:
            self._telemetry.event("warning", "registry does not answer", error=source.error)
        if source.denied != before.denied and source.denied:
            self._telemetry.event("warning", "services denied to the token", names=source.denied)

    async def _tick(self) -> None:
        """Look at HAProxy and at the files: what others did is a reason for a cycle."""
        while True:
            if self.alive:
                self._notifier.watchdog()
            if self.report is not None and not self._busy.locked():
                await self._look()
                await self._background.chores(paused=self.paused)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._glance.wait(), TICK)
            self._glance.clear()

    async def _look(self) -> None:
        try:
            observed = await self._target.observe()
            prints = await asyncio.to_thread(self._store.fingerprint, self.options.destinations)
        except ConfsyncError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                self._telemetry.event("warning", "HAProxy cannot be observed", error=str(error))
            return
        self._last_error = ""
        if self._busy.locked():
            return
        self._lanes.slow.old_workers = len(observed.old_workers)
        before = self.cycle.observed
        if observed.loading:
            return
        if before is None or telling.identity(before) != telling.identity(observed):
            self.cycle.observed = observed
            why = telling.difference(before, observed)
            # A reload that was given up may have ended since: it must not ask for another at once.
            (self._mailbox.poke if why == telling.RELOADED else self._begin)(why)
        if prints != self._prints:
            self._prints = prints
            self._begin("a file changed on disk")

    def _begin(self, why: str) -> None:
        """Ask for a cycle that a failed reload does not put off: its cause may be gone."""
        self._lanes.slow.not_before = float("-inf")
        self._mailbox.poke(why)

    async def _reconcile(self) -> None:
        while True:
            now = time.monotonic()
            if await self._mailbox.wait(self._pause(now)):
                reasons = self._mailbox.reasons()
                self._reasons.extend(r for r in reasons if r not in self._reasons)
                self._lanes.changed(time.monotonic())
            now = time.monotonic()
            self._timers(now)
            if any(begin is not None and begin <= now for begin in self._lanes.begins()):
                await self._turn()

    def _pause(self, now: float) -> float | None:
        times = [*self._lanes.begins(), self.retry_at, self._resync_at]
        if self._patient_until != float("inf"):
            times.append(self._patient_until)
        if self.cycle.guard.wake and self.retry_at is None:
            times.append(now + max(0.05, self.cycle.guard.wake - time.time()))
        wanted = [t for t in times if t is not None and t != float("inf")]
        return max(0.0, min(wanted) - now) if wanted else None

    def _timers(self, now: float) -> None:
        """Turn what the clock brings into reasons."""
        reason = ""
        if self.retry_at is not None and self.retry_at <= now:
            self.retry_at, reason = None, "trying again"
        elif self.retry_at is None and 0 < self.cycle.guard.wake <= time.time():
            self.cycle.guard.wake, reason = 0.0, _HOLD
        elif self._patient_until <= now:
            self._patient_until, reason = float("inf"), "the registry has not answered yet"
        elif self._resync_at <= now:
            self._resync_at, reason = now + RESYNC, _RESYNC
        if reason:
            self._reasons.append(reason)
            self._lanes.changed(now)

    async def _turn(self) -> None:
        async with self._busy:
            self._busy_since = time.monotonic()
            try:
                await self._one_turn()
            finally:
                self._busy_since = None

    async def _gathered(self) -> bool:
        """Wait until changes after a calm had their time to gather; False when there are newer."""
        begin, due = self._turn_began, self._lanes.slow.due()
        if due is None:
            return True
        while (left := due - time.monotonic()) > 0 and self._mailbox.published < begin:
            await self._mailbox.wait(left)
            if self._mailbox.published < begin:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        return not begin <= self._mailbox.published <= due

    async def _one_turn(self) -> None:
        self._turn_began = time.monotonic()
        if self._load_anew:
            # Only now: a reload that was under way would be taken for the one that is asked for.
            self.cycle.outlook.must, self._load_anew = self._load_anew, ""
        catalog, reasons = self._mailbox.take()
        why = "; ".join(dict.fromkeys((*self._reasons, *reasons)))
        self._reasons.clear()
        provisional = False
        if catalog is None:
            if self._patient_until != float("inf"):
                self._lanes.acted(time.monotonic(), reloaded=False)
                return
            catalog, provisional = await self._stand_in()
        else:
            self._patient_until = float("inf")
        if catalog is None:
            report = CycleReport(
                outcome=Outcome.WAITING,
                why=why,
                notes=("no registry and no last good catalog: the configuration stays as it is",),
                error=self.source.error,
                finished=time.time(),
            )
        else:
            released, registry = frozenset(self._released), self._registry
            report = await self.cycle.turn(
                Turn(
                    catalog=catalog,
                    why=why,
                    adopt=self.options.adopt,
                    paused=self.paused,
                    provisional=provisional,
                    released=released,
                    registry=registry,
                    gate=self._gathered if self._lanes.slow.calm else None,
                    reload=self._lanes.may_reload(self._turn_began),
                    swift=self._lanes.swift,
                )
            )
            self._background.wake()
            if report.failed_stage is not Stage.GUARD:
                self._released -= released
                self._registry = False
        await self._after(report)

    async def _stand_in(self) -> tuple[Catalog | None, bool]:
        """Find a catalog to go on with while the registry is silent.

        The last good one; else, where HAProxy has no configuration at all, an empty one, so that it
        can start. One that runs has no need of that, and would lose what it serves.
        """
        if self._last_good is not None:
            return self._last_good, False
        there = await asyncio.to_thread(self._store.fingerprint, (self.options.main,))
        if there[0] is not None:
            return None, False
        with contextlib.suppress(ConfsyncError):  # the cycle will meet it again, and tell
            if (await self._target.observe()).running:
                return None, False
        return Catalog(), True

    async def _after(self, report: CycleReport) -> None:
        if report.outcome is Outcome.SUPERSEDED:
            # The next turn tells what happened once in this one: a hold that ended, an edit kept.
            self._reasons.extend(report.why.split("; "))
            self._carried = (*self._carried, *report.notes)
            self._telemetry.cycle(report, news=False)
            self._lanes.waits(time.monotonic())
            return
        report = replace(report, notes=tuple(dict.fromkeys((*self._carried, *report.notes))))
        self._carried = ()
        now = time.monotonic()
        before, self.report = self.report, report
        if report.waits:
            self._lanes.waits(now)
        else:
            self._lanes.acted(now, reloaded=report.tried)
        self._resync_at = now + RESYNC
        if report.outcome is Outcome.FAILED:
            self._failures += 1
            first, longest = self.options.retry
            pause = min(first * 2 ** min(self._failures - 1, 20), longest)
            self.retry_at = now + pause
            if report.failed_stage is Stage.APPLY:
                self._lanes.slow.not_before = self.retry_at
        elif not report.waits:  # else the reload that failed is still to come, at its time
            self._failures, self.retry_at = 0, None
            self._lanes.slow.not_before = float("-inf")
        # Where nothing was written, a file that changed during the turn is still news to the tick.
        if self._prints is None or report.outcome in _WROTE or report.failed_stage in _WRITING:
            files = self.options.destinations
            self._prints = await asyncio.to_thread(self._store.fingerprint, files)
        routine = report.why in _ROUTINE and telling.same(before, report)
        routine = routine or report.outcome is Outcome.PENDING
        self._telemetry.cycle(report, news=not routine)
        telling.news(self._telemetry, before, report)
        self._notifier.ready()
        self._notifier.status(f"{report.outcome}: {report.error or report.why}"[:200])


async def _run(task: Callable[[], Awaitable[None]]) -> None:
    await task()
