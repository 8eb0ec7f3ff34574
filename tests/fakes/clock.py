"""Runs one coroutine on the loop whose clock jumps, for tests that play a whole life in one call."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.fakes.loop import Loop

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]], *, limit: float = 3600) -> T:
    """Run it to its end, within so many seconds of the loop's own clock."""

    async def bounded() -> T:
        async with asyncio.timeout(limit):
            return await main()

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(bounded())
