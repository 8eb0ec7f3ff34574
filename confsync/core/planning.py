"""Decide what to do: nothing, write, or write and reload. The only place that decides.

    plan(target, disk, loaded, capabilities) -> NoChange | WritePlan | RuntimePlan | ReloadPlan

`target` is what should be, `disk` what the destinations hold, `loaded` what HAProxy runs,
`capabilities` what it can be told while it runs (None: nothing). What is not understood means reload.
"""

from collections.abc import Mapping
from dataclasses import replace

from confsync.core import runtime
from confsync.core.haproxy import configuration, difference, vocabulary
from confsync.core.known import Loaded, Surroundings, disagreement, loaded
from confsync.core.turning import Turn
from confsync.domain.change import NoChange, Plan, ReloadPlan, RuntimePlan, WritePlan
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Capabilities, Record

__all__ = ["Loaded", "Surroundings", "deleted", "disagreement", "done", "loaded", "plan"]

MOST_REASONS = 40


def plan(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    loaded: Loaded,
    *,
    main: str,
    balancer: LoadBalancer | None = None,
    capabilities: Capabilities | None = None,
    around: Surroundings | None = None,
    most_leftovers: int = 50,
) -> Plan:
    """Compare what should be with what is on disk and with what runs.

    `most_leftovers`: retired servers that cannot be deleted, before a reload cleans up.
    """
    stale = tuple(f.destination for f in target.files if disk.get(f.destination) != f.text)
    if not loaded.running:
        if not stale:
            return NoChange(reasons=(f"HAProxy does not run: {loaded.why}",))
        return WritePlan(
            destinations=stale,
            reasons=(
                f"HAProxy does not run ({loaded.why}): it will start with these files",
                *_against_disk(target, disk, stale, main, balancer),
            ),
        )
    if loaded.files is None:
        return ReloadPlan(
            destinations=stale,
            reasons=(loaded.why, *_against_disk(target, disk, stale, main, balancer)),
        )
    if capabilities and vocabulary.release(capabilities.version) >= vocabulary.OLDEST:
        turn = Turn(target, loaded, main, balancer, capabilities, around or Surroundings())
        return _at_runtime(
            turn, target, disk, loaded, stale, main=main, most_leftovers=most_leftovers
        )
    texts = loaded.texts or {}
    reasons: list[str] = []
    if loaded.steps:
        reasons.append("what was changed at runtime can't be now: only a reload brings it in step")
    for file in target.files:
        if loaded.files.get(file.destination) == digest(file.text):
            continue
        old = texts.get(file.destination)
        reasons.extend(_differences(file.destination, old, file.text, main, balancer))
    if reasons:
        return ReloadPlan(destinations=stale, reasons=_bounded(reasons))
    if stale:
        return WritePlan(destinations=stale, reasons=_only_on_disk(target, disk, stale, main))
    return NoChange()


def _at_runtime(
    turn: Turn,
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    loaded: Loaded,
    stale: tuple[str, ...],
    *,
    main: str,
    most_leftovers: int,
) -> Plan:
    found = turn.compared()
    kept = sum(not one.delete for one in loaded.leftovers)
    reload = list(found.reload)
    if kept > most_leftovers and not reload:
        reload.append(f"{kept} retired servers that cannot be deleted: a reload ends them")
    reasons = _bounded(list(found.reasons))
    then = ReloadPlan(destinations=stale, reasons=_bounded(reload)) if reload else None
    if found.steps:
        return RuntimePlan(
            destinations=() if then else stale,
            steps=found.steps,
            reasons=reasons,
            then=then,
        )
    if then:
        return then
    if stale:
        runs_so = frozenset(n for n in stale if not turn.changed(n))
        return WritePlan(
            destinations=stale,
            reasons=_only_on_disk(target, disk, stale, main, runs_so),
        )
    return NoChange()


def done(
    record: Record,
    plan: RuntimePlan,
    target: RenderedConfig,
    *,
    main: str,
    now: float,
    around: Surroundings | None = None,
) -> Record:
    """Give the record of what runs once all steps of a plan are confirmed. `now`: unix seconds."""
    configs = (around or Surroundings()).configs or (main,)
    beside = (around or Surroundings()).texts
    old = configuration.read(
        tuple(t for n in configs if (t := record.text.get(n, beside.get(n))) is not None)
    )
    leftovers = runtime.leftovers(old, record.steps, plan.steps, record.leftovers, now)
    if plan.then is not None:
        steps = runtime.compacted(old, (*record.steps, *plan.steps))
        return replace(record, steps=steps, leftovers=leftovers)
    digests = target.digests()
    kept = {name: record.text.get(name, text) for name, text in beside.items()}
    return replace(
        record,
        files=digests,
        text=kept | {f.destination: f.text for f in target.files},
        promoted=digests,
        steps=(),
        leftovers=leftovers,
    )


def deleted(record: Record, backend: str, server: str) -> Record:
    """Give the record once a leftover is gone from HAProxy."""
    kept = (one for one in record.leftovers if (one.backend, one.server) != (backend, server))
    return replace(record, leftovers=tuple(kept))


def _only_on_disk(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    stale: tuple[str, ...],
    main: str,
    runs_so: frozenset[str] | None = None,
) -> tuple[str, ...]:
    """Say why files are written though HAProxy needs nothing. `runs_so`: it runs these (None: all)."""
    found = []
    for name in stale:
        file, old = target.get(name), disk.get(name)
        if old is None:
            found.append(f"{name} is missing")
        elif file and name == main and difference.equal_but_for_comments(old, file.text):
            found.append(f"{name}: comments and blanks only")
        elif runs_so is not None and name not in runs_so:
            found.append(f"{name}: nothing that HAProxy would run otherwise")
        else:
            found.append(f"{name} on disk is not what HAProxy runs")
    return tuple(found)


def _against_disk(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    stale: tuple[str, ...],
    main: str,
    balancer: LoadBalancer | None,
) -> tuple[str, ...]:
    found: list[str] = []
    for name in stale:
        file = target.get(name)
        if file:
            found.extend(_differences(name, disk.get(name), file.text, main, balancer))
    return _bounded(found)


def _differences(
    name: str, old: str | None, new: str, main: str, balancer: LoadBalancer | None
) -> tuple[str, ...]:
    if old is None:
        return (f"{name} is new",)
    if name != main:
        return (f"{name} changed",)
    return difference.reasons(old, new, _absences(balancer))


def _absences(balancer: LoadBalancer | None) -> difference.Absent:
    """Give slug -> server -> status of all that the registry has and does not serve."""
    backends = balancer.backends if balancer else ()
    return {b.slug: {server: status.value for server, status in b.absent} for b in backends}


def _bounded(reasons: list[str]) -> tuple[str, ...]:
    if len(reasons) <= MOST_REASONS:
        return tuple(reasons)
    return (*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more")
