"""What the two halves of the bridge say to each other, and one connection on which they do.

The inner half is bridge.pl, which has the protocol; the outer one is bridge.py.
"""

import asyncio
import itertools
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from confsync import errors
from confsync.adapters.docker import stream

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes; `show servers state` of 50,000 servers is some 5 MB."""

_HEADER = struct.Struct(">IIc")
_END = struct.Struct(">BI")
_HELLO = _HEADER.pack(1, 0, b"H") + b"1"
"""The first that the inner half says: the protocol's version."""

_SAID = 2000


class How(IntEnum):
    """How a request ended (bridge.pl)."""

    CLOSED = 0
    UNSENT = 1
    CUT = 2
    EXITED = 3
    SIGNALLED = 4
    LATE = 5
    UNSTARTED = 6


class _Job(Protocol):
    """What comes of one request. `data`: what was not taken yet."""

    data: bytearray

    def took(self) -> None:
        """Something was added to `data`."""

    def ended(self, how: How, value: int) -> None:
        """It ended."""

    def failed(self, error: Exception) -> None:
        """Its end will not be heard."""


@dataclass(slots=True)
class _Asked:
    """A request with one answer."""

    done: asyncio.Future[tuple[How, int]]
    data: bytearray = field(default_factory=bytearray)

    def took(self) -> None:
        pass

    def ended(self, how: How, value: int) -> None:
        if not self.done.done():
            self.done.set_result((how, value))

    def failed(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Conversation:
    """A connection to a unix socket inside; see ports.Conversation."""

    def __init__(self, path: str, send: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self.data = bytearray()
        self._path = path
        self._send = send
        self._close = close
        self._news = asyncio.Event()
        self._over: Exception | None = None
        self._ended = False

    async def send(self, data: bytes) -> None:
        """Send; what could not be is told by `receive`."""
        self._send(data)

    async def receive(self) -> bytes:
        """Wait for what comes; b"": the other side closed. Raises OSError, EOFError."""
        while not self.data and not self._ended:
            self._news.clear()
            await self._news.wait()
        if not self.data and self._over is not None:
            raise self._over
        data = bytes(self.data)
        self.data.clear()
        return data

    def close(self) -> None:
        """Let go."""
        self._close()

    def took(self) -> None:
        """See _Job."""
        self._news.set()

    def ended(self, how: How, value: int) -> None:
        """See _Job."""
        if how is How.UNSENT:
            self.failed(OSError(value, os.strerror(value), self._path))
        elif how is How.CLOSED:
            self._ended = True
            self._news.set()
        else:
            self.failed(EOFError(f"{self._path}: {os.strerror(value)}"))

    def failed(self, error: Exception) -> None:
        """See _Job."""
        if not self._ended:
            self._ended, self._over = True, error
            self._news.set()


class Frames:
    """Both directions of the protocol, without a connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @staticmethod
    def pack(number: int, kind: bytes, body: bytes = b"") -> bytes:
        """Write a frame."""
        return _HEADER.pack(len(body), number, kind) + body

    @staticmethod
    def exchange(path: str, payload: bytes, *, half_close: bool) -> bytes:
        """Write the body of an exchange."""
        return struct.pack(">B", half_close) + _text(path) + payload

    @staticmethod
    def command(
        argv: Sequence[str],
        environment: Mapping[str, str] | None,
        directory: str,
        timeout: float,
    ) -> bytes:
        """Write the body of a command."""
        body = struct.pack(">I", int(timeout * 1000)) + _text(directory)
        body += struct.pack(">I", len(argv)) + b"".join(map(_text, argv))
        if environment is None:
            return body + b"\0"
        pairs = [_text(f"{name}={value}") for name, value in environment.items()]
        return body + struct.pack(">BI", 1, len(pairs)) + b"".join(pairs)

    def feed(self, data: bytes) -> list[tuple[int, bytes, bytes]]:
        """Take what came; return the frames that are whole: number, kind, body."""
        buffer = self._buffer
        buffer += data
        at, frames = 0, []
        while len(buffer) - at >= _HEADER.size:
            length, number, kind = _HEADER.unpack_from(buffer, at)
            end = at + _HEADER.size + length
            if len(buffer) < end:
                break
            frames.append((number, kind, bytes(buffer[at + _HEADER.size : end])))
            at = end
        del buffer[:at]
        return frames


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(data)) + data


class Link:
    """One inner half, as long as it lives."""

    def __init__(self) -> None:
        self.hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.said = bytearray()
        """What came instead of the protocol: of the engine, or of perl."""
        self._early = bytearray()
        self._frames = Frames()
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)
        self._stream: stream.Spoken | None = None

    @property
    def alive(self) -> bool:
        """Tell whether it can be asked."""
        return self._stream is not None and not self._stream.ended.done()

    def begin(self, opened: stream.Spoken) -> None:
        """Take the command that is to become the inner half."""
        self._stream = opened
        opened.ended.add_done_callback(self._ended)

    def close(self) -> None:
        """Let go; what is under way ends with EOFError."""
        if self._stream is not None:
            self._stream.close()

    def received(self, kind: int, piece: bytes) -> None:
        """Take what the command says."""
        if kind != stream.STDOUT:
            self._foreign(piece)
        elif self.hello.done():
            self._answers(piece)
        else:
            self._early += piece
            if self._early.startswith(_HELLO):
                self.hello.set_result(None)
                self._answers(bytes(self._early[len(_HELLO) :]))
            elif not _HELLO.startswith(self._early):
                self._foreign(piece)

    def _foreign(self, piece: bytes) -> None:
        self.said += piece[: _SAID - len(self.said)]

    def _answers(self, piece: bytes) -> None:
        for number, what, body in self._frames.feed(piece):
            if (job := self._jobs.get(number)) is None:
                continue  # cancelled
            if what == b"D":
                job.data += body
                job.took()
                if len(job.data) > REPLY_LIMIT:
                    job.failed(errors.TargetUnavailable(f"more than {REPLY_LIMIT} bytes came"))
            elif what == b"E":
                how, value = _END.unpack(body)
                job.ended(How(how), value)

    async def ask(self, kind: bytes, body: bytes) -> tuple[How, int, bytes]:
        """Send a request and wait for its end. Raises EOFError when the way is cut meanwhile."""
        assert self._stream is not None
        number = next(self._numbers)
        job = _Asked(asyncio.get_running_loop().create_future())
        self._jobs[number] = job
        self._stream.write(Frames.pack(number, kind, body))
        ended = False
        try:
            how, value = await job.done
            ended = True
            return how, value, bytes(job.data)
        finally:
            del self._jobs[number]
            if not ended:
                self._stream.write(Frames.pack(number, b"C"))

    def converse(self, path: str) -> Conversation:
        """Connect to a unix socket; whether it could be, the first `receive` tells."""
        assert self._stream is not None
        number = next(self._numbers)
        say = self._stream.write

        def close() -> None:
            if self._jobs.pop(number, None) is not None:
                say(Frames.pack(number, b"C"))

        made = Conversation(path, lambda data: say(Frames.pack(number, b"S", data)), close)
        self._jobs[number] = made
        say(Frames.pack(number, b"O", os.fsencode(path)))
        if not self.alive:
            made.failed(EOFError())
        return made

    def _ended(self, _: asyncio.Future[None]) -> None:
        if not self.hello.done():
            self.hello.set_exception(EOFError())
        for job in self._jobs.values():
            job.failed(EOFError())
