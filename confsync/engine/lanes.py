"""Two lanes: what can be done at runtime goes at once, a reload in its own time (engine/holdoff.py).

Every change goes the fast lane first, where there is one; what is left of it waits for its reload.
"""

from confsync.engine.holdoff import Holdoff, Pace


class Lanes:
    """When to work on changes. `slow` is that of reloads; times are any clock's seconds."""

    def __init__(self, slow: Pace, fast: Pace | None) -> None:
        """`fast` None: every change is a reload."""
        self.slow = Holdoff(slow)
        self._fast = Holdoff(fast) if fast else None
        self._reload_waits = False

    @property
    def swift(self) -> bool:
        """Tell whether there is a fast lane."""
        return self._fast is not None

    def changed(self, now: float) -> None:
        """Note a change."""
        self.slow.changed(now)
        if self._fast is not None:
            self._fast.changed(now)

    def begins(self) -> tuple[float | None, ...]:
        """Tell when to begin to work on changes, lane by lane (None: there are none in it)."""
        if self._fast is None:
            return (self.slow.begin(),)
        return self._fast.begin(), self.slow.begin() if self._reload_waits else None

    def may_reload(self, now: float) -> bool:
        """Tell whether a reload has its turn."""
        begin = self.slow.begin()
        return begin is not None and begin <= now

    def acted(self, now: float, *, reloaded: bool) -> None:
        """Note that all changes so far were acted on. `reloaded`: a reload was tried."""
        self._reload_waits = False
        self.slow.acted(now, reloaded=reloaded)
        self._paused(now)

    def waits(self, now: float) -> None:
        """Leave a reload to its own lane; what could be done at runtime is done."""
        self._reload_waits = True
        if self.slow.oldest is None:
            self.slow.changed(now)
        self._paused(now)

    def _paused(self, now: float) -> None:
        """Keep the fast lane's own interval from here on."""
        if self._fast is not None:
            self._fast.acted(now, reloaded=True)
