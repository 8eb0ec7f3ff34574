"""An event loop whose clock hardly moves while there is work, and jumps where all only wait.

A wait of an hour is over at once, and how busy the machine is changes nothing. `time.monotonic` and
`time.time` tell the same time until the loop is closed. While a thread works (the loop's own, or
anybody's) the loop waits for real, since the thread's work may end the wait. Of what other processes
do it knows nothing: it is for tests marked `pytest.mark.fast_clock`, without children.
"""

import asyncio
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_ALWAYS = frozenset(threading.enumerate())
_POOL = "asyncio_"  # threads of a loop's executor are there when they have nothing to do, too
_REAL = (time.monotonic, time.time)
_LOOK = 0.005  # seconds between looks whether threads still work
_ROUND = 1e-6  # seconds a round of the loop takes: who waits for a moment gets past it at last


def _others_work() -> bool:
    return any(
        thread not in _ALWAYS and not thread.name.startswith(_POOL)
        for thread in threading.enumerate()
    )


class _Selector(selectors.DefaultSelector):
    """Finds what is ready now; instead of waiting it winds the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = self.now = _REAL[0]()
        self.away = 0
        """Jobs that are with the executor."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(None) if timeout is None else self._select(timeout)
        self.now += _ROUND
        if not found and timeout:
            self.now += timeout
        return found

    def _select(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready: at once, or for real until no other works (the end of a thread is silent)."""
        until = _REAL[0]() + timeout
        while True:
            busy = self.away or _others_work()
            rest = until - _REAL[0]()
            found = super().select(max(0.0, min(rest, _LOOK)) if busy else 0)
            if found or not busy or rest <= 0:
                return found


class Loop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._idle = _Selector()
        super().__init__(self._idle)
        began = _REAL[1]() - self._idle.begin
        time.monotonic = self.time
        time.time = lambda: began + self._idle.now

    def close(self) -> None:
        time.monotonic, time.time = _REAL
        super().close()

    def time(self) -> float:
        return self._idle.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._idle.away += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self._idle.away -= 1

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        self._idle.away += 1
        try:
            await super().shutdown_default_executor(*args, **options)
        finally:
            self._idle.away -= 1
