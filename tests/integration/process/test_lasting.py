"""Programs that run for long: what they write is bounded, what they leave behind ends."""

import asyncio
import os
import signal
from pathlib import Path

from confsync.adapters.process import lasting
from tests.support.process import alive


async def run(script: str, told: list[str]) -> lasting.Lasting:
    return await lasting.start(
        ["sh", "-c", script], environment={"PATH": os.environ["PATH"]}, tell=told.append
    )


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_each_line_is_told_the_last_one_without_an_end_too() -> None:
    told: list[str] = []
    process = await run("echo one; echo; echo two >&2; printf three; exit 3", told)
    assert await process.wait() == 3
    process.close()
    assert told == ["one", "two", "three"]


async def test_a_line_without_an_end_is_told_in_parts() -> None:
    told: list[str] = []
    process = await run("head -c 100000 /dev/zero | tr '\\0' x", told)
    assert await process.wait() == 0
    process.close()
    assert "".join(told) == "x" * 100_000
    assert max(map(len, told)) <= 4096
    assert len(process.words) <= 20


async def test_a_flood_leaves_others_their_turn_and_ends_with_its_writer() -> None:
    told: list[str] = []
    process = await run("yes", told)
    turns = 0
    async with asyncio.timeout(30):
        while len(told) < 200_000:
            await asyncio.sleep(0)
            turns += 1
    assert turns > 1
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    process.close()


async def test_who_closes_its_output_is_waited_for_and_costs_no_descriptor() -> None:
    before = descriptors()
    for _ in range(20):
        process = await run("exec >&- 2>&-; exit 7", [])
        assert await process.wait() == 7
        process.kill()
        process.close()
    assert descriptors() == before


async def test_what_it_left_behind_ends_with_its_group() -> None:
    told: list[str] = []
    process = await run("sleep 100 & echo $!; exit 0", told)
    assert await process.wait() == 0
    (pid,) = map(int, told)
    assert alive(pid)
    process.kill()
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.01)
    process.close()
