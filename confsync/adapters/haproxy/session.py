"""A conversation with one HAProxy worker over its stats socket: many commands, each with its answer.

In a `prompt` session HAProxy ends each answer with a prompt, so that answers cannot be taken for one
another; `;` chains have no such mark (2.6 leaves out the empty line after some, measured), and 3.2
refuses a long one as a whole. A connection stays with the worker that took it: what `begin` was told
of the worker holds for all that is asked after it. Behind a wire each exchange is a connection of its
own, so that each asks the pid anew.
Source: management.txt 9.3, `prompt`; tried on 2.6, 2.8, 3.0 and 3.2.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Protocol, Self

from confsync import errors
from confsync.adapters.haproxy import cli, show
from confsync.ports import Wire

_PROMPT = b"\n> "
_MOST_BYTES = 64_000
"""Bytes sent before answers are read: HAProxy stops reading when nobody takes its answers."""
_MOST_COMMANDS = 1_000


class OtherWorker(errors.TargetUnavailable):
    """Another worker answers than the one that was asked for; it has been told nothing."""


class Session(Protocol):
    """Commands to one worker. An answer has no line's end behind it."""

    info: show.Info

    async def ask(self, *commands: str, timeout: float = 5.0) -> tuple[str, ...]:  # noqa: ASYNC109
        """Say commands in order and return their answers; a payload follows its command's line.

        Raises cli.NoReply, TargetUnavailable: what became of the commands is not known.
        """


@contextlib.asynccontextmanager
async def begin(path: str, pid: int, *, wire: Wire | None = None) -> AsyncIterator[Session]:
    """Begin a conversation with the worker `pid` (0: whoever answers).

    Raises OtherWorker also when that worker is about to end; and what cli.Socket.ask raises.
    """
    if wire is not None:
        yield await _Wired(cli.Socket(path, wire=wire), pid).begun()
        return
    with cli.unix_socket(path) as sock:
        yield await _Local(cli.Socket(path), sock).begun(pid)


class _Local:
    """One connection, kept for the whole conversation."""

    info: show.Info

    def __init__(self, stats: cli.Socket, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._stats = stats
        self._socket = sock

    async def begun(self, pid: int) -> Self:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(self._socket, self._stats.path)
        except OSError as error:
            raise self._stats.explained(error) from error
        _, answer = await self.ask("prompt", "show info")
        self.info = _of(answer, pid, self._stats.path)
        return self

    async def ask(self, *commands: str, timeout: float = 5.0) -> tuple[str, ...]:  # noqa: ASYNC109
        found: list[str] = []
        try:
            async with asyncio.timeout(timeout):
                for part in _parts(commands):
                    found += await self._ask(part)
        except TimeoutError as error:
            raise errors.TargetUnavailable(
                f"{self._stats.path} did not answer `{_shown(commands)}` within {timeout:g} s"
            ) from error
        return tuple(found)

    async def _ask(self, commands: tuple[str, ...]) -> list[str]:
        loop = asyncio.get_running_loop()
        answer = bytearray()
        ended = seen = 0
        try:
            await loop.sock_sendall(self._socket, _said(commands))
            while ended < len(commands) or not answer.endswith(_PROMPT):
                if not (piece := await loop.sock_recv(self._socket, 1 << 18)):
                    raise self._stats.cut(_shown(commands))
                answer += piece
                if len(answer) > cli.REPLY_LIMIT:
                    raise self._stats.too_long(_shown(commands))
                ended += answer.count(_PROMPT, max(seen - len(_PROMPT) + 1, 0))
                seen = len(answer)
        except OSError as error:
            raise self._stats.cut(_shown(commands)) from error
        return _answers(bytes(answer), commands, self._stats.path)


class _Wired:
    """An exchange for each question."""

    info: show.Info

    def __init__(self, stats: cli.Socket, pid: int) -> None:
        self._stats = stats
        self._pid = pid

    async def begun(self) -> Self:
        (answer,) = await self._exchange(("show info",), 5.0)
        self.info = _of(answer, self._pid, self._stats.path)
        self._pid = self.info.pid
        return self

    async def ask(self, *commands: str, timeout: float = 5.0) -> tuple[str, ...]:  # noqa: ASYNC109
        found: list[str] = []
        for part in _parts(commands):
            info, *answers = await self._exchange(("show info", *part), timeout)
            now = show.info(info)
            if now is None or now.pid != self._pid:
                raise cli.NoReply(f"{self._stats.path}: another worker answered meanwhile")
            found += answers
        return tuple(found)

    async def _exchange(self, commands: tuple[str, ...], timeout: float) -> list[str]:  # noqa: ASYNC109
        said = _said(("prompt", *commands, "quit"))
        answer = await self._stats.exchange(said, _shown(commands), timeout=timeout)
        return _answers(answer, ("prompt", *commands), self._stats.path)[1:]


def _of(answer: str, pid: int, path: str) -> show.Info:
    info = show.info(answer)
    if info is None:
        raise errors.TargetUnavailable(f"{path} does not answer `show info` as HAProxy does")
    if pid and info.pid != pid:
        raise OtherWorker(f"worker {info.pid} answers, and not {pid}")
    if pid and info.stopping:
        raise OtherWorker(f"worker {info.pid} is about to end")
    return info


def _parts(commands: tuple[str, ...]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    part: list[str] = []
    length = 0
    for command in commands:
        if part and (length + len(command) > _MOST_BYTES or len(part) >= _MOST_COMMANDS):
            found.append(tuple(part))
            part, length = [], 0
        part.append(command)
        length += len(command) + 1
    return [*found, tuple(part)] if part else found


def _said(commands: tuple[str, ...]) -> bytes:
    return ("\n".join(commands) + "\n").encode("utf-8", "surrogateescape")


def _shown(commands: tuple[str, ...]) -> str:
    first = commands[0].partition("\n")[0]
    return first if len(commands) == 1 else f"{first}; ... ({len(commands)} commands)"


def _answers(answer: bytes, commands: tuple[str, ...], path: str) -> list[str]:
    *found, rest = answer.split(_PROMPT)
    if len(found) != len(commands) or rest.strip():
        raise cli.NoReply(f"{path} gave {len(found)} answers to {len(commands)} commands")
    # Before 3.1 each line of a payload is answered with `+ `.
    return [
        (said.lstrip(b"+ ") if "\n" in command else said).decode("utf-8", "replace").rstrip("\n")
        for said, command in zip(found, commands, strict=True)
    ]
