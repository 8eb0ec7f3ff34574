"""The bridge in real containers: HAProxy's sockets, its check, restarts, and no leftovers."""

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.options import DockerOptions
from tests.support.engine import Box, docker
from tests.support.process import Process, wait_until

MASTER, STATS, CFG = "/run/master.sock", "/run/admin.sock", "/etc/haproxy/haproxy.cfg"
CONFIG = f"""\
global
  stats socket {STATS} mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend in
  bind 127.0.0.1:8080
"""
IMAGES = {"2.6": "systemd", "3.0": "3.0", "3.2": "3.2"}


def haproxy(version: str) -> Box:
    start = (
        f"until [ -s {CFG}.new ]; do sleep 0.02; done; exec haproxy -W -db -S {MASTER} -f {CFG}.new"
    )
    box = Box("sh", "-c", start, version=IMAGES[version], options=("--network", "none"))
    try:
        box.write(f"{CFG}.new", CONFIG)
        for each in (STATS, MASTER):
            box.wait(lambda e=each: docker("exec", box.id, "ls", e, check=False), "HAProxy")  # type: ignore[misc]
    except BaseException:
        box.close()
        raise
    return box


@pytest.fixture(scope="module", params=list(IMAGES))
def running(request: pytest.FixtureRequest) -> Iterator[Box]:
    with haproxy(request.param) as box:
        yield box


@pytest.fixture
def engine() -> Iterator[Engine]:
    one = Engine(DockerOptions(container="lb"))
    yield one
    one.close()


@pytest.fixture
async def bridge(engine: Engine) -> AsyncIterator[Bridge]:
    one = Bridge(engine)
    yield one
    one.close()


def helpers(box: Box) -> list[str]:
    return [each for each in box.processes() if "confsync-bridge" in each or "perl" in each]


def no_helper(box: Box) -> None:
    wait_until(lambda: not helpers(box), "the end of the bridge's inner half")


async def test_both_sockets_and_the_check_through_one_way(
    engine: Engine, bridge: Bridge, running: Box
) -> None:
    no_helper(running)
    bridge.use(await engine.find(running.name))
    info = await bridge.exchange(STATS, b"show info\n", half_close=False, timeout=10)
    pid = re.search(rb"^Pid: (\d+)$", info, re.MULTILINE)
    assert pid is not None
    processes = await bridge.exchange(MASTER, b"show proc\n", half_close=True, timeout=10)
    assert re.search(rb"^%b +worker " % pid[1], processes, re.MULTILINE)
    code, said = await bridge.run(["haproxy", "-c", "-f", f"{CFG}.new"], timeout=20)
    assert code == 0, said
    code, said = await bridge.run(["haproxy", "-c", "-f", "/etc/passwd"], timeout=20)
    assert code == 1
    assert b"unknown keyword 'root:x:0:0:root:/root:/bin/" in said
    assert len(helpers(running)) == 1
    bridge.close()
    await asyncio.to_thread(no_helper, running)


async def test_a_reload_through_the_bridge_changes_the_worker(
    engine: Engine, bridge: Bridge, running: Box
) -> None:
    bridge.use(await engine.find(running.name))

    async def pid() -> bytes:
        info = await bridge.exchange(STATS, b"show info\n", half_close=False, timeout=10)
        found = re.search(rb"^Pid: (\d+)$", info, re.MULTILINE)
        assert found is not None
        return found[1]

    before = await pid()
    for _ in range(200):
        try:
            answer = await bridge.exchange(MASTER, b"reload\n", half_close=True, timeout=10)
            break
        except ConnectionError:  # the master is busy with itself
            await asyncio.sleep(0.05)
    else:
        raise AssertionError("the master's socket refuses")
    assert answer.startswith(b"Success=1") or answer == b""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError, EOFError):  # a worker that ends lets go of who came
                if await pid() != before:
                    break
            await asyncio.sleep(0.05)


async def test_the_same_bridge_leads_into_a_restarted_container(
    engine: Engine, bridge: Bridge
) -> None:
    with Box() as box:
        bridge.use(await engine.find(box.name))
        assert await bridge.run(["hostname"], timeout=10) == (0, f"{box.id[:12]}\n".encode())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_fails(bridge))
            await asyncio.to_thread(wait_until, lambda: _sleeps(box), "the command")
            await asyncio.to_thread(docker, "restart", "-t", "1", box.id)
        assert "broke" in task.result()
        # Its own run of the container is over: the old one's bridge finds nothing to be open in.
        bridge.use(await engine.find(box.name))
        assert await bridge.run(["hostname"], timeout=10) == (0, f"{box.id[:12]}\n".encode())
        await asyncio.to_thread(docker, "stop", "-t", "1", box.id)
        with pytest.raises(errors.TargetUnavailable, match="is not running"):
            await bridge.run(["true"], timeout=10)
        assert bridge.available


async def _fails(bridge: Bridge) -> str:
    with pytest.raises(errors.TargetUnavailable) as caught:
        await bridge.run(["sleep", "600"], timeout=600)
    return caught.value.what


async def test_a_paused_container_is_late_and_then_served_again(
    engine: Engine, bridge: Bridge
) -> None:
    with Box() as box:
        bridge.use(await engine.find(box.name))
        assert await bridge.run(["true"], timeout=10) == (0, b"")
        docker("pause", box.id)
        with pytest.raises(TimeoutError):
            await bridge.exchange("/none", b"x", half_close=False, timeout=0.5)
        docker("unpause", box.id)
        assert await bridge.run(["echo", "back"], timeout=10) == (0, b"back\n")


async def test_without_perl_it_is_said_and_exec_still_works(engine: Engine, bridge: Bridge) -> None:
    with Box() as box:
        box.exec("mv", "/usr/bin/perl", "/usr/bin/none")
        found = await engine.find(box.name)
        bridge.use(found)
        for _ in range(2):
            with pytest.raises(errors.TargetUnavailable, match="there is no perl in it"):
                await bridge.run(["true"], timeout=10)
        assert not bridge.available
        assert await engine.run(found.id, ["echo", "slowly"], timeout=20) == (0, b"slowly\n")
        docker("restart", "-t", "1", box.id)
        bridge.use(await engine.find(box.name))
        assert bridge.available


def _sleeps(box: Box) -> bool:
    return any("sleep 600" in each for each in box.processes())


HOLDS = """
import asyncio, sys
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.options import DockerOptions
async def main():
    engine = Engine(DockerOptions(container="x"))
    bridge = Bridge(engine)
    bridge.use(await engine.find(sys.argv[1]))
    print(await bridge.run(["echo", "open"], timeout=10), flush=True)
    await bridge.run(["sleep", "600"], timeout=900)
asyncio.run(main())
"""


async def test_nothing_stays_in_the_container_after_a_kill_9(tmp_short: Path) -> None:
    with Box() as box:
        holder = Process([sys.executable, "-c", HOLDS, box.name], log=tmp_short / "log")
        try:
            wait_until(lambda: _sleeps(box), "the command")
            assert len(helpers(box)) == 1
        finally:
            holder.kill9()
        no_helper(box)
        wait_until(lambda: not _sleeps(box), "the end of the command")


def test_the_wheel_has_the_inner_half(tmp_short: Path) -> None:
    argv = ["scripts/uv", "build", "--wheel", "--quiet", "--out-dir", str(tmp_short)]
    subprocess.run(argv, check=True)
    (wheel,) = tmp_short.glob("*.whl")
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "confsync/adapters/docker/bridge.pl" in names.stdout
