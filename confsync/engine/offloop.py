"""Work off the event loop where it is much, and on it where a thread would cost more.

Handing work to a thread and back takes some 0.2 ms on the way of a change, and more on an idle machine;
a thousand servers that are new take the loop for tens of milliseconds.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from confsync.ports import ConfigStore

T = TypeVar("T")

SMALL = 200
"""Servers that are typed, judged, rendered or compared within about a millisecond."""
QUICK = 0.005
"""Seconds of work that the loop may be kept from all else."""
LITTLE = 1_000_000
"""Characters that are read or written, without waiting for the disk, within about a millisecond."""


class Work:
    """One kind of pure work, of which most remembers what it did: only what is new costs.

    It is done on the loop while little is new and it took little time of late.
    """

    def __init__(self, *, known: bool = True) -> None:
        """Without `known` the first time is in a thread, however little there is."""
        self._took = 0.0 if known else float("inf")

    async def __call__(self, fresh: int, function: Callable[[], T]) -> T:
        """Call a function. `fresh`: servers that are not as they were the last time."""

        def timed() -> T:
            begin = time.thread_time()  # a busy machine makes no work of it
            try:
                return function()
            finally:
                self._took = time.thread_time() - begin

        if fresh <= SMALL and self._took <= QUICK:
            return timed()
        return await asyncio.to_thread(timed)


async def touch(store: ConfigStore, size: int, function: Callable[[], T]) -> T:
    """Read or write `size` characters of a store; in a thread when it is much, or far."""
    if store.near and size <= LITTLE:
        return function()
    return await asyncio.to_thread(function)
