"""A worker that comes after a reload, and stays. Pure: who looks brings the clock."""

from confsync.domain.running import Observed


class Newcomer:
    """Tells how long another worker than the first has been seen, by looks in order."""

    def __init__(self, start: Observed) -> None:
        """`start`: the worker before the reload."""
        self._start = start
        self._last = start
        self._since = 0.0

    def age(self, seen: Observed, now: float) -> float | None:
        """Return seconds since the worker that is seen was first seen; None: it is the one before.

        One that cannot listen ends at once, and the next may be another one again.
        """
        if not seen.worker_pid or seen.same_worker(self._start):
            self._last = self._start
            return None
        if not seen.same_worker(self._last):
            self._last, self._since = seen, now
        return now - self._since
