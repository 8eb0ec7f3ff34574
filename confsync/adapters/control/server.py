"""The agent's side of the control socket. What a command means is not in here: see wiring.

Everybody who may open the socket may command the agent, so it is the owner's alone (mode 0600).
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable

from confsync import errors
from confsync.adapters.control import path as paths

Handle = Callable[[str, dict[str, object]], Awaitable[dict[str, object]]]

LONGEST_REQUEST = 65_536
AT_ONCE = 16
PATIENCE = 10.0
"""Seconds that a client may take to send its line, and again to read the reply."""


async def serve(path: str, handle: Handle) -> None:
    """Answer requests until cancelled, then remove the socket.

    Raises StateError when the socket cannot be made, Locked when another agent answers there. A
    ConfsyncError of `handle` becomes the reply; any other exception is a bug and passes through.
    """
    listener = listen(path)
    made = os.stat(path)  # noqa: PTH116 - one stat of a local file
    slots = asyncio.Semaphore(AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                connection = await _accepted(listener)
                task = group.create_task(_converse(connection, handle))
                task.add_done_callback(lambda _: slots.release())
    finally:
        listener.close()
        with contextlib.suppress(OSError):
            there = os.stat(path)  # noqa: PTH116
            # By now it may be the socket of the agent that follows.
            if (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino):
                os.unlink(path)  # noqa: PTH108


async def _accepted(listener: socket.socket) -> socket.socket:
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        except OSError:
            # Out of descriptors or memory (accept(2)); the client waits, and the agent must live.
            await asyncio.sleep(1)
        else:
            return connection


def listen(path: str) -> socket.socket:
    """Bind the socket; one that a dead agent left is replaced. Raises StateError, Locked."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        # Before bind, so that there is no moment at which others may connect (Linux gives the file
        # the mode of the descriptor).
        os.fchmod(listener.fileno(), 0o600)
        with paths.usable(path) as name:
            _clear(path, name)
            listener.bind(name)
        listener.listen(AT_ONCE)
    except OSError as error:
        listener.close()
        raise errors.StateError(
            f"cannot make the control socket {path}: {error.strerror or error}",
            remedy="the state directory must exist and be this user's",
        ) from error
    except errors.ConfsyncError:
        listener.close()
        raise
    return listener


def _clear(path: str, name: str) -> None:
    """Remove a dead agent's socket. Raises Locked when it is alive, StateError for anything else."""
    try:
        mode = os.lstat(name).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise errors.StateError(f"{path} is no socket", remedy="move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except BlockingIOError:
            pass  # its queue is full: somebody listens
        except ConnectionRefusedError:
            os.unlink(name)  # noqa: PTH108
            return
    raise errors.Locked(
        f"another agent answers on {path}",
        remedy="stop it, or give this one its own state.directory",
    )


async def _converse(connection: socket.socket, handle: Handle) -> None:
    # A client that goes away or dawdles is its own affair.
    with connection, contextlib.suppress(OSError, TimeoutError):
        connection.setblocking(False)
        async with asyncio.timeout(PATIENCE):
            line = await _line(connection)
        reply = await _reply(line, handle)
        text = json.dumps(reply, separators=(",", ":")) + "\n"
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(connection, text.encode("ascii"))


async def _line(connection: socket.socket) -> bytes:
    """Read up to a newline, the end, or more than a request may have."""
    loop = asyncio.get_running_loop()
    data = b""
    while b"\n" not in data and len(data) <= LONGEST_REQUEST:
        piece = await loop.sock_recv(connection, LONGEST_REQUEST)
        if not piece:
            break
        data += piece
    return data


async def _reply(data: bytes, handle: Handle) -> dict[str, object]:
    line, newline, rest = data.partition(b"\n")
    if not newline or rest or len(line) > LONGEST_REQUEST:
        return _no("a request is one line of at most 64 KiB")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return _no("the request is no JSON")
    match request:
        case {"command": str(command), "args": dict(args), **others} if not others:
            try:
                return await handle(command, args)
            except errors.ConfsyncError as error:
                return {
                    "ok": False,
                    "error": error.what,
                    "remedy": error.remedy,
                    "detail": error.detail,
                    "exit_code": error.exit_code,
                }
        case _:
            return _no('a request is {"command": TEXT, "args": {}}')


def _no(error: str) -> dict[str, object]:
    return {"ok": False, "error": error, "exit_code": 2}
