"""The target against real HAProxies: reloads that load, fail and are lost; sockets kept from us."""

import asyncio
import contextlib
import dataclasses
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.domain.running import Observed
from tests.support import machine
from tests.support.haproxy import Haproxy, simple_config
from tests.support.process import wait_until


def options(haproxy: Haproxy) -> SocketOptions:
    return SocketOptions(
        config=str(haproxy.cfg),
        master_socket=str(haproxy.master_socket),
        stats_socket=str(haproxy.admin_socket),
        binary=haproxy.binary,
    )


@pytest.fixture
def config(haproxy: Haproxy) -> str:
    """A good configuration, put in place; the HAProxy is started."""
    text = simple_config(haproxy, port=machine.free_port(), servers=[1, 2])
    haproxy.cfg.write_text(text)
    haproxy.start()
    # 3.2 lists a worker before that one has bound anything.
    wait_until(haproxy.admin_socket.exists, "the admin socket")
    return text


@pytest.fixture
def target(haproxy: Haproxy, config: str) -> SocketTarget:
    return SocketTarget(options(haproxy))


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port that another process listens on, so that a bind to it fails though `-c` passes."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def with_bind(config: str, port: int) -> str:
    return config.replace("  default_backend", f"  bind 127.0.0.1:{port}\n  default_backend", 1)


@contextlib.asynccontextmanager
async def held_request(config: str) -> AsyncIterator[None]:
    """Keep a connection with half a request, so that the worker that has it lives on."""
    port = int(config.partition("bind 127.0.0.1:")[2].split()[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    await writer.drain()
    try:
        yield
    finally:
        writer.close()


async def until(target: SocketTarget, what: str, wanted: object) -> Observed:
    async with asyncio.timeout(20):
        while getattr(observed := await target.observe(), what) != wanted:
            await asyncio.sleep(0.02)
    return observed


async def test_twenty_reloads_each_confirmed(target: SocketTarget, haproxy: Haproxy) -> None:
    seen = await target.observe()
    pids = {seen.worker_pid}
    for n in range(1, 21):
        seen = await target.reload(seen)
        assert seen.reloads == n
        assert seen.failed == 0
        assert seen.worker_pid not in pids
        assert seen.worker_pid == haproxy.worker_pid()
        pids.add(seen.worker_pid)
    assert haproxy.reloads() == 20


async def test_what_is_loaded_is_what_was_on_disk(
    target: SocketTarget, haproxy: Haproxy, config: str
) -> None:
    haproxy.cfg.write_text(config.replace("127.0.0.1:2\n", "127.0.0.1:3\n"))
    await target.reload(await target.observe())
    assert [s.port for s in await target.servers()] == [1, 3]


async def test_a_failing_reload_leaves_the_old_worker_and_the_next_good_one_is_confirmed(
    target: SocketTarget, haproxy: Haproxy, config: str, haproxy_version: str
) -> None:
    before = await target.reload(await target.observe())
    with taken_port() as port:
        haproxy.cfg.write_text(with_bind(config, port))
        assert await target.check(str(haproxy.cfg), None) == ()
        with pytest.raises(errors.ReloadFailed) as caught:
            await target.reload(before)
        if haproxy_version == "2.6":
            assert "only in its own log" in caught.value.remedy
        else:
            assert f"127.0.0.1:{port}" in caught.value.detail
            assert "cannot bind socket" in str(caught.value)
        after = await target.observe()
        assert after.same_worker(before)
        assert after.failed == 1
        assert not after.loading
        assert after.old_workers == ()
        with pytest.raises(errors.ReloadFailed):  # and again, from the state that this left
            await target.reload(after)
        assert (await target.observe()).same_worker(before)
    haproxy.cfg.write_text(config)
    good = await target.reload(await target.observe())
    assert not good.same_worker(before)
    assert good.failed == 0


async def test_old_workers_are_seen_while_they_serve(
    target: SocketTarget, haproxy: Haproxy, config: str
) -> None:
    before = await target.observe()
    async with held_request(config):
        after = await target.reload(before)
        assert [w.pid for w in after.old_workers] == [before.worker_pid]


async def test_a_reload_by_somebody_else_is_noticed(target: SocketTarget, haproxy: Haproxy) -> None:
    before = await target.observe()
    haproxy.reload_by_other()
    async with asyncio.timeout(20):
        while (after := await target.observe()).loading or after.same_worker(before):
            await asyncio.sleep(0.02)
    assert after.reloads == before.reloads + 1


async def test_a_reload_in_the_midst_of_anothers_does_not_overlap(
    target: SocketTarget, haproxy: Haproxy
) -> None:
    before = await target.observe()
    haproxy.reload_by_other()
    after = await target.reload(before)
    assert after.failed == 0
    assert after.reloads in {before.reloads + 1, before.reloads + 2}
    assert after.worker_pid == haproxy.worker_pid() != before.worker_pid


async def test_a_cancelled_reload_is_not_overlapped_by_the_next(
    target: SocketTarget, haproxy: Haproxy
) -> None:
    seen = await target.observe()
    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            cut = group.create_task(target.reload(seen))
            await asyncio.sleep(0.004)  # somewhere in it: any place will do
            cut.cancel()
        seen = await target.reload(seen)
        assert seen.worker_pid == haproxy.worker_pid()
        assert seen.failed == 0


async def test_a_restart_by_somebody_else_is_noticed(
    target: SocketTarget, haproxy: Haproxy
) -> None:
    before = await target.reload(await target.observe())
    haproxy.stop()
    gone = await until(target, "running", False)
    assert str(haproxy.master_socket) in gone.why
    haproxy.start()
    again = await until(target, "running", True)
    assert not again.same_worker(before)
    assert again.reloads == 0
    assert (await target.reload(again)).reloads == 1


async def test_an_ended_haproxy_is_neither_started_nor_waited_for(
    target: SocketTarget, haproxy: Haproxy
) -> None:
    before = await target.observe()
    haproxy.kill9()
    await until(target, "running", False)
    one = SocketTarget(dataclasses.replace(options(haproxy), timeout=0.3))
    with pytest.raises(errors.TargetError):
        await one.reload(before)
    assert not haproxy.running


async def test_without_the_stats_socket_all_goes_through_the_master(
    haproxy: Haproxy, config: str
) -> None:
    haproxy.stop()
    bare = "".join(x for x in config.splitlines(keepends=True) if "stats socket" not in x)
    haproxy.cfg.write_text(bare)
    haproxy.admin_socket.unlink(missing_ok=True)
    haproxy.start()
    target = SocketTarget(options(haproxy))
    seen = await target.observe()
    assert f"stats socket {haproxy.admin_socket}" in seen.notes[0]
    for n in range(1, 4):
        seen = await target.reload(seen)
        assert seen.reloads == n
        assert not seen.loading
    assert [s.server for s in await target.servers()] == ["s1", "s2"]


async def test_without_the_master_socket_it_runs_but_cannot_be_reloaded(
    haproxy: Haproxy, config: str
) -> None:
    one = dataclasses.replace(options(haproxy), master_socket=f"{haproxy.run}/none.sock")
    target = SocketTarget(one)
    seen = await target.observe()
    assert (seen.running, seen.master, seen.worker_pid) == (True, False, haproxy.worker_pid())
    with pytest.raises(errors.TargetUnavailable, match="no socket"):
        await target.ready(seen)
    with pytest.raises(errors.TargetUnavailable, match="no socket"):
        await target.reload(seen)
    assert haproxy.reloads() == 0


AS_NOBODY = """
import asyncio, os, sys
from confsync import errors
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
os.setgroups([])
os.setgid({group})
os.setuid({user})
target = SocketTarget(SocketOptions(master_socket=sys.argv[1], stats_socket=sys.argv[2], timeout=3))
async def main():
    try:
        seen = await target.observe()
        print("running", seen.running, seen.master, *seen.notes, sep="|")
        await target.reload(seen)
    except errors.TargetError as error:
        print(type(error).__name__, error, sep="|")
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
@pytest.mark.parametrize("stats_too", [False, True])
async def test_sockets_that_this_user_may_not_use_are_told(
    haproxy: Haproxy, config: str, stats_too: bool
) -> None:
    haproxy.directory.parent.chmod(0o755)
    haproxy.admin_socket.chmod(0o600 if stats_too else 0o666)
    nobody = pwd.getpwnam("nobody")

    # The checkout and its Python may lie where only root may look: import, then become nobody.
    script = AS_NOBODY.format(user=nobody.pw_uid, group=nobody.pw_gid)
    done = subprocess.run(
        [sys.executable, "-c", script, str(haproxy.master_socket), str(haproxy.admin_socket)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert lines[-1].startswith("TargetDenied|")
    assert f"-S {haproxy.master_socket},mode,660,group,GROUP" in lines[-1]
    if not stats_too:
        assert lines[0].startswith("running|True|False|reloads have no proof")
    assert haproxy.reloads() == 0
