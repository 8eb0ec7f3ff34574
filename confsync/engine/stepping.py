"""A runtime plan carried out: file first, then the steps, each confirmed.

What is not confirmed is a doubt, and only a reload ends it. The new text is checked before where its
structure is new, and afterwards where it is not (engine/shapes.py, engine/upkeep.py).
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from confsync import faults
from confsync.core import planning
from confsync.domain.change import AddServer, RuntimePlan, Step
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Applied, Leftover, Observed, Record
from confsync.domain.status import Outcome, Stage
from confsync.engine.applying import Applier
from confsync.engine.draft import Draft
from confsync.engine.hands import Hands
from confsync.engine.offloop import touch
from confsync.engine.outlook import SENDING, View
from confsync.engine.shapes import Shapes
from confsync.errors import StateError
from confsync.ports import ConfigStore, Runtime, StateStore


@dataclass(slots=True)
class Counts:
    """What was done since the start."""

    steps: int = 0
    repaired: int = 0
    collected: int = 0
    doubts: int = 0


class Stepper:
    """Carries out runtime plans. `added_at`: of the last added server since the load (monotonic)."""

    def __init__(
        self, *, main: str, store: ConfigStore, state: StateStore, runtime: Runtime | None
    ) -> None:
        self._main = main
        self._store = store
        self._state = state
        self._runtime = runtime
        self.shapes = Shapes()
        self.hands = Hands()
        self.counts = Counts()
        self.added_at: float | None = None
        self._seeded = False
        self.sending = False
        """The state says that steps are being sent."""
        self.rounds = 0
        """How often steps were sent that the state must tell of."""
        self.unproven: RenderedConfig | None = None
        """Live, and not checked as it is."""
        self.proven: RenderedConfig | None = None
        """The last that was checked as it is, or loaded."""
        self.kept: Record | None = None
        """The record that the state has."""
        self.settled: Mapping[str, str] = {}
        """Destination -> digest of what confsync had there when a journal ended: a restore puts it
        back."""

    def seed(self, config: RenderedConfig, view: View, record: Record | None) -> None:
        """Take what HAProxy loaded as passed, once: what is refused later is not trusted again."""
        if self._seeded:
            return
        self._seeded = True
        if record is None or not view.observed.same_worker(record) or record.steps:
            return
        files = tuple(replace(f, text=record.text.get(f.destination, "")) for f in config.files)
        if all(f.text or f.destination != self._main for f in files):
            self.passed(replace(config, files=files), view.configs(self._main))

    def passed(self, config: RenderedConfig, configs: Collection[str]) -> None:
        """Remember a set that HAProxy's check has passed."""
        self.shapes.passed(config, configs)
        self.proven = config

    async def step(
        self,
        config: RenderedConfig,
        plan: RuntimePlan,
        view: View,
        record: Record,
        applier: Applier,
        draft: Draft,
        *,
        now: float,
    ) -> tuple[Record, str]:
        """Write, then do the steps; returns the record of what runs, and a doubt ("" without).

        In doubt the record is the one before, which then only a reload makes true. Raises what a
        check or the disk has against the files; then nothing was sent.
        """
        assert self._runtime is not None
        # A weight that an operator holds stays; the record says the file's.
        steps = self.hands.kept_by(plan.steps)
        with self._runtime.ahead(view.observed) if steps else nullcontext():
            if plan.then is None:
                await self._write(config, plan, view, applier, draft)
            else:
                await self._tell_state(sending=True)
            with draft.stage(Stage.APPLY):
                faults.point("before-steps")
                applied = await self._send(steps, view.observed)
                faults.point("after-steps")
        self.counts.steps += len(applied.done)
        if applied.doubt:
            self.counts.doubts += 1
            return replace(record, promoted=self._promoted(plan, config, record)), applied.doubt
        self.hands.outdated(steps)
        if any(isinstance(s, AddServer) for s in steps):
            self.added_at = time.monotonic()
        draft.outcome = Outcome.APPLIED
        done = planning.done(record, plan, config, main=self._main, now=now, around=view.around)
        return done, ""

    @staticmethod
    def _promoted(plan: RuntimePlan, config: RenderedConfig, record: Record) -> dict[str, str]:
        return config.digests() if plan.then is None else record.promoted

    async def _send(self, steps: tuple[Step, ...], observed: Observed) -> Applied:
        assert self._runtime is not None
        if not steps:
            return Applied()
        applied = await self._runtime.apply(steps, observed)
        if applied.doubt or len(applied.done) == len(steps):
            return applied
        return replace(applied, doubt="not all steps were confirmed")

    async def _write(
        self,
        config: RenderedConfig,
        plan: RuntimePlan,
        view: View,
        applier: Applier,
        draft: Draft,
    ) -> None:
        """Put the files in place before anything is sent; check first what no check has seen."""
        configs = view.configs(self._main)
        known = self.shapes.knows(config, configs)
        if known and not plan.destinations:
            self.unproven = config
            return
        size = sum(len(f.text) for f in config.files if f.destination in plan.destinations)
        with draft.stage(Stage.WRITE):
            staged = await touch(
                self._store, size, lambda: self._store.stage(config, plan.destinations)
            )
            faults.point("after-stage")
        if not known:
            await applier.checked(
                self._store, staged, draft, has_live=view.disk.get(self._main) is not None
            )
            self.passed(config, configs)
        with draft.stage(Stage.WRITE):
            await touch(self._store, size, lambda: self._store.promote(staged, quick=True))
        self.unproven = config

    async def _tell_state(self, *, sending: bool) -> None:
        """Say in the state that steps are sent which no journal tells of."""
        self.rounds += sending
        if self.sending != sending:
            try:
                await asyncio.to_thread(self._state.save, SENDING, sending)
            except StateError:
                return  # said where the record is kept
            self.sending = sending

    async def sent(self, rounds: int) -> None:
        """Say in the state that the record tells of all that was sent, if it knows of all `rounds`."""
        if rounds == self.rounds:
            await self._tell_state(sending=False)


def without(record: Record, gone: tuple[Leftover, ...]) -> Record:
    """Give the record once leftovers are deleted."""
    for one in gone:
        record = planning.deleted(record, one.backend, one.server)
    return record
