"""Agent and client over a real socket: commands, hostile bytes, a dead agent's socket, long paths."""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync import errors
from confsync.adapters.control import client, server


async def echo(command: str, args: dict[str, object]) -> dict[str, object]:
    match command:
        case "echo":
            return {"ok": True, "args": args}
        case "refuse":
            raise errors.StateError("no\nway", remedy="another", detail="d")
        case "big":
            return {"ok": True, "text": "x" * 3_000_000}
        case _:
            raise errors.AgentUnreachable(f"unknown {command}")


@contextlib.asynccontextmanager
async def serving(path: Path, handle: server.Handle = echo) -> AsyncIterator[str]:
    task = asyncio.ensure_future(server.serve(str(path), handle))  # noqa: TID251 - a test's own
    try:
        while not path.exists():
            assert not task.done(), task.exception()
            await asyncio.sleep(0)
        yield str(path)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ask(path: str, command: str, **args: object) -> dict[str, object]:
    return await asyncio.to_thread(client.ask, path, command, args)


async def raw(path: str, data: bytes) -> bytes:
    """Send bytes and the end, and read all."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    with contextlib.suppress(OSError):
        await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_command_and_its_reply(tmp_path: Path) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        args = {"service": "wéb\n\x1b[2J\u2028\ud800", "n": [1, None]}
        assert await ask(path, "echo", **args) == {"ok": True, "args": args}


async def test_an_error_comes_back_as_a_reply(tmp_path: Path) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        assert await ask(path, "refuse") == {
            "ok": False,
            "error": "no\nway",
            "remedy": "another",
            "detail": "d",
            "exit_code": 73,
        }


async def test_a_bug_in_a_command_ends_the_server(tmp_path: Path) -> None:
    async def bug(command: str, args: dict[str, object]) -> dict[str, object]:
        raise ZeroDivisionError

    path = tmp_path / "agent.sock"
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the group comes out of the end
        async with serving(path, bug) as name:
            assert await raw(name, b'{"command": "x", "args": {}}\n') == b""
            while path.exists():
                await asyncio.sleep(0)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


async def test_a_big_reply(tmp_path: Path) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        assert len(str((await ask(path, "big"))["text"])) == 3_000_000


async def test_clients_do_not_wait_for_a_silent_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        silent = [await asyncio.open_unix_connection(path) for _ in range(server.AT_ONCE - 2)]
        replies = [await ask(path, "echo", n=n) for n in range(2 * server.AT_ONCE)]
        assert [reply["args"] for reply in replies] == [{"n": n} for n in range(2 * server.AT_ONCE)]
        for _, writer in silent:
            writer.close()


async def test_two_clients_at_once(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def meet(command: str, args: dict[str, object]) -> dict[str, object]:
        await both.wait()
        return {"ok": True, "command": command}

    async with serving(tmp_path / "agent.sock", meet) as path, asyncio.TaskGroup() as group:
        first, second = group.create_task(ask(path, "a")), group.create_task(ask(path, "b"))
    assert [first.result()["command"], second.result()["command"]] == ["a", "b"]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\n",
        b"\xff\xfe\n",
        b"null\n",
        b"[]\n",
        b'{"command": "echo"}\n',
        b'{"command": 1, "args": {}}\n',
        b'{"command": "echo", "args": []}\n',
        b'{"command": "echo", "args": {}, "more": 1}\n',
        b'{"command": "echo", "args": {}}',
        b'{"command": "echo", "args": {}}\n{"command": "echo", "args": {}}\n',
        b"[" * 60_000 + b"\n",
        b"x" * (server.LONGEST_REQUEST + 10) + b"\n",
    ],
    ids=lambda data: repr(data[:24]),
)
async def test_nonsense_is_refused_and_the_server_lives(tmp_path: Path, request_: bytes) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        reply = json.loads(await raw(path, request_))
        assert (reply["ok"], reply["exit_code"]) == (False, 2)
        assert (await ask(path, "echo"))["ok"] is True


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes(blobs: list[bytes]) -> None:
    async def talk() -> None:
        folder = Path(f"/tmp/confsync-test-{os.getpid()}")
        folder.mkdir(exist_ok=True)
        async with serving(folder / "agent.sock") as path:
            for blob in blobs:
                reply = json.loads(await raw(path, blob))
                assert reply["ok"] is False
            assert (await ask(path, "echo"))["ok"] is True
        folder.rmdir()

    asyncio.run(talk())


async def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(tmp_path / "agent.sock") as path:
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    finally:
        os.umask(before)


async def test_the_socket_goes_with_the_agent(tmp_path: Path) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        assert Path(path).exists()
    assert not Path(path).exists()


async def test_a_dead_agents_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = server.listen(str(path))
    try:
        assert await asyncio.to_thread(_connects, path)
    finally:
        listener.close()


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def test_a_living_agents_socket_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "agent.sock") as path:
        with pytest.raises(errors.Locked) as caught:
            server.listen(path)
        assert caught.value.exit_code == 75
        assert (await ask(path, "echo"))["ok"] is True


def test_a_busy_agents_socket_is_not(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(path))
        with pytest.raises(errors.Locked):
            server.listen(str(path))


def test_a_file_in_its_place_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    path.write_text("mine")
    with pytest.raises(errors.StateError, match="is no socket"):
        server.listen(str(path))
    assert path.read_text() == "mine"


def test_no_state_directory(tmp_path: Path) -> None:
    with pytest.raises(errors.StateError, match="No such file"):
        server.listen(str(tmp_path / "no" / "agent.sock"))


async def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120) / ("é" * 60)
    folder.mkdir(parents=True)
    path = folder / "agent.sock"
    async with serving(path) as name:
        assert (await ask(name, "echo"))["ok"] is True
        with pytest.raises(errors.Locked):
            server.listen(name)
    assert not path.exists()
    with pytest.raises(errors.AgentUnreachable):
        client.ask(name, "echo")


def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with pytest.raises(errors.AgentUnreachable) as caught:
        client.ask(str(path), "status")
    assert caught.value.exit_code == 69
    assert "confsync run" in caught.value.remedy
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(errors.AgentUnreachable, match="refused"):
        client.ask(str(path), "status")


def test_an_agent_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen()
        with pytest.raises(errors.AgentUnreachable, match=r"did not answer within 0\.05 s"):
            client.ask(str(path), "status", timeout=0.05)


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n", b"\xff\n", b"[" * 60_000 + b"\n"])
async def test_something_else_answers(tmp_path: Path, answer: bytes) -> None:
    path = str(tmp_path / "agent.sock")

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(other, path):
        with pytest.raises(errors.AgentUnreachable, match="no agent of this version"):
            await asyncio.to_thread(client.ask, path, "status")
