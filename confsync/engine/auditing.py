"""Whether what runs is still what the record says: drift is repaired, an operator's hand respected."""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from confsync.core import runtime
from confsync.core.haproxy import configuration
from confsync.domain.running import Drift, Expected, Observed, Record
from confsync.engine.hands import from_plain, to_plain
from confsync.engine.outlook import Outlook, View
from confsync.engine.stepping import Stepper
from confsync.errors import ConfsyncError, StateError, TargetError
from confsync.ports import Runtime, StateStore

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


class Auditor:
    """Audits, and keeps in mind what operators hold."""

    def __init__(
        self,
        *,
        options: Options,
        main: str,
        outlook: Outlook,
        stepper: Stepper,
        state: StateStore,
        port: Runtime,
    ) -> None:
        self._options = options
        self._main = main
        self._outlook = outlook
        self._stepper = stepper
        self._state = state
        self._port = port
        self._due = time.monotonic()
        self._kept_hands: tuple[Drift, ...] = ()
        self._loaded_by: Observed | Record | None = None
        """The worker that what is held by hand was put back in, as seen or as the record has it."""
        self._broken = 0
        """Drifts that a reload is asked for, and will have repaired."""

    def restore(self) -> None:
        """Take up what operators hold by hand. Blocking."""
        self._kept_hands = self._stepper.hands.found = from_plain(self._state.load(HANDS))
        self._loaded_by = self._outlook.record

    def expected(self) -> tuple[Expected, ...]:
        """List what the record says that runs."""
        record = self._outlook.record
        return () if record is None else expected(record, self._outlook.view, self._main)

    def soon(self) -> None:
        """Have the next chores audit."""
        self._due = float("-inf")

    async def audited(self) -> News:
        """Compare all servers with the record where it is due; repair what nobody meant."""
        if not self._options.audit or time.monotonic() < self._due:
            return News()
        self._due = time.monotonic() + self._options.audit
        drifts = await self._port.audit(self.expected(), self._outlook.seen())
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
            self._outlook.doubt(f"what runs is not what the file says: {drifts[0].what}")
            self._broken = len(drifts)
            return News(wanted=("drift that only a reload repairs",), notes=told)
        applied = await self._port.apply(steps, self._outlook.seen())
        if applied.doubt:
            self._outlook.doubt(f"a drift could not be repaired: {applied.doubt}")
            self._broken = len(drifts)
            return News(wanted=("drift",), notes=told)
        self._stepper.counts.repaired += len(drifts)
        return News(notes=(*told, f"{len(drifts)} repaired"))

    async def before_a_load(self) -> None:
        """Find what operators hold by hand, since a reload ends it."""
        if self._outlook.ours is None:
            return
        try:
            drifts = await self._port.audit(self.expected(), self._outlook.seen())
        except TargetError:
            return  # what was found last counts
        if self._options.operator == "respect":
            self._stepper.hands.found = tuple(d for d in drifts if d.hand is not None)

    async def after_a_load(self) -> News:
        """Put back what operators hold by hand, once in each new worker."""
        seen = self._outlook.seen()
        if self._loaded_by is not None and seen.same_worker(self._loaded_by):
            return News()
        self._loaded_by = seen
        self._stepper.counts.repaired += self._broken
        self._broken = 0
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
            return (await self.after_a_load()).notes if self._outlook.ours is not None else ()
        except ConfsyncError as error:
            return (f"not put back after the reload: {error}",)

    async def _keep_hands(self) -> None:
        found = self._stepper.hands.found
        if found == self._kept_hands:
            return
        try:
            await asyncio.to_thread(self._state.save, HANDS, to_plain(found))
        except StateError:
            return
        self._kept_hands = found


def expected(record: Record, view: View | None, main: str) -> tuple[Expected, ...]:
    """List the servers that should run, retired ones among them; proxies in doubt are left out."""
    configs = view.configs(main) if view is not None else (main,)
    beside = view.around.texts if view is not None and view.around else {}
    texts = [record.text.get(name, beside.get(name)) for name in configs]
    found: list[Expected] = []
    known = configuration.read(tuple(t for t in texts if t is not None))
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
