"""From a plan to a running HAProxy: stage, check, promote, reload, verify.

Whatever fails, the destinations hold the previous good set again and HAProxy keeps what it runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from confsync import faults
from confsync.core import planning
from confsync.domain.change import ReloadPlan, WritePlan
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Observed, Record
from confsync.domain.status import Outcome, Stage
from confsync.engine.draft import Draft
from confsync.errors import CheckRejected, ConfsyncError, TargetError, WriteError
from confsync.ports import ConfigStore, Staged, Stager, Target

Gate = Callable[[], Awaitable[bool]]


class Applier:
    """Carries out one plan."""

    def __init__(self, store: ConfigStore, scratch: Stager, target: Target, main: str) -> None:
        self._store = store
        self._scratch = scratch
        self._target = target
        self._main = main
        self.observed: Observed | None = None

    async def rehearse(
        self,
        config: RenderedConfig,
        plan: WritePlan | ReloadPlan,
        draft: Draft,
        *,
        has_live: bool = False,
    ) -> None:
        """Stage elsewhere and check; changes nothing. `has_live`: there is a main file on disk."""
        staged = await self._staged(self._scratch, config, plan, draft)
        await self.checked(self._scratch, staged, draft, has_live=has_live)
        await asyncio.to_thread(self._scratch.discard, staged)

    async def apply(
        self,
        config: RenderedConfig,
        plan: WritePlan | ReloadPlan,
        observed: Observed,
        record: Record | None,
        draft: Draft,
        *,
        has_live: bool,
        gate: Gate | None = None,
    ) -> Record | None:
        """Carry the plan out; returns the record of what runs now.

        `gate` is asked before anything is promoted; when it says no, nothing was done (None).

        A plan that writes nothing is promoted all the same: should its reload fail, `restore` then
        puts back what a crash may have left unconfirmed.
        """
        staged = await self._staged(self._store, config, plan, draft)
        # The disk is slow, and so is `haproxy -c`: they work side by side.
        preparing = asyncio.get_running_loop().run_in_executor(None, self._store.prepare, staged)
        await self.checked(self._store, staged, draft, has_live=has_live, beside=preparing)
        with draft.stage(Stage.WRITE):
            await self._prepared(staged, preparing)
            if isinstance(plan, ReloadPlan):
                await self._ready(staged, observed)
            if gate is not None and not await gate():
                await asyncio.to_thread(self._store.discard, staged)
                draft.outcome = Outcome.SUPERSEDED
                return None
            await asyncio.to_thread(self._store.promote, staged)
        digests = config.digests()
        if isinstance(plan, WritePlan):
            draft.outcome = Outcome.WRITTEN
            if not observed.running:
                return Record(promoted=digests)
            return replace(record or Record(), promoted=digests)
        draft.tried = True
        with draft.stage(Stage.APPLY):
            self.observed = await self._reload(observed)
        draft.outcome = Outcome.RELOADED
        with draft.stage(Stage.VERIFY):
            draft.note(*await self._verify(config))
        return Record(
            files=digests,
            text={f.destination: f.text for f in config.files},
            promoted=digests,
            worker_pid=self.observed.worker_pid,
            worker_started=self.observed.worker_started,
            place=self.observed.place,
            version=self.observed.version,
        )

    async def _staged(
        self, store: Stager, config: RenderedConfig, plan: WritePlan | ReloadPlan, draft: Draft
    ) -> Staged:
        with draft.stage(Stage.WRITE):
            staged = await asyncio.to_thread(store.stage, config, plan.destinations)
            faults.point("after-stage")
        return staged

    async def checked(
        self,
        store: Stager,
        staged: Staged,
        draft: Draft,
        *,
        has_live: bool,
        beside: asyncio.Future[None] | None = None,
    ) -> None:
        """Have the set checked as it would be; what is refused is discarded, after `beside`."""
        with draft.stage(Stage.CHECK):
            try:
                draft.note(*await self._target.check(self._main, staged))
            except CheckRejected as error:
                await _ended(beside)
                why = "\n".join(filter(None, (str(error), error.detail)))
                if kept := await asyncio.to_thread(store.discard, staged, why):
                    draft.note(kept)
                if has_live:
                    draft.note(*await self._live_fault())
                raise
            except BaseException:
                await _ended(beside)
                await asyncio.to_thread(store.discard, staged)
                raise
            faults.point("after-check")

    async def _prepared(self, staged: Staged, preparing: asyncio.Future[None]) -> None:
        """Take the outcome of the preparation; what could not be prepared is discarded."""
        try:
            await preparing
        except WriteError:
            await asyncio.to_thread(self._store.discard, staged)
            raise

    async def _ready(self, staged: Staged, observed: Observed) -> None:
        """Promote nothing that cannot be loaded."""
        try:
            await self._target.ready(observed)
        except TargetError:
            await asyncio.to_thread(self._store.discard, staged)
            raise

    async def _live_fault(self) -> tuple[str, ...]:
        """Check the live file too, so that an old fault is not blamed on the new change."""
        try:
            await self._target.check(self._main, None)
        except CheckRejected as error:
            return (f"the live file is refused as well, so the fault may be older: {error}",)
        except ConfsyncError:
            return ()
        return ("the live file still passes HAProxy's check",)

    async def _reload(self, observed: Observed) -> Observed:
        try:
            return await self._target.reload(observed)
        except TargetError as error:
            # The record stays: it is believed again if its worker still runs, and only then.
            try:
                await asyncio.to_thread(self._store.restore)
            except WriteError as worse:
                error.detail = "\n".join(
                    filter(None, (error.detail, f"the previous set is not back: {worse}"))
                )
            raise

    async def _verify(self, config: RenderedConfig) -> tuple[str, ...]:
        file = config.get(self._main)
        if file is None:
            return ()
        try:
            wrong = planning.disagreement(file.text, await self._target.servers())
        except TargetError as error:
            return (f"not verified: {error}",)
        return (f"after the reload, {wrong} (a server-state file?)",) if wrong else ()


async def _ended(beside: asyncio.Future[None] | None) -> None:
    """Wait for work in a thread whose outcome no longer matters."""
    if beside is not None:
        await asyncio.wait([beside])
        beside.exception()
