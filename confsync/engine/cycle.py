"""One turn of confsync, from a catalog to a running HAProxy. `run` and `once` share it.

    guard -> model -> render -> plan -> check -> write -> apply -> verify -> report

Left of "check" are values; from there on, each step either completes or puts back what it found.
A foreseen error ends the turn and stands in its report; it never ends the agent.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from confsync import faults
from confsync.core import desired, planning
from confsync.core.haproxy import text
from confsync.core.placement import Placement
from confsync.domain.catalog import Catalog
from confsync.domain.change import NoChange, Plan, ReloadPlan, RuntimePlan, WritePlan
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Observed, Record, ServerState
from confsync.domain.status import CycleReport, Outcome, Stage
from confsync.engine import guarding
from confsync.engine.applying import Applier, Gate
from confsync.engine.draft import Draft, unified
from confsync.engine.keeping import keep
from confsync.engine.offloop import work
from confsync.errors import ConfsyncError, NotOurs, TargetError
from confsync.ports import ConfigStore, Discoverer, Renders, Stager, StateStore, Target

LOADING = 5.0
"""Seconds that a turn waits for a reload that is under way."""
_ANY = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a cycle needs to know. `main`: HAProxy's main file. `placement`: for messages."""

    main: str
    guard: guarding.Options = field(default_factory=guarding.Options)
    placement: Placement = field(default_factory=Placement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn's input.

    `apply` False: nothing is changed, on disk or in the state. `provisional`: the catalog stands in
    for one that never came, and is not remembered. `released`, `registry`: an operator's releases.
    `gate` is asked before anything is promoted; when it says no, the turn is superseded.
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`scratch`: a store that stages elsewhere, for turns that change nothing."""
        self._options = options
        self.guard = guarding.Guard(
            options=options.guard, discoverer=discoverer, state=state, target=target, clock=clock
        )
        self._store = store
        self._scratch = scratch
        self._state = state
        self._target = target
        self._renderer = renderer
        self._is_local = is_local
        self._clock = clock
        self._record: Record | None = None
        self._ids: dict[str, int] = {}
        self._declared: tuple[frozenset[str], frozenset[tuple[str, int]]] | None = None
        self.observed: Observed | None = None
        # The first turn that finds all in step ends a journal that a crash may have left.
        self._unsaved = True

    def restore(self) -> Catalog | None:
        """Take up what the state directory kept; returns the last good catalog. Blocking."""
        self._record = self._state.load_record()
        ids = self._state.load("ids")
        if isinstance(ids, dict):
            self._ids = {k: v for k, v in ids.items() if isinstance(v, int)}
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
        await self.guard.keep(draft)
        return draft.report(self._clock())

    async def check(self, catalog: Catalog | None, *, haproxy: bool) -> CycleReport:
        """Render a catalog and have HAProxy check it (None: the main file as it is); change nothing."""
        draft = Draft("check", self._options.placement)
        try:
            if catalog is None:
                with draft.stage(Stage.CHECK):
                    draft.note(*await self._target.check(self._options.main, None))
            else:
                _, config = await self._rendered(catalog, draft, remember=False)
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
        balancer, config = await self._rendered(catalog, draft, remember=turn.apply)
        with draft.stage(Stage.PLAN):
            observed, disk, plan = await self._plan(config, balancer, draft)
        if isinstance(plan, NoChange):
            draft.note(*plan.reasons)
            if turn.apply and not turn.paused:
                await self._remember(config, observed, draft)
            return
        assert not isinstance(plan, RuntimePlan)  # there is none without capabilities
        draft.reasons = plan.reasons
        foreign = self._foreign(plan, disk)
        if foreign:
            draft.note(f"edited by another hand: {', '.join(foreign)}")
        if not turn.apply or foreign:
            draft.diff = unified(config, disk)
        unknown = self._unknown(plan, disk)
        applier = self._applier()
        has_live = disk.get(self._options.main) is not None
        if not turn.apply or turn.paused:
            draft.outcome = Outcome.PAUSED if turn.apply else Outcome.WOULD_CHANGE
            if not turn.apply:
                await applier.rehearse(config, plan, draft, has_live=has_live)
            _refuse(unknown, adopt=turn.adopt)
            return
        _refuse(unknown, adopt=turn.adopt)
        for name in foreign:
            kept = await asyncio.to_thread(self._store.keep_foreign, name, disk[name] or "")
            draft.note(f"the edit of {name} by another hand is kept as {kept}")
        for name in unknown:
            kept = await asyncio.to_thread(self._store.keep_original, name, disk[name] or "")
            draft.note(f"{name} is adopted; what stood there is kept as {kept}")
        record = await applier.apply(
            config, plan, observed, self._record, draft, has_live=has_live, gate=turn.gate
        )
        if record is None:
            return
        self._record = record
        self.observed = applier.observed or observed
        await self._record_it(draft)

    async def _rendered(
        self, catalog: Catalog, draft: Draft, *, remember: bool
    ) -> tuple[LoadBalancer, RenderedConfig]:
        with draft.stage(Stage.MODEL):
            balancer = await self._model(catalog, draft, remember=remember)
        with draft.stage(Stage.RENDER):
            config, refused = await asyncio.to_thread(self._renderer.render, balancer)
            draft.problems = (*draft.problems, *refused)
            draft.rendered(config)
        return balancer, config

    async def _model(self, catalog: Catalog, draft: Draft, *, remember: bool) -> LoadBalancer:
        if self._declared is None:
            self._declared = await asyncio.to_thread(self._declares)
        reserved, binds = self._declared
        balancer, ids = await work(
            sum(len(s.instances) for s in catalog.services),
            lambda: desired.desired(
                catalog,
                statuses=self._options.guard.served,
                reserved=reserved,
                loops=self._loops(catalog, binds),
                ids=self._ids,
            ),
        )
        if ids != self._ids and remember:
            self._ids = ids
            await keep(draft, self._state.save, "ids", ids)
        draft.problems = balancer.problems
        draft.services = len(balancer.backends)
        draft.servers = sum(len(b.instances) for b in balancer.backends)
        return balancer

    def _declares(self) -> tuple[frozenset[str], frozenset[tuple[str, int]]]:
        """Find the proxies and the addresses that the templates have without any service."""
        configs = [
            f.text
            for f in self._renderer.declared().files
            if f.destination == self._options.main or f.destination.endswith(".cfg")
        ]
        return (
            frozenset[str]().union(*(text.proxies(t) for t in configs)),
            frozenset[tuple[str, int]]().union(*(text.binds(t) for t in configs)),
        )

    def _loops(
        self, catalog: Catalog, binds: frozenset[tuple[str, int]]
    ) -> frozenset[tuple[str, int]]:
        """Find instances that are HAProxy's own listeners on this host: each would be a loop."""
        ports = {port for _, port in binds}
        asked = {
            (i.address, i.port) for s in catalog.services for i in s.instances if i.port in ports
        }
        anywhere = {port for address, port in binds if address in _ANY}
        return frozenset(
            (address, port)
            for address, port in asked
            if (address, port) in binds or (port in anywhere and self._is_local(address))
        )

    async def _plan(
        self, config: RenderedConfig, balancer: LoadBalancer, draft: Draft
    ) -> tuple[Observed, dict[str, str | None], Plan]:
        observed = await self._observe()
        self.observed = observed
        draft.note(*observed.notes)
        destinations = tuple(f.destination for f in config.files)
        wanted = tuple(dict.fromkeys((*destinations, self._options.main)))
        disk = await asyncio.to_thread(self._store.read, wanted)
        known = self._record is not None and observed.same_worker(self._record)
        loaded = planning.loaded(
            self._record,
            observed,
            disk,
            older=known or await self._older(destinations, observed),
            servers=() if known or not observed.running else await self._servers(),
            main=self._options.main,
        )
        plan = await work(
            sum(len(b.instances) for b in balancer.backends),
            lambda: planning.plan(config, disk, loaded, main=self._options.main, balancer=balancer),
        )
        return observed, disk, plan

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

    async def _older(self, destinations: tuple[str, ...], observed: Observed) -> bool:
        """Tell whether all files were surely in place before the worker began to read them."""
        prints = await asyncio.to_thread(self._store.fingerprint, destinations)
        return all(
            entry is not None and max(entry[0], entry[3]) / 1e9 < observed.worker_started
            for entry in prints
        )

    def _foreign(self, plan: WritePlan | ReloadPlan, disk: dict[str, str | None]) -> list[str]:
        promoted = self._record.promoted if self._record else {}
        return [
            name
            for name in plan.destinations
            if (there := disk.get(name)) is not None
            and name in promoted
            and digest(there) != promoted[name]
        ]

    def _unknown(self, plan: WritePlan | ReloadPlan, disk: dict[str, str | None]) -> list[str]:
        promoted = self._record.promoted if self._record else {}
        return [n for n in plan.destinations if disk.get(n) is not None and n not in promoted]

    async def _remember(self, config: RenderedConfig, observed: Observed, draft: Draft) -> None:
        """Record a worker that was found in step, so that the next start need not look closer."""
        digests = config.digests()
        if (
            self._record is None
            or self._record.promoted != digests
            or (observed.running and not observed.same_worker(self._record))
        ):
            self._record = Record(
                files=digests if observed.running else {},
                text={f.destination: f.text for f in config.files} if observed.running else {},
                promoted=digests,
                worker_pid=observed.worker_pid,
                worker_started=observed.worker_started,
                version=observed.version,
            )
            self._unsaved = True
        if self._unsaved:
            await self._record_it(draft)

    async def _record_it(self, draft: Draft) -> None:
        """Save the record, then end the journal: a crash between the two is a reload too many."""
        self._unsaved = True
        faults.point("before-record")
        if self._record is not None and await keep(draft, self._state.save_record, self._record):
            faults.point("after-record")
            await asyncio.to_thread(self._store.settle)
            self._unsaved = False


def _refuse(unknown: list[str], *, adopt: bool) -> None:
    if unknown and not adopt:
        raise NotOurs(
            f"{', '.join(unknown)}: exists and was not written by confsync",
            remedy="look at `confsync once`, then `confsync once --apply --adopt` takes it over and "
            "keeps the old file in the state directory",
        )
