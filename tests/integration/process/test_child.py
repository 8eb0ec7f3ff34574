import asyncio
import sys
import time
from pathlib import Path

import pytest

from confsync.adapters.process import child

BOUND = 20.0


async def test_all_that_it_said_and_its_exit_code() -> None:
    code, said = await child.run(["sh", "-c", "echo one; echo two >&2; exit 3"], timeout=BOUND)
    assert (code, said) == (3, "one\ntwo\n")


async def test_more_than_a_pipe_holds_arrives_whole() -> None:
    code, said = await child.run([sys.executable, "-c", "print('x' * 3_000_000)"], timeout=BOUND)
    assert (code, len(said)) == (0, 3_000_001)


async def test_a_signal_is_a_negative_exit_code() -> None:
    assert (await child.run(["sh", "-c", "kill -TERM $$"], timeout=BOUND))[0] == -15


async def test_environment_and_directory_are_those_given(tmp_path: Path) -> None:
    _, said = await child.run(
        ["/bin/sh", "-c", "pwd; echo $ONE"],
        environment={"ONE": "1"},
        directory=str(tmp_path),
        timeout=BOUND,
    )
    assert said == f"{tmp_path}\n1\n"


async def test_a_program_that_closes_its_output_early_is_waited_for() -> None:
    code, said = await child.run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 7"], timeout=BOUND)
    assert (code, said) == (7, "")


async def test_what_cannot_be_started_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        await child.run(["/nonexistent/program"], timeout=BOUND)


async def test_over_time_its_whole_group_ends(tmp_path: Path) -> None:
    # The program itself ends at once; a child of its own holds the pipe.
    script = f"sleep 60 & echo $! > {tmp_path}/pid"
    with pytest.raises(TimeoutError):
        await child.run(["sh", "-c", script], timeout=2)
    await _gone(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_caller_leaves_no_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with asyncio.TaskGroup() as group:
        script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60"
        task = group.create_task(child.run(["sh", "-c", script], timeout=BOUND))
        until = time.monotonic() + BOUND
        while not pid.exists() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        task.cancel()
    await _gone(int(pid.read_text()))


async def test_no_descriptor_is_left() -> None:
    await child.run(["true"], timeout=BOUND)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        await child.run(["true"], timeout=BOUND)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def _gone(pid: int) -> None:
    """Wait until a process is no more, or only a zombie that its own parent has to collect."""
    until = time.monotonic() + BOUND
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{pid} still runs")
