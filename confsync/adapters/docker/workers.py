"""Blocking calls off the event loop, in threads that nothing waits for.

Not asyncio.to_thread: its threads are joined when the program ends, so that an engine that hangs
would keep confsync from ending, and its pool is everybody's.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """At most `most` calls at once, each in a thread of its own (0.1 ms to make one)."""

    def __init__(self, most: int = 4) -> None:
        self._slots = asyncio.Semaphore(most)

    async def call(self, work: Callable[[], T], seconds: float, *, whole: bool = False) -> T:
        """Return what `work` returns or raise what it raises, within `seconds` (TimeoutError).

        Nobody can end a thread: what is late or cancelled goes on, unheard, and keeps its slot.
        `whole`: a cancellation is delivered only when the work has ended or is late.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        async with asyncio.timeout(seconds):
            await self._slots.acquire()
            thread = threading.Thread(
                target=self._work, args=(work, done, loop), name="docker", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                self._slots.release()
                raise
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                if whole and not done.done():
                    await asyncio.wait([done], timeout=seconds)
                raise
            finally:
                done.cancel()

    def _work(
        self, work: Callable[[], T], done: asyncio.Future[T], loop: asyncio.AbstractEventLoop
    ) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = work()
        except BaseException as caught:  # noqa: BLE001 - handed to who waits, whatever it is
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has closed: confsync ends
            loop.call_soon_threadsafe(self._ended, done, value, error)

    def _ended(self, done: asyncio.Future[T], value: T, error: BaseException | None) -> None:
        self._slots.release()
        if done.done():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)
