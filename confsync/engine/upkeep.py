"""What a change at runtime leaves for later, off its way: to be kept, checked, collected, audited.

Nothing here is asked for by a turn. Who calls holds the agent's turn for all that touches HAProxy or
the files (`chores`, and the parts of `prove` that change something), and not for what only looks.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from confsync.core import planning, runtime
from confsync.domain.change import Admin, NoChange, RetireServer, RuntimePlan
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Leftover, Record
from confsync.engine.auditing import Auditor, News, Options
from confsync.engine.outlook import Outlook, View
from confsync.engine.stepping import Stepper, without
from confsync.errors import CheckRejected, CheckUnavailable, TargetError, WriteError
from confsync.ports import ConfigStore, Runtime, Stager, StateStore, Target

LONGEST = 16.0
"""Seconds, at most, between two tries to delete the same retired servers, which are still in use."""


class Upkeep:
    """The slow work behind runtime plans."""

    def __init__(
        self,
        *,
        options: Options,
        main: str,
        outlook: Outlook,
        stepper: Stepper,
        store: ConfigStore,
        scratch: Stager,
        state: StateStore,
        target: Target,
        port: Runtime,
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._main = main
        self._outlook = outlook
        self._stepper = stepper
        self._store = store
        self._scratch = scratch
        self._target = target
        self._port = port
        self._clock = clock
        self.auditor = Auditor(
            options=options, main=main, outlook=outlook, stepper=stepper, state=state, port=port
        )
        self._told = ""
        self._passed = False
        """A set has passed whose journal stands."""
        self._in_use: tuple[Leftover, ...] = ()
        self._collect_at = self._collect_pause = 0.0
        self._draining: dict[tuple[str, str], float] = {}
        """Since when servers drain that only a reload removes (unix seconds)."""

    def restore(self) -> None:
        """Take up what the state directory kept. Blocking."""
        self.auditor.restore()

    # After a change

    async def prove(self) -> tuple[RenderedConfig | None, CheckRejected | None]:
        """Have HAProxy check the live files after a change that went ahead; changes nothing.

        Returns what was live when it began, and HAProxy's refusal. Raises CheckUnavailable, also where
        the set before is refused as well by now: a name that is not resolved, a certificate that is
        gone. That is no reason to give traffic back to servers that are gone.
        """
        unproven = self._stepper.unproven
        if unproven is None:
            return None, None
        try:
            await self._target.check(self._main, None)
        except CheckRejected as error:
            if await self._refuses_what_it_passed():
                raise CheckUnavailable(
                    f"HAProxy refuses what it passed before as well: {error}",
                    remedy="look for what changed beside the configuration: a host name, a certificate",
                    detail=error.detail,
                ) from error
            return unproven, error
        return unproven, None

    async def _refuses_what_it_passed(self) -> bool:
        passed = self._stepper.proven
        if passed is None:
            return False
        everything = tuple(f.destination for f in passed.files)
        staged = await asyncio.to_thread(self._scratch.stage, passed, everything)
        try:
            await self._target.check(self._main, staged)
        except CheckRejected:
            return True
        finally:
            await asyncio.to_thread(self._scratch.discard, staged)
        return False

    async def proven(self, config: RenderedConfig) -> bool:
        """Let a set pass, and end its journal; False when it is no longer the live one."""
        if self._stepper.unproven is not config:
            return False
        view = self._outlook.view
        if view is not None:
            self._stepper.passed(config, view.configs(self._main))
        self._stepper.unproven = None
        self._passed = True
        await self._settle()
        return True

    async def _settle(self) -> None:
        """End the journal of what passed, once the record tells of it.

        Before, only the journal has the next start ask what was sent: it would believe an older record.
        """
        record = self._outlook.record
        if not self._passed or self._stepper.unproven is not None or self._outlook.must:
            return
        if record is not None and record is self._stepper.kept:
            await asyncio.to_thread(self._store.settle)
            self._passed = False
            self._stepper.settled = record.promoted

    async def undo(self, error: CheckRejected) -> News:
        """Take back what HAProxy's check refuses though it runs: the file, then the steps.

        Raises CheckUnavailable where the check was of what another hand has written since.
        """
        if not self._outlook.must and await self._edited():
            raise CheckUnavailable(
                f"another hand changed a file before it was checked: {error}",
                remedy="the next turn looks at the change",
                detail=error.detail,
            ) from error
        self._stepper.unproven = None
        self._stepper.shapes.forget()
        said = "\n".join(filter(None, (str(error), error.detail)))
        alarm = f"HAProxy refuses a file that was changed at runtime (a bug of confsync): {said}"
        try:
            back = await asyncio.to_thread(self._store.restore)
        except WriteError as worse:
            self._outlook.must = "a refused file could not be taken back"
            return News(alarms=(f"{alarm}\nthe previous files are not back: {worse}",))
        record, view = self._outlook.record, self._outlook.view
        wanted = ("what HAProxy refused was taken back",)
        if record is None or view is None or self._outlook.ours is None:
            self._outlook.must = "a refused file was taken back"
            return News(wanted=wanted, alarms=(alarm,))
        steps, config = await self._way_back(record, view, back)
        if steps is None or (
            steps.steps and (await self._port.apply(steps.steps, self._outlook.seen())).doubt
        ):
            self._outlook.must = "a refused file was taken back"
        else:
            self._outlook.record = planning.done(
                record, steps, config, main=self._main, now=self._clock(), around=view.around
            )
        return News(wanted=wanted, alarms=(alarm,))

    async def _edited(self) -> bool:
        """Tell whether the live files are no longer those that were to be checked."""
        files = self._stepper.unproven.files if self._stepper.unproven else ()
        disk = await asyncio.to_thread(self._store.read, tuple(f.destination for f in files))
        return any(disk[f.destination] != f.text for f in files)

    async def _way_back(
        self, record: Record, view: View, back: tuple[str, ...]
    ) -> tuple[RuntimePlan | None, RenderedConfig]:
        """Plan from what runs to the files that are live again (None: only a reload can)."""
        made = self._outlook.config or RenderedConfig()
        names = tuple(dict.fromkeys((*(f.destination for f in made.files), *back)))
        disk = await asyncio.to_thread(self._store.read, names)
        files = tuple(
            replace(f, text=text)
            for f in made.files
            if (text := disk.get(f.destination)) is not None
        )
        config = replace(made, files=files)
        plan = planning.plan(
            config,
            disk,
            planning.Loaded(
                files=record.files,
                texts=record.text,
                steps=record.steps,
                leftovers=record.leftovers,
                named=record.named,
            ),
            main=self._main,
            capabilities=view.capabilities,
            around=view.around,
            most_leftovers=self._options.leftovers + len(record.leftovers),
        )
        if isinstance(plan, NoChange):
            plan = RuntimePlan(destinations=(), steps=(), reasons=())
        usable = isinstance(plan, RuntimePlan) and plan.then is None
        return (plan if usable and isinstance(plan, RuntimePlan) else None), config

    # From time to time

    async def chores(self, *, paused: bool) -> News:
        """Do what is due. While paused only drain deadlines run."""
        news = News()
        try:
            await self._settle()
            if self._outlook.ours is not None:
                news += await self._deadlines()
                if not paused:
                    news += await self.auditor.after_a_load()
                    news += await self._collect()
                    news += await self.auditor.audited()
                    news += self._due_reload()
        except (TargetError, WriteError) as error:
            told, self._told = self._told, str(error)
            return news if told == self._told else news + News(notes=(f"upkeep: {error}",))
        self._told = ""
        return news

    async def _deadlines(self) -> News:
        """End the drain of servers whose time is over: from now on they get no request at all."""
        record = self._outlook.ours
        assert record is not None
        now = self._clock()
        late = [
            one
            for one in record.leftovers
            # Either way: a clock that was set back must not lengthen it by what it lost.
            if one.state is Admin.DRAIN and abs(now - one.since) >= self._options.drain
        ]
        waiting = self._overdue(record, now)
        if not late and not waiting:
            return News()
        steps = tuple(
            RetireServer(backend=o.backend, server=o.server, cause=o.cause, delete=o.delete)
            for o in late  # one that somebody deleted meanwhile is out as well
        )
        steps += waiting
        applied = await self._port.apply(steps, self._outlook.seen())
        if applied.doubt:
            return News(notes=(f"the end of a drain is tried again: {applied.doubt}",))
        ended = {(one.backend, one.server) for one in late}
        self._outlook.record = replace(
            record,
            leftovers=tuple(
                replace(one, state=Admin.MAINT) if (one.backend, one.server) in ended else one
                for one in record.leftovers
            ),
            steps=(*record.steps, *waiting),
        )
        return News(
            notes=tuple(f"{s.backend}/{s.server}: its time to drain is over" for s in steps)
        )

    def _overdue(self, record: Record, now: float) -> tuple[RetireServer, ...]:
        """End the drain of servers that wait for a reload: HAProxy may refuse it for days."""
        found = {(one.backend, one.server): one for one in runtime.draining(record.steps)}
        self._draining = {place: self._draining.get(place, now) for place in found}
        return tuple(
            replace(one, state=Admin.MAINT)
            for place, one in found.items()
            if abs(now - self._draining[place]) >= self._options.drain
        )

    async def _collect(self) -> News:
        record = self._outlook.ours
        assert record is not None
        ready = tuple(o for o in record.leftovers if o.delete and o.state is Admin.MAINT)
        if not ready or (ready == self._in_use and time.monotonic() < self._collect_at):
            return News()
        gone = await self._port.collect(ready, self._outlook.seen())
        if gone:
            self._stepper.counts.collected += len(gone)
            self._outlook.record = without(record, gone)
        # One that a long connection uses is not asked about each second: a change would wait for it.
        futile = ready == self._in_use and not gone
        self._collect_pause = min(max(2 * self._collect_pause, 1.0), LONGEST) if futile else 0.0
        self._collect_at = time.monotonic() + self._collect_pause
        self._in_use = tuple(one for one in ready if one not in gone)
        return News()

    def _due_reload(self) -> News:
        """Ask for a turn where leftovers are too many, or servers of the file are better ones."""
        record, view = self._outlook.ours, self._outlook.view
        if record is None:
            return News()  # a reload is asked for already
        kept = sum(not one.delete for one in record.leftovers)
        if kept > self._options.leftovers:
            return News(wanted=("too many retired servers",))
        worse = view is not None and view.capabilities is not None and not view.capabilities.deletes
        added_at = self._stepper.added_at
        if not self._options.settle or not worse or added_at is None:
            return News()
        if time.monotonic() < added_at + self._options.settle or self._outlook.wish:
            return News()
        self._outlook.wish = (
            f"servers that were added at runtime {self._options.settle:g} s ago settle "
            "(on this build those of the file are better)"
        )
        return News(wanted=("runtime.settle",))
