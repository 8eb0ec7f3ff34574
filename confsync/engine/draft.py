"""A cycle's report while it is being written: stages with their times, then the frozen report."""

import difflib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confsync.core.placement import Placement
from confsync.domain.change import Plan, ReloadPlan, RuntimePlan
from confsync.domain.loadbalancer import Problem
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.status import CycleReport, Hold, Outcome, Stage
from confsync.engine import telling
from confsync.errors import ConfsyncError

HELD_EXIT = 4
WOULD_CHANGE_EXIT = 3


class Draft:
    """Collects what a cycle finds."""

    def __init__(self, why: str, placement: Placement | None = None) -> None:
        """`placement`: how files are named to the operator, where that differs."""
        self.why = why
        self._placement = placement or Placement()
        self.outcome = Outcome.IN_STEP
        self.reasons: tuple[str, ...] = ()
        self.steps: tuple[str, ...] = ()
        self.reload: tuple[str, ...] = ()
        self.waits = False
        self.tried = False
        self.problems: tuple[Problem, ...] = ()
        self.holds: tuple[Hold, ...] = ()
        self.notes: list[str] = []
        self.services = 0
        self.servers = 0
        self.fresh = 0
        """Servers of services that are not the very ones of the cycle before."""
        self.diff = ""
        self.secrets = RenderedConfig()
        self.revision = ""
        self._stages: dict[Stage, float] = {}
        self._stage: Stage | None = None
        self._error: ConfsyncError | None = None

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage; an error inside is this stage's."""
        self._stage = stage
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - begin) * 1000
            self._stages[stage] = self._stages.get(stage, 0.0) + spent

    def note(self, *notes: str) -> None:
        """Add remarks, each once."""
        self.notes.extend(n for n in dict.fromkeys(notes) if n not in self.notes)

    def planned(self, plan: Plan) -> None:
        """Take over what is to be done, and why."""
        last = plan.then if isinstance(plan, RuntimePlan) else plan
        if isinstance(plan, RuntimePlan):
            self.steps = tuple(telling.step(s) for s in plan.steps)
        self.reload = last.reasons if isinstance(last, ReloadPlan) else ()
        self.reasons = tuple(dict.fromkeys((*plan.reasons, *self.reload)))

    def rendered(self, config: RenderedConfig) -> None:
        """Take over the set that should be: its revision, and what no text may show."""
        self.secrets = config
        self.revision = digest("\n".join(config.digests().values()))[:12]

    def failed(self, error: ConfsyncError) -> None:
        """Take over the error that ended the cycle."""
        self.outcome = Outcome.FAILED
        self._error = error

    def report(self, now: float) -> CycleReport:
        """Freeze what was found, as the operator may and would read it."""

        def mask(text: str) -> str:
            return self._placement.told(self.secrets.masked(text))

        code = 0
        if self._error is not None:
            code = self._error.exit_code
        elif self.holds:
            code = HELD_EXIT
        elif self.waits or self.outcome in {Outcome.WOULD_CHANGE, Outcome.PAUSED}:
            code = WOULD_CHANGE_EXIT
        return CycleReport(
            outcome=self.outcome,
            why=self.why,
            reasons=tuple(mask(r) for r in self.reasons),
            steps=tuple(mask(s) for s in self.steps),
            reload=tuple(mask(r) for r in self.reload),
            waits=self.waits,
            tried=self.tried,
            problems=self.problems,
            holds=self.holds,
            notes=tuple(mask(n) for n in self.notes),
            services=self.services,
            servers=self.servers,
            stages=dict(self._stages),
            diff=mask(self.diff),
            revision=self.revision,
            error=mask(str(self._error)) if self._error else "",
            detail=mask(self._error.detail) if self._error else "",
            exit_code=code,
            failed_stage=self._stage if self._error else None,
            finished=now,
        )


def unified(config: RenderedConfig, disk: Mapping[str, str | None]) -> str:
    """Show the way from the disk to the set that should be, as one unified diff."""
    found: list[str] = []
    for file in config.files:
        old = disk.get(file.destination)
        if old == file.text:
            continue
        found.extend(
            difflib.unified_diff(
                (old or "").splitlines(keepends=True),
                file.text.splitlines(keepends=True),
                "/dev/null" if old is None else file.destination,
                file.destination,
            )
        )
    return "".join(line if line.endswith("\n") else line + "\n" for line in found)
