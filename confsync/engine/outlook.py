"""What HAProxy runs, and what follows from it for a set that should be.

It holds the record, what was observed last, and what the record cannot tell: a change at runtime that
was doubtful, or cut short by a crash.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from confsync.core import planning
from confsync.core.planning import Surroundings
from confsync.domain.change import NoChange, Plan, ReloadPlan, RuntimePlan, WritePlan
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Capabilities, Observed, Record, ServerState
from confsync.engine.draft import Draft
from confsync.engine.offloop import Work, touch
from confsync.errors import TargetError
from confsync.ports import ConfigStore, Runtime, StateStore, Surveyor, Target

LOADING = 5.0
"""Seconds that a turn waits for a reload that is under way."""
RECENT = 2.5
"""Seconds for which an observed HAProxy is believed to be there: applying meets another one."""
SENDING = "sending"
"""The small value in the state that says: steps may have been sent that no record tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a plan was made of."""

    plan: Plan
    observed: Observed
    disk: Mapping[str, str | None] = field(default_factory=dict)
    around: Surroundings | None = None
    capabilities: Capabilities | None = None

    def configs(self, main: str) -> tuple[str, ...]:
        """Name all files that HAProxy loads as configurations."""
        return (self.around.configs if self.around else ()) or (main,)

    @property
    def beside(self) -> dict[str, str]:
        """Path -> text of the configurations that HAProxy loads and nobody renders."""
        return dict(self.around.texts) if self.around else {}

    @property
    def named(self) -> dict[str, str]:
        """Path -> digest of the other files that the configuration names."""
        return dict(self.around.named) if self.around else {}


class Outlook:
    """Looks, and plans. `must`: why nothing but a reload will do ("" when it may)."""

    def __init__(
        self,
        *,
        main: str,
        store: ConfigStore,
        state: StateStore,
        target: Target,
        runtime: Runtime | None,
        surveyor: Surveyor | None,
        leftovers: int,
    ) -> None:
        self._main = main
        self._store = store
        self._state = state
        self._target = target
        self._runtime = runtime
        self._surveyor = surveyor
        self._leftovers = leftovers
        self._comparing = Work()
        self._observed: Observed | None = None
        self._seen_at = float("-inf")
        self.record: Record | None = None
        self.must = ""
        self._doubt: tuple[str, Observed | None] = ("", None)
        """The last doubt, and the worker that it is about."""
        self.wish = ""
        """Why a reload would be good, once it may be."""
        self.config: RenderedConfig | None = None
        """What should be, as it was planned for last."""
        self.unsure = False
        """A crash left open which steps were sent after the record was kept."""
        self.view: View | None = None
        """Of the last plan."""
        self.began: Callable[[Observed], float] = lambda observed: observed.worker_started
        """When what runs began to read its files (unix seconds), or a time before that."""

    def restore(self) -> None:
        """Take up what the state directory kept. Blocking."""
        self.record = self._state.load_record()
        self.unsure = bool(self._state.load(SENDING))

    @property
    def observed(self) -> Observed | None:
        """What was seen last."""
        return self._observed

    @observed.setter
    def observed(self, observed: Observed | None) -> None:
        self._observed, self._seen_at = observed, time.monotonic()

    @property
    def ours(self) -> Record | None:
        """The record, as long as it tells all of the worker that was seen last.

        What a crash left half done is no other hand's, nor ours to mend but by the turn's plan.
        """
        record, seen = self.record, self._observed
        if self.must or self.unsure or record is None:
            return None
        if seen is None or not seen.running or seen.loading:
            return None
        return record if seen.same_worker(record) else None

    def doubt(self, why: str) -> None:
        """Say why nothing but a reload will do, as long as the worker lives that was seen last."""
        self.must, self._doubt = why, (why, self._observed)

    def seen(self) -> Observed:
        """Give what was seen last, where something was."""
        assert self._observed is not None
        return self._observed

    async def plan(
        self, config: RenderedConfig, balancer: LoadBalancer, draft: Draft, *, swift: bool
    ) -> View:
        """Compare a set with what runs. `swift`: what was seen a moment ago will do for steps."""
        self.config = config
        known = self._observed
        if (
            swift
            and known is not None
            and self.record is not None
            and not self.must
            and not self.unsure
            and known.running
            and not known.loading
            and known.same_worker(self.record)
            and time.monotonic() - self._seen_at <= RECENT
        ):
            view = await self._planned(config, balancer, known, draft)
            if isinstance(view.plan, NoChange | RuntimePlan):
                draft.note(*known.notes)
                self.view = view
                return view
        observed = await self._observe()
        self.observed = observed
        self._end_doubt(observed)
        draft.note(*observed.notes)
        self.view = await self._planned(config, balancer, observed, draft)
        return self.view

    def _end_doubt(self, observed: Observed) -> None:
        """End a doubt with its worker: what runs now has loaded files, whoever had it do so.

        Another reason for a reload stays: files may have changed since they were read.
        """
        why, worker = self._doubt
        if worker is None or not observed.worker_pid or observed.same_worker(worker):
            return
        self._doubt = ("", None)
        if self.must == why:
            self.must = ""

    async def _planned(
        self, config: RenderedConfig, balancer: LoadBalancer, observed: Observed, draft: Draft
    ) -> View:
        destinations = tuple(f.destination for f in config.files)
        wanted = tuple(dict.fromkeys((*destinations, self._main)))
        size = sum(len(f.text) for f in config.files)
        disk = await touch(self._store, size, lambda: self._store.read(wanted))
        known = self.record is not None and observed.same_worker(self.record)
        capabilities, around = await self._told(config, observed, draft)
        loaded = planning.loaded(
            self.record,
            observed,
            disk,
            older=known or await self._older(wanted, observed, around),
            servers=() if known or not observed.running else await self._servers(),
            main=self._main,
        )
        plan = await self._comparing(
            draft.fresh if known else draft.servers,
            lambda: planning.plan(
                config,
                disk,
                loaded,
                main=self._main,
                balancer=balancer,
                capabilities=capabilities,
                around=around,
                most_leftovers=self._leftovers,
            ),
        )
        return View(
            plan=self._certain(plan, known=known) if observed.running else plan,
            observed=observed,
            disk=disk,
            around=around,
            capabilities=capabilities,
        )

    async def _told(
        self, config: RenderedConfig, observed: Observed, draft: Draft
    ) -> tuple[Capabilities | None, Surroundings | None]:
        """Ask what HAProxy can be told; without knowing all that it loads, it is told nothing."""
        if (
            self._runtime is None
            or self._surveyor is None
            or not observed.running
            or observed.loading
            or observed.unfit
        ):
            return None, None
        try:
            around = await self._surveyor.around(self._main, config, observed)
            if around is None:
                return None, None
            capabilities = await self._runtime.capabilities(observed)
        except TargetError as error:
            draft.note(f"no change without a reload: {error}")
            return None, None
        if capabilities is None:
            draft.note(*self._runtime.notes)
        return capabilities, around

    def _certain(self, plan: Plan, *, known: bool) -> Plan:
        """Make a reload of a plan that rests on what is not certain."""
        if self.wish and isinstance(plan, RuntimePlan) and not self.must:
            then = plan.then or ReloadPlan(destinations=plan.destinations, reasons=())
            then = replace(then, reasons=(*then.reasons, self.wish))
            plan = replace(plan, destinations=(), then=then)
        why = self.must or ("" if isinstance(plan, RuntimePlan) else self.wish)
        if self.unsure and not why:
            if not known or isinstance(plan, ReloadPlan):
                return plan  # nothing was sent to this worker, or it goes
            if isinstance(plan, RuntimePlan) and not plan.destinations and plan.then is None:
                return plan  # what was cut short is what should be: its steps are repeated
            why = "a change at runtime was cut short"
        if not why:
            return plan
        match plan:
            case NoChange():
                return ReloadPlan(destinations=(), reasons=(why,))
            case RuntimePlan():
                destinations = plan.then.destinations if plan.then else plan.destinations
                reasons = (*plan.reasons, *(plan.then.reasons if plan.then else ()))
                return ReloadPlan(destinations=destinations, reasons=(why, *reasons))
            case ReloadPlan():
                return replace(plan, reasons=tuple(dict.fromkeys((why, *plan.reasons))))
            case WritePlan():
                return ReloadPlan(destinations=plan.destinations, reasons=(why, *plan.reasons))

    async def _observe(self) -> Observed:
        """Look at HAProxy, after a reload that others asked for: in it, nothing is known for sure."""
        until = time.monotonic() + LOADING
        while True:
            observed = await self._target.observe()
            if not observed.loading or time.monotonic() >= until:
                return observed
            await asyncio.sleep(0.05)

    async def _servers(self) -> tuple[ServerState, ...] | None:
        try:
            return await self._target.servers()
        except TargetError:
            return None

    async def _older(
        self, names: tuple[str, ...], observed: Observed, around: Surroundings | None
    ) -> bool:
        """Tell whether all files were surely in place before the worker began to read them."""
        began = self.began(observed)
        if around is not None and around.changed >= began:
            return False
        prints = await asyncio.to_thread(self._store.fingerprint, names)
        return all(entry is not None and max(entry[0], entry[3]) / 1e9 < began for entry in prints)
