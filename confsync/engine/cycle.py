"""One turn of confsync, from a catalog to a running HAProxy. `run` and `once` share it.

    guard -> model -> render -> plan -> check -> write -> apply -> verify -> report

Left of "check" are values; from there on, each step either completes or puts back what it found.
A foreseen error ends the turn and stands in its report; it never ends the agent.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from confsync.core.placement import Placement
from confsync.domain.catalog import Catalog
from confsync.domain.change import NoChange, ReloadPlan, RuntimePlan, WritePlan
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Observed
from confsync.domain.status import CycleReport, Outcome, Stage
from confsync.engine import guarding
from confsync.engine.applying import Applier, Gate
from confsync.engine.auditing import Options as UpkeepOptions
from confsync.engine.draft import Draft, unified
from confsync.engine.modelling import Modeller
from confsync.engine.outlook import Outlook, View
from confsync.engine.recording import Recorder
from confsync.engine.stepping import Stepper
from confsync.engine.upkeep import Upkeep
from confsync.errors import CheckRejected, ConfsyncError, NotOurs
from confsync.ports import (
    ConfigStore,
    Discoverer,
    Renders,
    Runtime,
    Stager,
    StateStore,
    Surveyor,
    Target,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a cycle needs to know. `main`: HAProxy's main file. `placement`: for messages."""

    main: str
    guard: guarding.Options = field(default_factory=guarding.Options)
    upkeep: UpkeepOptions = field(default_factory=UpkeepOptions)
    placement: Placement = field(default_factory=Placement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn's input.

    `apply` False: nothing is changed, on disk or in the state. `provisional`: the catalog stands in
    for one that never came, and is not remembered. `released`, `registry`: an operator's releases.
    `gate` is asked before a reload's files are promoted; when it says no, the turn is superseded.
    `reload` False: a reload has not its turn yet; what can be done at runtime is done. `swift`: what
    no change waits for is put off, and `finish` does it.
    """

    catalog: Catalog
    why: str
    apply: bool = True
    adopt: bool = False
    paused: bool = False
    provisional: bool = False
    released: frozenset[str] = frozenset()
    registry: bool = False
    gate: Gate | None = None
    reload: bool = True
    swift: bool = False


class Cycle:
    """Holds what one turn leaves for the next: the guard and the record of what runs."""

    def __init__(
        self,
        *,
        options: Options,
        discoverer: Discoverer,
        store: ConfigStore,
        scratch: Stager,
        state: StateStore,
        target: Target,
        renderer: Renders,
        is_local: Callable[[str], bool],
        runtime: Runtime | None = None,
        surveyor: Surveyor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`scratch`: a store that stages elsewhere, for turns that change nothing.

        `runtime` or `surveyor` None: every change is a reload.
        """
        self._options = options
        self.guard = guarding.Guard(
            options=options.guard, discoverer=discoverer, state=state, target=target, clock=clock
        )
        self._store = store
        self._scratch = scratch
        self._target = target
        self._clock = clock
        self._modeller = Modeller(
            main=options.main,
            statuses=options.guard.served,
            renderer=renderer,
            state=state,
            is_local=is_local,
        )
        self.outlook = Outlook(
            main=options.main,
            store=store,
            state=state,
            target=target,
            runtime=runtime,
            surveyor=surveyor,
            leftovers=options.upkeep.leftovers,
        )
        self.stepper = Stepper(main=options.main, store=store, state=state, runtime=runtime)
        self.upkeep: Upkeep | None = None
        if runtime is not None:
            self.upkeep = Upkeep(
                options=options.upkeep,
                main=options.main,
                outlook=self.outlook,
                stepper=self.stepper,
                store=store,
                scratch=scratch,
                state=state,
                target=target,
                port=runtime,
                clock=clock,
            )
        self._recorder = Recorder(
            outlook=self.outlook, stepper=self.stepper, store=store, state=state
        )

    @property
    def observed(self) -> Observed | None:
        """What was seen of HAProxy last."""
        return self.outlook.observed

    @observed.setter
    def observed(self, observed: Observed | None) -> None:
        self.outlook.observed = observed

    def restore(self) -> Catalog | None:
        """Take up what the state directory kept; returns the last good catalog. Blocking."""
        self.outlook.restore()
        self._recorder.restore()
        self._modeller.restore()
        if self.upkeep:
            self.stepper.sending = self.outlook.unsure
            self.upkeep.restore()
        return self.guard.restore()

    async def turn(self, turn: Turn) -> CycleReport:
        """Run the stages. Foreseen errors stand in the report; others are bugs and pass through."""
        draft = Draft(turn.why, self._options.placement)
        if turn.paused:
            draft.note("paused: nothing is written or applied (confsync resume)")
        try:
            await self._stages(turn, draft)
        except ConfsyncError as error:
            draft.failed(error)
        if not turn.swift:
            await self.guard.keep(draft)
        return draft.report(self._clock())

    async def finish(self) -> tuple[str, ...]:
        """Keep what swift turns have put off; returns what could not be kept, in words."""
        draft = Draft("finish", self._options.placement)
        await self._recorder.save(draft)
        await self.guard.keep(draft)
        return draft.report(self._clock()).notes

    async def check(self, catalog: Catalog | None, *, haproxy: bool) -> CycleReport:
        """Render a catalog and have HAProxy check it (None: the main file as it is); change nothing."""
        draft = Draft("check", self._options.placement)
        try:
            if catalog is None:
                with draft.stage(Stage.CHECK):
                    draft.note(*await self._target.check(self._options.main, None))
            else:
                _, config = await self._modeller.rendered(catalog, draft, remember=False)
                everything = tuple(f.destination for f in config.files)
                plan = WritePlan(destinations=everything, reasons=())
                if haproxy:
                    await self._applier().rehearse(config, plan, draft)
        except ConfsyncError as error:
            draft.failed(error)
        return draft.report(self._clock())

    def _applier(self) -> Applier:
        return Applier(self._store, self._scratch, self._target, self._options.main)

    async def _stages(self, turn: Turn, draft: Draft) -> None:
        with draft.stage(Stage.GUARD):
            catalog = await self.guard.passed(
                turn.catalog,
                draft,
                released=turn.released,
                registry=turn.registry,
                remember=turn.apply and not turn.provisional,
            )
        balancer, config = await self._modeller.rendered(catalog, draft, remember=turn.apply)
        with draft.stage(Stage.PLAN):
            view = await self.outlook.plan(config, balancer, draft, swift=turn.swift)
        plan = view.plan
        if isinstance(plan, NoChange):
            draft.note(*plan.reasons)
            if turn.apply and not turn.paused:
                await self._recorder.remember(config, view, draft, swift=turn.swift)
            return
        draft.planned(plan)
        if turn.apply and not turn.paused:
            await self._carry_out(turn, config, view, draft)
            return
        whole = _as_written(plan)
        foreign = self._recorder.foreign(whole, view.disk)
        if foreign:
            draft.note(f"edited by another hand: {', '.join(foreign)}")
        if not turn.apply or foreign:
            draft.diff = unified(config, view.disk)
        draft.outcome = Outcome.PAUSED if turn.apply else Outcome.WOULD_CHANGE
        if not turn.apply:
            has_live = view.disk.get(self._options.main) is not None
            await self._applier().rehearse(config, whole, draft, has_live=has_live)
        _refuse(self._recorder.unknown(whole, view.disk), adopt=turn.adopt)

    async def _carry_out(
        self, turn: Turn, config: RenderedConfig, view: View, draft: Draft
    ) -> None:
        plan, observed = view.plan, view.observed
        assert not isinstance(plan, NoChange)
        if isinstance(plan, RuntimePlan):
            doubt = await self._step(turn, config, view, plan, draft)
            if not doubt and plan.then is None:
                return
            if doubt:
                draft.note(f"a change at runtime is not certain: {doubt}")
                self.outlook.doubt(doubt)
                draft.reload = (doubt, *draft.reload)
                self.outlook.observed = observed = await self._target.observe()
                if observed.loading or not observed.running:
                    turn = replace(turn, reload=False)
            stale = plan.then.destinations if plan.then else ()
            plan = ReloadPlan(destinations=stale, reasons=draft.reload)
        if isinstance(plan, ReloadPlan) and not turn.reload:
            draft.waits = True
            if draft.outcome is Outcome.IN_STEP:
                draft.outcome = Outcome.PENDING
            return
        await self._make_way(config, plan, view, draft, adopt=turn.adopt)
        await self._load(turn, config, plan, replace(view, observed=observed), draft)

    async def _step(
        self, turn: Turn, config: RenderedConfig, view: View, plan: RuntimePlan, draft: Draft
    ) -> str:
        """Do what can be done at runtime; returns a doubt, which only a reload ends."""
        record = self._recorder.loaded(config, view)
        await self._make_way(config, plan, view, draft, adopt=turn.adopt)
        self.stepper.seed(config, view, record)
        self.outlook.record, doubt = await self.stepper.step(
            config, plan, view, record, self._applier(), draft, now=self._clock()
        )
        if not doubt and not turn.swift:
            await self._recorder.confirm(draft)
            await self._proven(draft)
        return doubt

    async def _load(
        self,
        turn: Turn,
        config: RenderedConfig,
        plan: WritePlan | ReloadPlan,
        view: View,
        draft: Draft,
    ) -> None:
        """Check and write; have HAProxy load it where that is planned."""
        if self.upkeep and isinstance(plan, ReloadPlan):
            await self.upkeep.auditor.before_a_load()
        if self.stepper.unproven is not None and not self.outlook.must:
            # What runs is what a failed reload must go back to.
            await self._recorder.confirm(draft)
        applier = self._applier()
        has_live = view.disk.get(self._options.main) is not None
        record = self.outlook.record
        if isinstance(plan, WritePlan) and view.observed.running:
            record = self._recorder.loaded(config, view)
        try:
            record = await applier.apply(
                config,
                plan,
                view.observed,
                record,
                draft,
                has_live=has_live,
                gate=turn.gate,
            )
        except CheckRejected as error:
            if self.upkeep and self.outlook.must and self.stepper.unproven is not None:
                draft.note(*(await self.upkeep.undo(error)).alarms)
            raise
        if record is None:
            return
        if applier.observed is not None:
            record = replace(record, named=view.named, text=view.beside | record.text)
            self.outlook.observed = applier.observed
            self.outlook.must = self.outlook.wish = ""
            self.stepper.added_at = None
        self.outlook.record = record
        self.stepper.unproven = None
        self.stepper.passed(config, view.configs(self._options.main))
        if self.upkeep and applier.observed is not None:
            draft.note(*await self.upkeep.auditor.loaded())
        await self._recorder.confirm(draft)

    async def _proven(self, draft: Draft) -> None:
        """Check what is live after steps, where nobody will do it later."""
        assert self.upkeep
        with draft.stage(Stage.CHECK):
            config, refused = await self.upkeep.prove()
        if refused is not None:
            draft.note(*(await self.upkeep.undo(refused)).alarms)
            raise refused
        if config is not None:
            await self.upkeep.proven(config)

    async def _make_way(
        self,
        config: RenderedConfig,
        plan: WritePlan | ReloadPlan | RuntimePlan,
        view: View,
        draft: Draft,
        *,
        adopt: bool,
    ) -> None:
        """Keep what others wrote, before it is replaced; refuse what nobody gave us."""
        foreign = self._recorder.foreign(plan, view.disk)
        if foreign:
            draft.note(f"edited by another hand: {', '.join(foreign)}")
            draft.diff = unified(config, view.disk)
        unknown = self._recorder.unknown(plan, view.disk)
        _refuse(unknown, adopt=adopt)
        for name in foreign:
            kept = await asyncio.to_thread(self._store.keep_foreign, name, view.disk[name] or "")
            draft.note(f"the edit of {name} by another hand is kept as {kept}")
        for name in unknown:
            kept = await asyncio.to_thread(self._store.keep_original, name, view.disk[name] or "")
            draft.note(f"{name} is adopted; what stood there is kept as {kept}")


def _as_written(plan: WritePlan | ReloadPlan | RuntimePlan) -> WritePlan | ReloadPlan:
    """Name all that a plan writes in the end."""
    if not isinstance(plan, RuntimePlan):
        return plan
    return plan.then or WritePlan(destinations=plan.destinations, reasons=plan.reasons)


def _refuse(unknown: list[str], *, adopt: bool) -> None:
    if unknown and not adopt:
        raise NotOurs(
            f"{', '.join(unknown)}: exists and was not written by confsync",
            remedy="look at `confsync once`, then `confsync once --apply --adopt` takes it over and "
            "keeps the old file in the state directory",
        )
