"""The agent as a part of the load balancer: kept running, and heard for its first configuration."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Generic

from confsync import errors
from confsync.domain.status import CycleReport, Outcome
from confsync.engine import supervisor
from confsync.engine.children import Pauses
from confsync.engine.supervisor import Agent
from confsync.ports import Telemetry

_BY_CODE = {
    each.exit_code: each
    for each in (
        errors.CheckRejected,
        errors.TargetUnavailable,
        errors.WriteError,
        errors.ReloadFailed,
        errors.TargetDenied,
    )
}


class Heard:
    """Telemetry that also remembers the first cycle that did something.

    `named`: how a text names files to the operator.
    """

    def __init__(self, telemetry: Telemetry, named: Callable[[str], str] = str) -> None:
        self.first: CycleReport | None = None
        self.came = asyncio.Event()
        self._telemetry = telemetry
        self._named = named

    def cycle(self, report: CycleReport, *, news: bool) -> None:
        """Pass it on."""
        # At the start HAProxy is not to run yet: what to do about that is no advice.
        notes = tuple(n for n in report.notes if self.first or not n.startswith("no socket "))
        report = replace(
            report, error=self._named(report.error), detail=self._named(report.detail), notes=notes
        )
        if self.first is None and report.outcome is not Outcome.SUPERSEDED:
            self.first = report
            self.came.set()
        self._telemetry.cycle(report, news=news)

    def event(self, level: str, text: str, **fields: object) -> None:
        """Pass it on."""
        self._telemetry.event(level, text, **fields)


class Tended(Generic[Agent]):
    """The agent, which is built anew when it fails.

    `build`: makes one from settings read anew; `there`: whether HAProxy has a configuration.
    """

    def __init__(
        self,
        first: Agent,
        *,
        build: Callable[[], Agent],
        hooks: supervisor.Hooks[Agent],
        heard: Heard,
        there: Callable[[], bool],
        pauses: Pauses,
    ) -> None:
        self._first = first
        self._build = build
        self._hooks = hooks
        self._heard = heard
        self._there = there
        self._pauses = pauses

    async def run(self, *, ends: asyncio.Event, hangup: asyncio.Event) -> None:
        """Work until `ends`. Raises only what keeps the first one from starting."""
        agent: Agent | None = self._first
        loop = asyncio.get_running_loop()
        pause = self._pauses.first
        while not ends.is_set():
            began = loop.time()
            try:
                if agent is None:
                    agent = self._build()
                await supervisor.follow(agent, self._hooks, self._heard, ends=ends, hangup=hangup)
            except* Exception as group:
                if self._heard.first is None:
                    raise
                if loop.time() - began > self._pauses.longest:
                    pause = self._pauses.first
                why = "; ".join(str(each) or type(each).__name__ for each in errors.leaves(group))
                self._heard.event("error", "agent ended", why=why, again_in=pause)
            else:
                continue
            # That one has given back what it works with; one that is built is another.
            agent = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ends.wait(), pause)
            pause = min(pause * 2, self._pauses.longest)

    async def written(self) -> None:
        """Wait for the first cycle. Raises when it left HAProxy without a configuration."""
        await self._heard.came.wait()
        report = self._heard.first
        assert report is not None
        if self._there():
            if report.outcome is Outcome.FAILED:
                self._heard.event("warning", "HAProxy starts with the configuration of before")
            return
        kind = _BY_CODE.get(report.exit_code, errors.TargetUnavailable)
        raise kind(
            report.error or f"there is no configuration to start with ({report.outcome.value})",
            detail=report.detail,
        )
