"""The loop that waits for no clock: what waits ends in its order, and threads are waited for."""

import asyncio
import threading
import time

import pytest

pytestmark = pytest.mark.fast_clock

DAY = 86_400.0


async def test_waits_end_in_their_order() -> None:
    ended: list[float] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    async with asyncio.TaskGroup() as group:
        for days in (3, 1, 2):
            group.create_task(wait(days * DAY))
    assert ended == [DAY, 2 * DAY, 3 * DAY]


async def test_all_clocks_tell_the_same() -> None:
    clocks = (asyncio.get_running_loop().time, time.monotonic, time.time)
    before = [clock() for clock in clocks]
    await asyncio.sleep(DAY)
    assert [round(clock() - b) for clock, b in zip(clocks, before, strict=True)] == [DAY] * 3


async def test_no_wait_is_over_before_a_thread() -> None:
    async with asyncio.timeout(DAY):
        assert await asyncio.to_thread(lambda: threading.Event().wait(0.02)) is False


async def test_no_wait_is_over_before_a_thread_of_ones_own() -> None:
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    go = threading.Event()

    def work() -> None:
        go.wait(5)
        loop.call_soon_threadsafe(told.set_result, "done")

    threading.Thread(target=work).start()
    loop.call_soon(go.set)
    async with asyncio.timeout(DAY):
        assert await told == "done"


async def test_a_thread_that_ends_without_a_word_holds_nobody_up() -> None:
    threading.Thread(target=time.sleep, args=(0.05,)).start()
    async with asyncio.timeout(2 * DAY):
        await asyncio.sleep(DAY)


async def test_a_moment_passes_though_others_work() -> None:
    """The loop calls what is due within its resolution: the clock must get there as well."""
    over = asyncio.Event()

    async def work() -> None:
        while not over.is_set():
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        until, rounds = time.monotonic() + 1e-10, 0
        while time.monotonic() < until and rounds < 5:
            await asyncio.sleep(until - time.monotonic())
            rounds += 1
        over.set()
    assert 0 < rounds < 5


async def test_who_waits_too_long_is_told() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(DAY):
            await asyncio.Event().wait()
