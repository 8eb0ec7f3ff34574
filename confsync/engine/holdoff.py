"""When the next reload may be: a quiet period with a ceiling, and a budget between reloads.

Pure arithmetic on `now`, any clock in seconds. A change after a calm goes at once (`first`); changes
that follow one another are gathered (`quiet`, at most `ceiling`); two reloads are at least `interval`
apart, doubled for each old worker above three (each one holds memory and connections), at most 30 s.
"""

from dataclasses import dataclass

MANY_WORKERS = 3
LONGEST_INTERVAL = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds; see [reload] in docs/settings.md."""

    first: float = 0.01
    quiet: float = 0.25
    ceiling: float = 2
    interval: float = 2


@dataclass(slots=True)
class Holdoff:
    """Gathers changes; `due()` says when to act on them.

    `not_before`: a reload failed and is tried again then. Failed ones count as well where HAProxy
    ends workers that outlived many (mworker-max-reloads), so changes alone do not ask for more.
    """

    pace: Pace
    old_workers: int = 0
    reloaded: float = float("-inf")
    not_before: float = float("-inf")
    oldest: float | None = None
    newest: float = 0.0

    def changed(self, now: float) -> None:
        """Note a change."""
        if self.oldest is None:
            self.oldest = now
        self.newest = now

    def acted(self, now: float, *, reloaded: bool) -> None:
        """Note that all changes so far were acted on."""
        self.oldest = None
        if reloaded:
            self.reloaded = now

    def interval(self) -> float:
        """Tell the least time between two reloads."""
        doubled = self.pace.interval * 2.0 ** min(10, max(0, self.old_workers - MANY_WORKERS))
        return max(self.pace.interval, min(doubled, LONGEST_INTERVAL))

    @property
    def calm(self) -> bool:
        """Tell whether the changes came after a calm: they may be worked on while they gather."""
        return self.oldest is not None and self.oldest >= self._free()

    def _free(self) -> float:
        return max(self.reloaded + self.interval(), self.not_before)

    def begin(self) -> float | None:
        """Tell when to begin to work on the changes, None without any; `due` is when to act."""
        return self.oldest if self.calm else self.due()

    def due(self) -> float | None:
        """Tell when to act, None without a change."""
        if self.oldest is None:
            return None
        if self.calm:
            return self.oldest + self.pace.first
        gathered = min(self.newest + self.pace.quiet, self.oldest + self.pace.ceiling)
        return max(gathered, self._free())
