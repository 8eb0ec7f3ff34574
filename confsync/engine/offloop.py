"""Pure work off the event loop where it is large, and on it where a thread would cost more.

Handing work to a thread and back takes some 0.2 ms on the way of a change; a thousand servers take
the loop for tens of milliseconds.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from confsync.ports import ConfigStore

T = TypeVar("T")

SMALL = 200
"""Servers that are typed, judged or compared within about a millisecond."""
LITTLE = 100_000
"""Characters that are read or written, without waiting for the disk, within about a millisecond."""


async def work(servers: int, function: Callable[[], T]) -> T:
    """Call a pure function, in a thread when it is about many servers."""
    return function() if servers <= SMALL else await asyncio.to_thread(function)


async def touch(store: ConfigStore, size: int, function: Callable[[], T]) -> T:
    """Read or write `size` characters of a store; in a thread when it is much, or far."""
    if store.near and size <= LITTLE:
        return function()
    return await asyncio.to_thread(function)
