"""What the demo's summary says: steps, times, counts, and whether anything failed. Pure."""

import dataclasses
import statistics

from confsync.demo.traffic import Traffic


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that was played. `at`: seconds since the demo began; `faults`: what went wrong."""

    title: str
    at: float
    outcome: str
    faults: tuple[str, ...] = ()


@dataclasses.dataclass(slots=True, kw_only=True)
class Ledger:
    """Grows while the demo runs.

    `changes`: writes to the registry that should change what is served. `times`: milliseconds from
    such a write to the first answer by the server that it brought. `faults`: whatever else should
    not have happened. `reloads`, `failed_reloads`: HAProxy's own counters.
    """

    steps: list[Step] = dataclasses.field(default_factory=list)
    changes: int = 0
    times: list[float] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)
    traffic: Traffic = dataclasses.field(default_factory=Traffic)
    reloads: int = 0
    failed_reloads: int = 0

    def verdict(self) -> tuple[str, ...]:
        """Return all that failed; nothing means that the demo did what it promises."""
        found = [fault for step in self.steps for fault in step.faults] + self.faults
        found += [f"{n} requests failed: {kind}" for kind, n in self.traffic.failed.items()]
        if self.failed_reloads:
            found.append(f"{self.failed_reloads} reloads failed")
        if not self.times:
            found.append("no change was seen by the traffic")
        return tuple(found)

    def rows(self, programs: str) -> tuple[tuple[str, str], ...]:
        """Return the summary as pairs of name and value."""
        traffic = self.traffic
        times = "none"
        if self.times:
            median, worst = statistics.median(self.times), max(self.times)
            times = f"{median:.0f} ms median, {worst:.0f} ms at most ({len(self.times)} servers)"
        return (
            ("registry changes", f"{self.changes}"),
            ("change to first answer", times),
            ("requests", f"{traffic.requests:,}"),
            ("failed requests", f"{traffic.failures}"),
            ("answer time", f"{traffic.p50 * 1000:.1f} ms median, {traffic.p99 * 1000:.1f} ms p99"),
            ("HAProxy reloads", f"{self.reloads}, {self.failed_reloads} failed"),
            ("versions", programs),
        )
