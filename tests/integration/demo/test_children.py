"""Children end, whatever they do, and their output is kept for the error."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from confsync import errors
from confsync.demo import children, programs, registry


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


STUBBORN = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(os.getpid(), 'here', flush=True);"
    "time.sleep(60)"
)


def runs(pid: int) -> bool:
    """Say whether a process runs; one that ended but that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_program_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(errors.TargetUnavailable, match="cannot start x: /nowhere"):
        await children.Program.start("x", ["/nowhere"], folder=tmp_path)


async def test_a_consul_that_cannot_start_says_so(tmp_path: Path) -> None:
    def guard(child: children.Program) -> None:
        raise AssertionError(child.name)

    program = programs.Program(path="/nowhere/consul", version="1.8.7")
    consul = registry.Consul(program, tmp_path, guard, ports=(1, 2, 3, 4))
    with pytest.raises(errors.TargetUnavailable, match="/nowhere/consul"):
        await consul.start()


async def test_an_unexpected_end_is_told_with_the_last_words(tmp_path: Path) -> None:
    argv = python("print('port taken'); raise SystemExit(3)")
    program = await children.Program.start("haproxy", argv, folder=tmp_path)
    with pytest.raises(errors.TargetUnavailable, match=r"haproxy ended by itself \(exit 3\)") as e:
        await program.guard()
    assert e.value.detail == "port taken"
    assert program.ended


async def test_a_signal_is_named(tmp_path: Path) -> None:
    argv = python("import os; os.kill(os.getpid(), 9)")
    program = await children.Program.start("haproxy", argv, folder=tmp_path)
    with pytest.raises(errors.TargetUnavailable, match="signal 9"):
        await program.guard()


async def test_a_meant_end_is_no_alarm(tmp_path: Path) -> None:
    program = await children.Program.start(
        "x", python("import time; time.sleep(60)"), folder=tmp_path
    )
    async with asyncio.TaskGroup() as group:
        guard = group.create_task(program.guard())
        await program.stop()
        assert program.ended
        for _ in range(5):
            await asyncio.sleep(0)
        assert not guard.done()
        guard.cancel()


async def told(program: children.Program) -> int:
    """Wait for the pid that STUBBORN prints."""
    async with asyncio.timeout(20):
        while "here" not in program.tail():
            await asyncio.sleep(0.01)
    return int(program.tail().split()[0])


async def test_term_first_then_kill(tmp_path: Path) -> None:
    program = await children.Program.start("x", python(STUBBORN), folder=tmp_path)
    assert await told(program) == program.pid
    await program.stop(grace=0.05)
    assert program.code == -signal.SIGKILL


async def test_a_killed_child_takes_its_own_along(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {STUBBORN!r}])"
    program = await children.Program.start("x", python(code), folder=tmp_path)
    grandchild = await told(program)
    assert runs(grandchild)
    await program.kill()
    async with asyncio.timeout(20):
        while runs(grandchild):
            await asyncio.sleep(0.01)
    assert program.code == -signal.SIGKILL


async def test_a_worker_hears_and_tells(tmp_path: Path) -> None:
    worker = await children.Worker.start("backends", "confsync.demo.backends", folder=tmp_path)
    heard: list[children.Message] = []
    worker.send({"do": "open", "name": "web-1"})
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        events = group.create_task(worker.events(heard.append))
        while not heard:
            await asyncio.sleep(0.01)
        worker.finish()
        await events
    assert heard[0]["name"] == "web-1"
    assert heard[0]["port"] > 0
    await worker.stop()


async def test_a_worker_that_breaks_is_told(tmp_path: Path) -> None:
    worker = await children.Worker.start("backends", "confsync.demo.backends", folder=tmp_path)
    worker.send({"do": "nonsense", "name": "x"})
    async with asyncio.timeout(20):
        with pytest.raises(errors.TargetUnavailable, match="the demo's backends ended") as caught:
            await worker.events(lambda _: None)
    assert "ValueError: nonsense" in caught.value.detail
    worker.send({"do": "open", "name": "x"})
    await worker.stop()
