import asyncio
import threading

import pytest

from confsync.adapters.docker.workers import Workers


async def test_values_and_errors_come_back() -> None:
    workers = Workers()
    assert await workers.call(lambda: 42, 5) == 42
    with pytest.raises(ZeroDivisionError):
        await workers.call(lambda: 1 // 0, 5)


async def test_the_loop_goes_on_meanwhile() -> None:
    release = threading.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Workers().call(lambda: release.wait(5), 5))
        await asyncio.sleep(0)
        release.set()
    assert task.result() is True


async def test_what_is_late_is_given_up_and_keeps_its_slot_until_it_ends() -> None:
    workers = Workers(most=1)
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await workers.call(lambda: release.wait(5), 0.01)
    with pytest.raises(TimeoutError):
        await workers.call(lambda: 1, 0.01)
    release.set()
    assert await workers.call(lambda: 2, 5) == 2


async def test_no_more_than_so_many_at_once() -> None:
    workers, lock = Workers(most=2), threading.Lock()
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.02)
        with lock:
            running -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(workers.call(work, 5))
    assert most == 2


@pytest.mark.parametrize("whole", [False, True])
async def test_a_cancellation_waits_for_the_work_only_when_asked(whole: bool) -> None:
    started, release, done = threading.Event(), threading.Event(), []

    def work() -> None:
        started.set()
        release.wait(5)
        done.append(1)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(Workers().call(work, 5, whole=whole))
        await asyncio.to_thread(started.wait, 5)
        task.cancel()
        await asyncio.sleep(0.05)
        assert task.done() is not whole
        release.set()
    assert task.cancelled()
    if whole:
        assert done == [1]
