"""The guard with its memory, its evidence and its hold on the state directory.

What a hold is and when it ends is core.guards'; here is who asks Consul and HAProxy for evidence, and
what survives a restart.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from confsync.core import guards
from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog, Service, Status
from confsync.engine import holds
from confsync.engine.draft import Draft
from confsync.engine.keeping import keep
from confsync.engine.offloop import Work
from confsync.errors import DiscoveryError, TargetError
from confsync.ports import Discoverer, StateStore, Target

HELD_LOOK = 5.0
"""Seconds between two looks at what may release a hold."""
AT_ONCE = 8
"""Consistent reads at once: each costs Consul's leader a round among its peers."""
CONFIRMING = 5.0
"""Seconds that a turn waits for all of them: one after the other, each until a registry that is cut off
times out, they would have stopped all work and starved the watchdog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`selection`: what the source is asked for. `served`: statuses that get traffic."""

    selection: Selection = field(default_factory=Selection)
    served: frozenset[Status] = frozenset({Status.PASSING})
    thresholds: guards.Thresholds = field(default_factory=guards.Thresholds)


class Guard:
    """Passes catalogs on. `wake`: unix seconds at which to look again without news (0: never)."""

    def __init__(
        self,
        *,
        options: Options,
        discoverer: Discoverer,
        state: StateStore,
        target: Target,
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._discoverer = discoverer
        self._state = state
        self._target = target
        self._clock = clock
        self._memory = guards.Memory()
        self._kept = self._memory
        self._learned = False
        self._work = Work()
        self.wake = 0.0

    def restore(self) -> Catalog | None:
        """Take up holds and the last good catalog, and return that. Blocking.

        Both as far as the settings ask for them by now: what an operator has left out is not lost,
        and no consistent read would ever confirm that it is.
        """
        memory = holds.from_plain(self._state.load("holds"))
        catalog = self._state.load_catalog()
        self._kept = replace(memory, passed=catalog or Catalog())
        self._memory = guards.narrowed(memory, self._options.selection)
        if catalog is not None:
            catalog = self._options.selection.select(catalog)
            self._memory = guards.remember(catalog, self._memory, self._clock())
        return catalog

    @property
    def held(self) -> frozenset[str]:
        """Names of the services that are held, alone or with the registry."""
        missing = self._memory.registry.missing if self._memory.registry else ()
        return frozenset({*self._memory.held, *(s.name for s in missing)})

    async def passed(
        self,
        catalog: Catalog,
        draft: Draft,
        *,
        released: frozenset[str],
        registry: bool,
        remember: bool,
    ) -> Catalog:
        """Return the catalog with what it may not lose put back.

        `released`, `registry`: an operator's releases. Without `remember` nothing is learned or kept.
        """
        fresh = catalog.fresh(self._memory.passed)
        evidence = guards.Evidence(down=await self._down(), released=released, registry=registry)
        verdict = await self._work(fresh, lambda: self._judge(catalog, evidence))
        if verdict.due:
            confirmed = await self._confirmed(verdict.due, draft)
            proven = replace(evidence, confirmed=confirmed)
            verdict = await self._work(fresh, lambda: self._judge(catalog, proven))
        draft.holds = verdict.holds
        draft.note(*(f"hold ended: {why}" for why in verdict.ended))
        # HAProxy's own checks or a steady count may release a hold without news from the registry,
        # and a failed read is tried again.
        soon = self._clock() + HELD_LOOK
        held = verdict.memory.held or verdict.memory.registry
        self.wake = min(verdict.wake or soon, soon) if held else 0.0
        if remember:
            self._memory, self._learned = verdict.memory, True
        return verdict.catalog

    async def keep(self, draft: Draft) -> None:
        """Keep what was learned, once the turn is over: no change waits for this disk."""
        if not self._learned:
            return
        memory, kept = self._memory, self._kept
        done = True
        if (kept.held, kept.registry) != (memory.held, memory.registry):
            done = await keep(draft, self._state.save, "holds", holds.to_plain(memory))
        if kept.passed != memory.passed:
            done = await keep(draft, self._state.save_catalog, memory.passed) and done
        if done:
            self._kept = memory

    async def _confirmed(self, names: tuple[str, ...], draft: Draft) -> dict[str, Service]:
        """Read services consistently, in bounded time: who has no answer stays held."""
        found: dict[str, Service] = {}
        slots = asyncio.Semaphore(AT_ONCE)

        async def read(name: str) -> None:
            async with slots:
                try:
                    found[name] = await self._discoverer.confirm(name)
                except DiscoveryError as error:
                    draft.note(f"no consistent read of {name!r} yet: {error}")

        try:
            async with asyncio.timeout(CONFIRMING), asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(read(name), name=f"confirm {name}")
        except TimeoutError:
            draft.note(f"no consistent read of all that is held within {CONFIRMING:g} s")
        return found

    def _judge(self, catalog: Catalog, evidence: guards.Evidence) -> guards.Verdict:
        return guards.judge(
            self._memory,
            catalog,
            now=self._clock(),
            served=self._options.served,
            thresholds=self._options.thresholds,
            evidence=evidence,
        )

    async def _down(self) -> frozenset[tuple[str, int]]:
        """Ask HAProxy which servers its own checks find down; only a hold wants to know."""
        if not self._memory.held:
            return frozenset()
        try:
            servers = await self._target.servers()
        except TargetError:
            return frozenset()
        up = {(s.address, s.port) for s in servers if s.up or not s.checked}
        return frozenset({(s.address, s.port) for s in servers if s.checked}) - up
