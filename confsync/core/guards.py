"""Hold a catalog that lost too much: a pure step from memory, catalog and clock to a verdict.

A service is held when, within `window`, it lost more than `share` of its instances and at least
`least`. The registry as a whole is held when it is empty, or when its index fell while it shrank.
What is held keeps the instances that it lost; what is there, and what is new, passes.

Instances count while a status that is served, or maintenance, is on them: maintenance is an
operator's word, a wave of critical checks is not. Replaced instances are no loss, since counts are
compared. See interface [guard] in docs/settings.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.status import Hold

History = tuple[tuple[float, Service], ...]
"""Unix seconds and the service as it was from then on, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When to hold and when to believe; `window` and `confirm` in seconds."""

    share: float = 0.5
    least: int = 3
    window: float = 10
    confirm: float = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldService:
    """A hold: what the service was, and since when (unix seconds)."""

    base: Service
    since: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRegistry:
    """A hold of the whole registry: the services that have not come back yet."""

    missing: tuple[Service, ...]
    since: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the guard remembers.

    `seen`: name -> (unix seconds, service), oldest first: one entry
    not younger than the window, then those within it. `passed`: the catalog that was passed on last.
    `judged`: when that was, in unix seconds. `quiet`: name -> a service with instances that was all
    that was seen within the window: while it is that very object, and neither held nor released, it is
    not judged again. These two spare work and make no difference to the outcome.
    """

    passed: Catalog = field(default_factory=Catalog)
    seen: Mapping[str, History] = field(default_factory=dict)
    held: Mapping[str, HeldService] = field(default_factory=dict)
    registry: HeldRegistry | None = None
    judged: float = field(default=0.0, compare=False)
    quiet: Mapping[str, Service] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What may release a hold.

    `confirmed`: name -> a consistent read made after the hold's time. `down`: address and port of
    servers that HAProxy's own checks say are down. `released`: names that an operator released;
    `registry`: the operator released the registry.
    """

    confirmed: Mapping[str, Service] = field(default_factory=dict)
    down: frozenset[tuple[str, int]] = frozenset()
    released: frozenset[str] = frozenset()
    registry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The catalog to go on with, the holds, and the names whose consistent read is due now.

    `wake`: unix seconds at which to judge again without news (0: never). `ended`: why holds ended.
    """

    catalog: Catalog
    memory: Memory
    holds: tuple[Hold, ...] = ()
    due: tuple[str, ...] = ()
    wake: float = 0.0
    ended: tuple[str, ...] = ()


def remember(catalog: Catalog, memory: Memory, now: float) -> Memory:
    """Begin with the last good catalog of the state, as if it had been seen just now."""
    seen = {s.name: ((now, s),) for s in catalog.services}
    return replace(memory, passed=catalog, seen=seen, quiet={})


def narrowed(memory: Memory, selection: Selection) -> Memory:
    """Drop from the holds what the settings ask for no more: leaving that out is no loss."""

    def only(*services: Service) -> tuple[Service, ...]:
        return selection.select(Catalog(services=services)).services

    registry = memory.registry
    missing = only(*registry.missing) if registry else ()
    return replace(
        memory,
        held={s.name: replace(h, base=s) for h in memory.held.values() for s in only(h.base)},
        registry=replace(registry, missing=missing) if registry and missing else None,
    )


def judge(
    memory: Memory,
    catalog: Catalog,
    *,
    now: float,
    served: frozenset[Status],
    thresholds: Thresholds,
    evidence: Evidence | None = None,
) -> Verdict:
    """Pass a catalog on, with what it may not lose put back."""
    return _Judgement(memory, catalog, now, served, thresholds, evidence or Evidence()).verdict()


class _Judgement:
    def __init__(
        self,
        memory: Memory,
        catalog: Catalog,
        now: float,
        served: frozenset[Status],
        thresholds: Thresholds,
        evidence: Evidence,
    ) -> None:
        self.memory = memory
        self.catalog = catalog
        self.now = now
        self.counted = served | {Status.MAINTENANCE}
        self.limits = thresholds
        self.evidence = evidence
        self.released = evidence.released
        self.ended: list[str] = []
        self.due: list[str] = []

    def verdict(self) -> Verdict:
        current = self._current()
        registry = self._registry(current)
        missing = {s.name: s for s in registry.missing} if registry else {}
        passed: dict[str, Service] = dict(current)
        held: dict[str, HeldService] = {}
        seen = dict(self.memory.seen)
        # A clock that was set back: every time that is remembered has to be looked at.
        quiet = dict(self.memory.quiet) if self.memory.judged <= self.now else {}
        for name in sorted(self._open(current, quiet) | missing.keys()):
            there = current.get(name, Service(name=name))
            if name in missing:
                passed[name] = self._merge(missing[name], there)
                history: History = ((self._since(there), there),)
            else:
                hold, history = self._service(name, there)
                if hold:
                    held[name] = hold
                    passed[name] = self._merge(hold.base, there)
            seen.pop(name, None)
            quiet.pop(name, None)
            if history:
                seen[name] = history
            if len(history) == 1 and there.instances:
                quiet[name] = there
        result = Catalog(services=tuple(passed[name] for name in sorted(passed)))
        after = Memory(
            passed=result, seen=seen, held=held, registry=registry, judged=self.now, quiet=quiet
        )
        return Verdict(
            catalog=result,
            memory=after,
            holds=self._holds(after, current),
            due=tuple(self.due),
            wake=self._wake(after),
            ended=tuple(self.ended),
        )

    def _current(self) -> dict[str, Service]:
        """Take services that the registry does not show for what they were: that is no news of them."""
        current = {s.name: s for s in self.catalog.services}
        if hidden := [s for s in current.values() if s.denied and not s.instances]:
            before = {s.name: s.instances for s in self.memory.passed.services}
            current |= {s.name: replace(s, instances=before.get(s.name, ())) for s in hidden}
        return current

    def _open(self, current: Mapping[str, Service], quiet: Mapping[str, Service]) -> set[str]:
        """Give the names to judge: all but those of services that are the very object of before."""
        changed = {name for name, service in current.items() if quiet.get(name) is not service}
        gone = self.memory.seen.keys() - current.keys()
        return changed | gone | self.memory.held.keys() | (self.released & current.keys())

    def _registry(self, current: Mapping[str, Service]) -> HeldRegistry | None:
        hold = self.memory.registry
        if hold is None:
            filled = any(s.instances for s in current.values())
            if filled and not self.catalog.index_fell:
                return None
            before = [s for s in self.memory.passed.services if self._count(s)]
            lost = [s for s in before if self._count(current.get(s.name)) < self._count(s)]
            if not before:
                return None
            if not filled:
                reason = "the registry is empty as a whole"
            elif self.catalog.index_fell and lost:
                reason = "the registry's index fell while it shrank: it was reset or restored"
            else:
                return None
            hold = HeldRegistry(missing=tuple(lost), since=self.now, reason=reason)
        if self.evidence.registry:
            self.ended.append("registry: released by hand")
            self.released |= {s.name for s in hold.missing}
            return None
        back = {s.name for s in hold.missing if self._is_back(s, current.get(s.name))}
        missing = tuple(s for s in hold.missing if s.name not in back | self.released)
        if not missing:
            self.ended.append("registry: it has filled again")
            return None
        return replace(hold, missing=missing)

    def _service(self, name: str, current: Service) -> tuple[HeldService | None, History]:
        fresh = ((self.now, current),)
        hold = self.memory.held.get(name)
        if name in self.released:
            if hold is not None:
                self.ended.append(f"{name}: released by hand")
            return None, fresh if current.instances else ()
        if hold is not None:
            # A clock that was set back must not make a hold, or below a window, last for as long.
            hold = replace(hold, since=min(hold.since, self.now))
            if self._is_back(hold.base, current):
                self.ended.append(f"{name}: it has come back")
                return None, fresh
            if why := self._released(hold, current):
                self.ended.append(f"{name}: {why}")
                return None, fresh if current.instances else ()
            if self.now >= hold.since + self.limits.confirm and name not in self.evidence.confirmed:
                self.due.append(name)
            return hold, ((self._since(current), current),)
        history = self._window(name, current)
        largest = max((s for _, s in history), key=self._count)
        if self._tripped(largest, current):
            lost, of = self._count(largest) - self._count(current), self._count(largest)
            reason = f"lost {lost} of {of} instances within {self.limits.window:g} s"
            return HeldService(base=largest, since=self.now, reason=reason), fresh
        if len(history) == 1 and not current.instances:
            return None, ()
        return None, history

    def _released(self, hold: HeldService, current: Service) -> str:
        read = self.evidence.confirmed.get(hold.base.name)
        if read is not None and not read.denied and self._tripped(hold.base, read):
            return "a consistent read confirms it"
        lost = self._lost(hold.base, current)
        if lost and all((i.address, i.port) in self.evidence.down for i in lost):
            return "HAProxy's own checks say that they are down"
        return ""

    def _window(self, name: str, current: Service) -> History:
        """Extend the history by `current`; drop what was replaced before the window began."""
        seen = self.memory.seen.get(name, ())
        history = tuple((min(then, self.now), service) for then, service in seen)
        if history and history[-1][1] == current:
            # The newest of equal ones: the next look at the same object need not compare.
            history = (*history[:-1], (history[-1][0], current))
        else:
            history = (*history, (self.now, current))
        begin = self.now - self.limits.window
        while len(history) > 1 and history[1][0] <= begin:
            history = history[1:]
        return history

    def _count(self, service: Service | None) -> int:
        return sum(i.status in self.counted for i in service.instances) if service else 0

    def _tripped(self, base: Service, current: Service) -> bool:
        before = self._count(base)
        lost = before - self._count(current)
        return lost >= self.limits.least and lost > self.limits.share * before

    def _is_back(self, base: Service, current: Service | None) -> bool:
        """Tell whether a held service may go on by itself.

        All of it is there again; or enough of it, and no more came or went for the length of the
        window: while a registry fills, the half that is not there yet must not be dropped.
        """
        before, there = self._count(base), self._count(current)
        if current is None or there == 0:
            return before == 0
        steady = self.now - self._since(current) >= self.limits.window
        return there >= before or (there >= before * (1 - self.limits.share) and steady)

    def _since(self, current: Service) -> float:
        """Tell since when a held service has been as it is now."""
        history = self.memory.seen.get(current.name)
        if history and history[-1][1] == current:
            return min(history[-1][0], self.now)
        return self.now

    def _lost(self, base: Service, current: Service) -> tuple[Instance, ...]:
        there = {(i.node, i.id): i for i in current.instances}
        return tuple(
            i
            for i in base.instances
            if i.status in self.counted
            and ((now := there.get((i.node, i.id))) is None or now.status not in self.counted)
        )

    def _merge(self, base: Service, current: Service) -> Service:
        """Put the lost instances back as they were; all else is as it is now."""
        lost = self._lost(base, current)
        keys = {(i.node, i.id) for i in lost}
        rest = (i for i in current.instances if (i.node, i.id) not in keys)
        instances = sorted((*lost, *rest), key=lambda i: (i.address, i.port, i.node, i.id))
        return replace(current, instances=tuple(instances))

    def _holds(self, memory: Memory, current: Mapping[str, Service]) -> tuple[Hold, ...]:
        found = []
        if memory.registry:
            lost = [
                f"{s.name} {_shown(i)}"
                for s in memory.registry.missing
                for i in self._lost(s, current.get(s.name, Service(name=s.name)))
            ]
            registry = memory.registry
            found.append(
                Hold(
                    service="",
                    reason=registry.reason,
                    since=registry.since,
                    dropped=tuple(lost),
                )
            )
        for name, hold in sorted(memory.held.items()):
            dropped = self._lost(hold.base, current.get(name, Service(name=name)))
            found.append(
                Hold(
                    service=name,
                    reason=hold.reason,
                    since=hold.since,
                    dropped=tuple(_shown(i) for i in dropped),
                    until=hold.since + self.limits.confirm,
                )
            )
        return tuple(found)

    def _wake(self, memory: Memory) -> float:
        times = [h.since + self.limits.confirm for h in memory.held.values()]
        later = [t for t in times if t > self.now]
        return min(later, default=0.0)


def _shown(instance: Instance) -> str:
    host = f"[{instance.address}]" if ":" in instance.address else instance.address
    return f"{host}:{instance.port}"
