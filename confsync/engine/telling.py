"""What the agent says besides the summary of a cycle: only what is new since the last one."""

import dataclasses

from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)
from confsync.domain.loadbalancer import Problem
from confsync.domain.running import Observed
from confsync.domain.status import CycleReport, Outcome
from confsync.ports import Telemetry

RELOADED = "HAProxy was reloaded by another hand"

_WROTE_NOTHING = frozenset({Outcome.PAUSED, Outcome.FAILED})


def same(before: CycleReport | None, report: CycleReport) -> bool:
    """Tell whether a cycle only found what the one before did: in step, or paused as it was."""
    if before is None or before.error or before.holds != report.holds:
        return False
    if report.outcome is Outcome.PAUSED:
        return before.outcome is Outcome.PAUSED and before.reasons == report.reasons
    return report.outcome is Outcome.IN_STEP


def news(telemetry: Telemetry, before: CycleReport | None, report: CycleReport) -> None:
    """Tell problems and holds that the cycle before did not have, and edits by other hands."""
    known = frozenset(before.problems) if before else frozenset()
    for problem in report.problems:
        if problem not in known:
            telemetry.event("warning", "problem", **_fields(problem))
    held = {h.service for h in before.holds} if before else set()
    for hold in report.holds:
        if hold.service not in held:
            telemetry.event(
                "warning",
                "held",
                service=hold.service or "the whole registry",
                reason=hold.reason,
                kept=hold.dropped,
                release=f"confsync release {hold.service or '--registry'}",
            )
    # What is not replaced, for whatever reason, is found again by each try.
    told = before is not None and before.outcome in _WROTE_NOTHING and before.diff == report.diff
    if report.diff and not told:
        telemetry.event("warning", "edited by another hand", diff=report.diff)


def identity(observed: Observed) -> tuple[bool, str, int, str]:
    """Tell what must not change without a reason of ours."""
    return observed.running, observed.place, observed.worker_pid, observed.version


def difference(before: Observed | None, now: Observed) -> str:
    """Say what others did to HAProxy between two looks."""
    if before is None or (now.running and not before.running):
        return "HAProxy runs" if now.running else "HAProxy does not run"
    if not now.running:
        return "HAProxy stopped"
    if now.version != before.version and now.version and before.version:
        return f"HAProxy was upgraded to {now.version}"
    if now.master_pid != before.master_pid or now.place != before.place:
        return "HAProxy was restarted"
    return RELOADED


def step(one: Step) -> str:
    """Say a step in words, near to HAProxy's own."""
    if isinstance(one, ReplaceMap):
        return f"replace map {one.name}: {len(one.entries)} entries"
    name = f"{one.backend}/{one.server}"
    match one:
        case AddServer():
            state = "" if one.state is Admin.READY else f", {one.state}"
            return " ".join(("add server", name, one.place, *one.words)) + state
        case RetireServer():
            after = "deleted when unused" if one.delete else "gone with the next reload"
            return f"retire server {name}: {one.state} ({one.cause}), {after}"
        case SetWeight():
            return f"set server {name} weight {one.weight}"
        case SetState():
            return f"set server {name} state {one.state}"
        case SetMaxconn():
            return f"set maxconn server {name} {one.maxconn}"
        case SetAddress():
            return f"set server {name} addr {one.address} port {one.port}"


def _fields(problem: Problem) -> dict[str, object]:
    fields = {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)}
    return {name: value for name, value in fields.items() if value}
