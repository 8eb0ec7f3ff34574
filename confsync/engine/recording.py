"""The record of what runs: what it says of a worker that was found, and when it is kept."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from confsync import faults
from confsync.domain.change import ReloadPlan, RuntimePlan, WritePlan
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Record
from confsync.engine.draft import Draft
from confsync.engine.keeping import keep
from confsync.engine.outlook import Outlook, View
from confsync.engine.stepping import Stepper
from confsync.ports import ConfigStore, StateStore


class Recorder:
    """Keeps the outlook's record in the state directory, and tells by it whose a file is."""

    def __init__(
        self, *, outlook: Outlook, stepper: Stepper, store: ConfigStore, state: StateStore
    ) -> None:
        self._outlook = outlook
        self._stepper = stepper
        self._store = store
        self._state = state
        self._saving = asyncio.Lock()
        # The first turn that finds all in step ends a journal that a crash may have left.
        self._unsettled = True

    def restore(self) -> None:
        """Know what the state directory has already."""
        self._stepper.kept = self._outlook.record
        if self._outlook.record is not None:
            self._stepper.settled = self._outlook.record.promoted

    def foreign(
        self, plan: WritePlan | ReloadPlan | RuntimePlan, disk: Mapping[str, str | None]
    ) -> list[str]:
        """Name what another hand has written where a plan writes."""
        promoted = self._outlook.record.promoted if self._outlook.record else {}
        return [
            name
            for name in plan.destinations
            if (there := disk.get(name)) is not None
            and name in promoted
            and digest(there) not in {promoted[name], self._stepper.settled.get(name)}
        ]

    def unknown(
        self, plan: WritePlan | ReloadPlan | RuntimePlan, disk: Mapping[str, str | None]
    ) -> list[str]:
        """Name what stands where a plan writes, and was never confsync's."""
        promoted = self._outlook.record.promoted if self._outlook.record else {}
        return [n for n in plan.destinations if disk.get(n) is not None and n not in promoted]

    def found(self, config: RenderedConfig, view: View) -> Record:
        """Give the record of a worker that was found with a set."""
        observed, digests = view.observed, config.digests()
        return Record(
            files=digests if observed.running else {},
            text=view.beside | {f.destination: f.text for f in config.files}
            if observed.running
            else {},
            promoted=digests,
            worker_pid=observed.worker_pid,
            worker_started=observed.worker_started,
            place=observed.place,
            version=observed.version,
            named=view.named,
        )

    def loaded(self, config: RenderedConfig, view: View) -> Record:
        """Give the record of what runs before a change: of a worker that has none, what it loaded.

        A plan that does not reload found the files on disk to be that.
        """
        record = self._outlook.record
        if record is not None and view.observed.same_worker(record):
            return record
        there = {name: text for name, text in view.disk.items() if text is not None}
        return replace(
            self.found(config, view),
            text=view.beside | there,
            files={name: digest(text) for name, text in there.items()},
            promoted=record.promoted if record else {},
        )

    async def remember(
        self, config: RenderedConfig, view: View, draft: Draft, *, swift: bool
    ) -> None:
        """Record a worker that was found in step, so that the next start need not look closer."""
        record, observed = self._outlook.record, view.observed
        if record is None or (observed.running and not observed.same_worker(record)):
            self._outlook.record = self.found(config, view)
        elif record.promoted != config.digests():
            kept = record if observed.running else Record()
            self._outlook.record = replace(kept, promoted=config.digests())
        if swift and self._stepper.unproven is not None:
            return  # kept and checked later
        if self._unsettled or self._stepper.kept != self._outlook.record:
            await self.confirm(draft)

    async def save(self, draft: Draft) -> bool:
        """Keep the record."""
        async with self._saving:
            record, rounds = self._outlook.record, self._stepper.rounds
            if record is None or record is self._stepper.kept:
                return record is not None
            faults.point("before-record")
            if not await keep(draft, self._state.save_record, record):
                return False
            faults.point("after-record")
            self._stepper.kept = record
            if not self._outlook.must:
                self._outlook.unsure = False
                await self._stepper.sent(rounds)
            return True

    async def confirm(self, draft: Draft) -> None:
        """Save the record, then end the journal: a crash between the two is a reload too many."""
        self._unsettled = True
        record = self._outlook.record
        if self._stepper.kept is record:
            self._stepper.kept = None
        if record is not None and await self.save(draft):
            await asyncio.to_thread(self._store.settle)
            self._unsettled = False
            self._stepper.settled = record.promoted
