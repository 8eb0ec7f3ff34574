"""A conversation with one HAProxy worker over its stats socket: many commands, each with its answer.

In a `prompt` session HAProxy ends each answer with a prompt, so that answers cannot be taken for one
another; `;` chains have no such mark (2.6 leaves out the empty line after some, measured), and 3.2
refuses a long one as a whole. A connection stays with the worker that took it, here and behind a
wire: what `begin` was told of the worker holds for all that is asked after it.
Source: management.txt 9.3, `prompt`; tried on 2.6, 2.8, 3.0 and 3.2.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Protocol

from confsync import errors
from confsync.adapters.haproxy import cli, show
from confsync.domain.running import Observed
from confsync.ports import Conversation, Wire

_PROMPT = b"\n> "
_MOST_BYTES = 64_000
"""Bytes sent before answers are read: HAProxy stops reading when nobody takes its answers."""
_MOST_COMMANDS = 1_000
_FIRST = ("prompt", "show info")
_FRESH = 1.0
"""Seconds for which what was said ahead is gone on with: HAProxy ends a silent session after ten."""
_OPENING = 10.0
"""Seconds that a wire may take to be there."""
_CLOCKS = 2.0
"""Seconds by which two looks at a worker's start may differ."""


class OtherWorker(errors.TargetUnavailable):
    """Another worker answers than the one that was asked for; it has been told nothing."""


class Session(Protocol):
    """Commands to one worker. An answer has no line's end behind it."""

    info: show.Info

    async def ask(self, *commands: str, timeout: float = 5.0) -> tuple[str, ...]:  # noqa: ASYNC109
        """Say commands in order and return their answers; a payload follows its command's line.

        Raises cli.NoReply, TargetUnavailable: what became of the commands is not known.
        """


class Ahead:
    """The first words of a conversation over a local socket, said ahead.

    HAProxy answers while other work is done here, and the loop need not turn to anything else before
    the first change is said. Whatever fails is met again where the conversation begins.
    """

    def __init__(self, path: str) -> None:
        self._at = time.monotonic()
        self._socket: socket.socket | None = None
        with (
            contextlib.suppress(OSError, errors.TargetUnavailable),
            contextlib.ExitStack() as stack,
        ):
            sock = stack.enter_context(cli.unix_socket(path))
            sock.setblocking(False)
            sock.connect(path)
            if sock.send(_said(_FIRST)) == len(_said(_FIRST)):
                self._socket = sock
                stack.pop_all()

    def take(self) -> socket.socket | None:
        """Give the connection, once, unless it has become old."""
        if time.monotonic() - self._at > _FRESH:
            self.close()
        sock, self._socket = self._socket, None
        return sock

    def close(self) -> None:
        """Let go of what nobody took."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextlib.asynccontextmanager
async def begin(
    path: str, before: Observed | None, *, wire: Wire | None = None, ahead: Ahead | None = None
) -> AsyncIterator[Session]:
    """Begin a conversation with the worker that was observed (None: with whoever answers).

    `ahead`: its first words, if they are said. Raises OtherWorker also when that worker is about to
    end; and what cli.Socket.ask raises.
    """
    stats = cli.Socket(path, wire=wire)
    said = ahead.take() if ahead is not None else None
    line: Conversation
    if said is not None:
        line = _Local(said)
    else:
        line = await (_reached(stats, wire) if wire is not None else _local(stats))
    with contextlib.closing(line):
        talk = _Talk(stats, line, said=said is not None)
        _, answer = await talk.ask(*_FIRST)
        talk.info = _of(answer, before, path)
        yield talk


class _Local:
    """A connection to a socket of this host."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError as error:
            raise EOFError from error

    async def receive(self) -> bytes:
        try:
            return await self._loop.sock_recv(self._socket, 1 << 18)
        except OSError as error:
            raise EOFError from error

    def close(self) -> None:
        self._socket.close()


async def _local(stats: cli.Socket) -> Conversation:
    sock = cli.unix_socket(stats.path)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, stats.path)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise stats.explained(error) from error
        raise
    return _Local(sock)


async def _reached(stats: cli.Socket, wire: Wire) -> Conversation:
    try:
        async with asyncio.timeout(_OPENING):
            return await wire.connect(stats.path)
    except TimeoutError as error:  # an OSError as well
        raise errors.TargetUnavailable(f"no way to {stats.path} opens") from error
    except OSError as error:
        raise stats.explained(error) from error


class _Talk:
    """One connection, kept for the whole conversation."""

    info: show.Info

    def __init__(self, stats: cli.Socket, line: Conversation, *, said: bool = False) -> None:
        """`said`: what is asked first is said already."""
        self._stats = stats
        self._line = line
        self._said = said

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
        answer = bytearray()
        ended = seen = 0
        try:
            if not self._said:
                await self._line.send(_said(commands))
            self._said = False
            while ended < len(commands) or not answer.endswith(_PROMPT):
                if not (piece := await self._line.receive()):
                    raise self._stats.cut(_shown(commands))
                answer += piece
                if len(answer) > cli.REPLY_LIMIT:
                    raise self._stats.too_long(_shown(commands))
                ended += answer.count(_PROMPT, max(seen - len(_PROMPT) + 1, 0))
                seen = len(answer)
        except EOFError as error:
            raise self._stats.cut(_shown(commands)) from error
        except OSError as error:  # of a wire: nothing was sent
            raise self._stats.explained(error) from error
        return _answers(bytes(answer), commands, self._stats.path)


def _of(answer: str, before: Observed | None, path: str) -> show.Info:
    info = show.info(answer)
    if info is None:
        raise errors.TargetUnavailable(f"{path} does not answer `show info` as HAProxy does")
    if before is not None:
        if info.pid != before.worker_pid:
            raise OtherWorker(f"worker {info.pid} answers, and not {before.worker_pid}")
        started = info.started or time.time() - info.uptime
        if abs(started - before.worker_started) > _CLOCKS:
            raise OtherWorker(f"another worker {info.pid} answers than the one that was looked at")
    if info.stopping:
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
