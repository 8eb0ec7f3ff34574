"""An event loop whose clock jumps to the next thing to do, so that pauses cost no time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: when nothing is ready, the time is over."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nobody is left to end it"
            self.jumped += max(timeout, 0)
        return ready


def run(main: Callable[[], Coroutine[Any, Any, T]], *, limit: float = 3600) -> T:
    """Run a coroutine to its end, within so many seconds of the loop's own clock."""
    selector = _Jumping()

    class Loop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return selector.jumped

    async def bounded() -> T:
        async with asyncio.timeout(limit):
            return await main()

    with asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner:
        return runner.run(bounded())
