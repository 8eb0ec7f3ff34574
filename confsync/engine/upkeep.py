"""What a change at runtime leaves for later, off its way: to be kept, checked, collected, audited.

Nothing here is asked for by a turn. Who calls holds the agent's turn for all that touches HAProxy or
the files (`chores`, and the parts of `prove` that change something), and not for what only looks.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from confsync.core import planning, runtime
from confsync.core.haproxy import proxies
from confsync.domain.change import Admin, NoChange, RuntimePlan, SetState, SetWeight, Step
from confsync.domain.rendered import RenderedConfig
from confsync.domain.running import Drift, Expected, Leftover, Observed, Record
from confsync.engine.outlook import Outlook, View
from confsync.engine.stepping import Stepper, without
from confsync.errors import CheckRejected, ConfsyncError, StateError, TargetError, WriteError
from confsync.ports import ConfigStore, Runtime, StateStore, Target

HANDS = "hands"
"""The small value in the state with what operators hold by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Seconds; see [runtime] and [retire] in docs/settings.md. `audit`, `settle` 0: never."""

    drain: float = 60
    leftovers: int = 50
    audit: float = 30
    settle: float = 0
    operator: Literal["respect", "repair"] = "respect"


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What upkeep found. `wanted`: why a turn is needed. `alarms`: what must never happen."""

    wanted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()

    def __add__(self, other: "News") -> "News":
        """Put two together."""
        return News(
            wanted=self.wanted + other.wanted,
            notes=self.notes + other.notes,
            alarms=self.alarms + other.alarms,
        )


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
        self._state = state
        self._target = target
        self._port = port
        self._clock = clock
        self._audit_at = time.monotonic()
        self._kept_hands: tuple[Drift, ...] = ()
        self._loaded_by: tuple[int, float] = (0, 0.0)
        self._told = ""

    def restore(self) -> None:
        """Take up what operators hold by hand. Blocking."""
        self._kept_hands = self._stepper.hands.found = _from_plain(self._state.load(HANDS))
        record = self._outlook.record
        if record is not None:
            self._loaded_by = (record.worker_pid, record.worker_started)

    @property
    def ours(self) -> Record | None:
        """The record, as long as the worker that was seen last is the one that it names."""
        record, seen = self._outlook.record, self._outlook.observed
        if record is None or seen is None or not seen.running or seen.loading:
            return None
        return record if seen.same_worker(record) and not self._outlook.must else None

    def _seen(self) -> Observed:
        assert self._outlook.observed is not None
        return self._outlook.observed

    def expected(self) -> tuple[Expected, ...]:
        """List what the record says that runs."""
        view, record = self._outlook.view, self._outlook.record
        if record is None:
            return ()
        return expected(record, view, self._main)

    # After a change

    async def prove(self) -> tuple[RenderedConfig | None, CheckRejected | None]:
        """Have HAProxy check the live files after a change that went ahead; changes nothing.

        Returns what was live when it began, and HAProxy's refusal. Raises CheckUnavailable.
        """
        unproven = self._stepper.unproven
        if unproven is None:
            return None, None
        try:
            await self._target.check(self._main, None)
        except CheckRejected as error:
            return unproven, error
        return unproven, None

    async def proven(self, config: RenderedConfig) -> bool:
        """End the journal for a set that passed; False when it is no longer the live one."""
        if self._stepper.unproven is not config:
            return False
        view = self._outlook.view
        if view is not None:
            self._stepper.shapes.passed(config, view.configs(self._main))
        self._stepper.unproven = None
        if not self._outlook.must:
            await asyncio.to_thread(self._store.settle)
        return True

    async def undo(self, error: CheckRejected) -> News:
        """Take back what HAProxy's check refuses though it runs: the file, then the steps."""
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
        if record is None or view is None or self.ours is None:
            self._outlook.must = "a refused file was taken back"
            return News(wanted=wanted, alarms=(alarm,))
        steps, config = await self._way_back(record, view, back)
        if steps is None or (
            steps.steps and (await self._port.apply(steps.steps, self._seen())).doubt
        ):
            self._outlook.must = "a refused file was taken back"
        else:
            self._outlook.record = planning.done(
                record, steps, config, main=self._main, now=self._clock(), around=view.around
            )
        return News(wanted=wanted, alarms=(alarm,))

    async def _way_back(
        self, record: Record, view: View, back: tuple[str, ...]
    ) -> tuple[RuntimePlan | None, RenderedConfig]:
        """Plan from what runs to the files that are live again (None: only a reload can)."""
        names = tuple(dict.fromkeys((*record.text, *back)))
        disk = await asyncio.to_thread(self._store.read, names)
        made = self._outlook.config or RenderedConfig()
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
            if self.ours is not None:
                news += await self._deadlines()
                if not paused:
                    news += await self._after_a_load()
                    news += await self._collect()
                    news += await self._audited()
                    news += self._due_reload()
        except TargetError as error:
            told, self._told = self._told, str(error)
            return news if told == self._told else news + News(notes=(f"upkeep: {error}",))
        self._told = ""
        return news

    async def _deadlines(self) -> News:
        """End the drain of servers whose time is over: from now on they get no request at all."""
        record = self.ours
        assert record is not None
        now = self._clock()
        late = [
            one
            for one in record.leftovers
            if one.state is Admin.DRAIN and one.since + self._options.drain <= now
        ]
        if not late:
            return News()
        steps = tuple(SetState(backend=o.backend, server=o.server, state=Admin.MAINT) for o in late)
        applied = await self._port.apply(steps, self._seen())
        if applied.doubt:
            return News(notes=(f"the end of a drain is tried again: {applied.doubt}",))
        ended = {(one.backend, one.server) for one in late}
        self._outlook.record = replace(
            record,
            leftovers=tuple(
                replace(one, state=Admin.MAINT) if (one.backend, one.server) in ended else one
                for one in record.leftovers
            ),
        )
        return News(notes=tuple(f"{o.backend}/{o.server}: its time to drain is over" for o in late))

    async def _collect(self) -> News:
        record = self.ours
        assert record is not None
        ready = tuple(o for o in record.leftovers if o.delete and o.state is Admin.MAINT)
        gone: tuple[Leftover, ...] = ()
        if ready:
            gone = await self._port.collect(ready, self._seen())
        if gone:
            self._stepper.counts.collected += len(gone)
            self._outlook.record = without(record, gone)
        return News()

    def _due_reload(self) -> News:
        """Ask for a turn where leftovers are too many, or servers of the file are better ones."""
        record, view = self.ours, self._outlook.view
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

    # What others did

    def audit_soon(self) -> None:
        """Have the next chores audit."""
        self._audit_at = float("-inf")

    async def _audited(self) -> News:
        if not self._options.audit or time.monotonic() < self._audit_at:
            return News()
        self._audit_at = time.monotonic() + self._options.audit
        drifts = await self._port.audit(self.expected(), self._seen())
        hands = self._stepper.hands
        respect = self._options.operator == "respect"
        held = tuple(d for d in drifts if d.hand is not None and respect)
        fresh = [d.what for d in held if d not in hands.found]
        hands.found = held
        news = News(notes=tuple(f"held by hand: {what}" for what in fresh))
        others = [d for d in drifts if d not in held]
        if others:
            news += await self._repair(others)
        await self._keep_hands()
        return news

    async def _repair(self, drifts: list[Drift]) -> News:
        told = tuple(f"drift: {d.what}" for d in drifts)
        steps = tuple(step for d in drifts for step in d.repair)
        if not all(d.repair for d in drifts):
            self._outlook.must = f"what runs is not what the file says: {drifts[0].what}"
            return News(wanted=("drift that only a reload repairs",), notes=told)
        applied = await self._port.apply(steps, self._seen())
        if applied.doubt:
            self._outlook.must = f"a drift could not be repaired: {applied.doubt}"
            return News(wanted=("drift",), notes=told)
        self._stepper.counts.repaired += len(drifts)
        return News(notes=(*told, f"{len(drifts)} repaired"))

    async def before_a_load(self) -> None:
        """Find what operators hold by hand, since a reload ends it."""
        if self.ours is None:
            return
        try:
            drifts = await self._port.audit(self.expected(), self._seen())
        except TargetError:
            return  # what was found last counts
        if self._options.operator == "respect":
            self._stepper.hands.found = tuple(d for d in drifts if d.hand is not None)

    async def _after_a_load(self) -> News:
        """Put back what operators hold by hand, once in each new worker."""
        seen = self._seen()
        worker = (seen.worker_pid, seen.worker_started)
        if worker == self._loaded_by:
            return News()
        self._loaded_by = worker
        steps = self._stepper.hands.after_a_load(self.expected())
        self._stepper.hands.found = tuple(
            d for d in self._stepper.hands.found if d.hand is not None and d.hand in steps
        )
        if not steps or self._options.operator != "respect":
            return News()
        applied = await self._port.apply(steps, seen)
        if applied.doubt:
            return News(notes=(f"not put back after the reload: {applied.doubt}",))
        return News(
            notes=tuple(f"put back after the reload: {d.what}" for d in self._stepper.hands.found)
        )

    async def loaded(self) -> tuple[str, ...]:
        """Put back at once, in the turn that reloaded; says what, or what could not be."""
        try:
            return (await self._after_a_load()).notes if self.ours is not None else ()
        except ConfsyncError as error:
            return (f"not put back after the reload: {error}",)

    async def _keep_hands(self) -> None:
        found = self._stepper.hands.found
        if found == self._kept_hands:
            return
        try:
            await asyncio.to_thread(self._state.save, HANDS, _to_plain(found))
        except StateError:
            return
        self._kept_hands = found


def expected(record: Record, view: View | None, main: str) -> tuple[Expected, ...]:
    """List the servers that should run, retired ones among them; proxies in doubt are left out."""
    configs = view.configs(main) if view is not None else (main,)
    beside = view.around.texts if view is not None and view.around else {}
    texts = [record.text.get(name, beside.get(name)) for name in configs]
    found: list[Expected] = []
    known = proxies.configuration(tuple(t for t in texts if t is not None))
    for proxy in known.proxies.values():
        if not proxy.bearing or proxy.doubt or proxy.templates:
            continue
        found += [
            Expected(
                backend=proxy.section.name,
                server=server.name,
                address="" if server.odd else server.address,
                port=server.port,
                weight=server.weight,
                state=server.state,
                agent=server.has("agent-check"),
            )
            for server in runtime.after(proxy, record.steps)
        ]
    there = {(e.backend, e.server) for e in found}
    found += [
        Expected(
            backend=one.backend,
            server=one.server,
            address=one.address,
            port=one.port,
            weight=one.weight,
            state=one.state,
            retired=True,
        )
        for one in record.leftovers
        if (one.backend, one.server) not in there
    ]
    return tuple(found)


def _to_plain(found: tuple[Drift, ...]) -> object:
    return [
        {
            "backend": d.backend,
            "server": d.server,
            "what": d.what,
            "state": d.hand.state.value if isinstance(d.hand, SetState) else "",
            "weight": d.hand.weight if isinstance(d.hand, SetWeight) else -1,
        }
        for d in found
    ]


def _from_plain(value: object) -> tuple[Drift, ...]:
    """Read what was held by hand; what cannot be read is held by nobody."""
    found = []
    try:
        for each in value if isinstance(value, list) else ():
            backend, server = str(each["backend"]), str(each["server"])
            hand: Step = (
                SetState(backend=backend, server=server, state=Admin(each["state"]))
                if each["state"]
                else SetWeight(backend=backend, server=server, weight=int(each["weight"]))
            )
            found.append(Drift(backend=backend, server=server, what=str(each["what"]), hand=hand))
    except (KeyError, TypeError, ValueError):
        return ()
    return tuple(found)
