"""Requests to the engine whose answer lasts: a command's input and output, the engine's events.

The SDK reads these without any limit of time and only in threads; here they are connections of the
event loop, which close at once. Source: the engine's API, "Attach to a container" (hijacking, frames).
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any, Protocol

from confsync.adapters.docker import faults
from confsync.adapters.docker.endpoint import Endpoint

_HEAD = 64 * 1024
_HEADER = 8
"""Bytes before each piece of output: its kind, three zeroes, its length."""

STDOUT, STDERR = 1, 2


class Spoken(Protocol):
    """A command that is spoken to: engine.Stream, or what stands for it."""

    exec_id: str

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when it or the way to it has ended."""

    def write(self, data: bytes) -> None:
        """Send to its standard input."""

    def close(self) -> None:
        """Let go of it."""


class Frames:
    """Takes the engine's framing of stdout and stderr apart."""

    def __init__(self, received: Callable[[int, bytes], None]) -> None:
        """`received`: called with STDOUT or STDERR and a piece."""
        self._received = received
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEADER:
            end = at + _HEADER + int.from_bytes(buffer[at + 4 : at + _HEADER], "big")
            if len(buffer) < end:
                break
            self._received(buffer[at], bytes(buffer[at + _HEADER : end]))
            at = end
        del buffer[:at]


def unframed(data: bytes) -> bytes:
    """Return the text of a log, framed (or cut within a frame), or plain as that of a TTY is."""
    pieces = []
    at = 0
    while at < len(data):
        if data[at] > STDERR or data[at + 1 : at + 4] != bytes(3)[: len(data) - at - 1]:
            return data
        start = at + _HEADER
        at = start + int.from_bytes(data[at + 4 : start], "big")
        pieces.append(data[start:at])
    return b"".join(pieces)


class Chunks:
    """Takes HTTP's chunked transfer coding apart (RFC 9112, 7.1)."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self._buffer = bytearray()
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take what came. Raises ValueError when it is not chunked."""
        buffer = self._buffer
        buffer += data
        while buffer and not self.ended:
            if self._left > 2:  # the chunk, and the line's end after it
                piece = bytes(buffer[: self._left - 2])
                del buffer[: len(piece)]
                self._left -= len(piece)
                self._received(piece)
            elif self._left:
                gone = min(self._left, len(buffer))
                del buffer[:gone]
                self._left -= gone
            else:
                line, found, _ = buffer.partition(b"\r\n")
                if not found:
                    _limited(buffer)
                    return
                del buffer[: len(line) + 2]
                size = int(line.partition(b";")[0], 16)
                self._left = size + 2
                self.ended = not size


class Connection(asyncio.Protocol):
    """One request on a connection of its own. `ended` is done when the connection is over."""

    def __init__(self, request: bytes, received: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self._received = received
        self._head = bytearray()
        self._chunks: Chunks | None = None
        self._error = bytearray()
        self._length = -1
        self._transport: asyncio.Transport | None = None
        self.status = 0
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    @property
    def words(self) -> str:
        """What an answer that is no success says."""
        text = self._error.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, AttributeError):
            return str(json.loads(text).get("message", text))
        return text

    def write(self, data: bytes) -> None:
        """Send something to the command's standard input."""
        if self._transport is not None and not self.ended.done():
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection; a command's standard input ends with it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        made = transport.get_extra_info("socket")
        if made is not None and made.family != socket.AF_UNIX:
            # Else a peer that vanished without a word would be listened to for ever.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the head of the answer, then hand on what follows."""
        try:
            if self.status:
                self._body(data)
                return
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                _limited(self._head)
                return
            self._begin(head.decode("latin-1"))
            if body:
                self._body(bytes(body))
        except ValueError as error:
            self._fail(error)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits."""
        if self.status >= 400 and not self.answered.done():
            self.answered.set_result(None)
        self._fail(error or EOFError())
        if not self.ended.done():
            self.ended.set_result(None)

    def _begin(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        version, code = first.split(" ", 2)[:2]
        if not version.startswith("HTTP/1."):
            raise ValueError("no HTTP")
        self.status = int(code)
        fields = {n.strip().lower(): v.strip() for n, _, v in (x.partition(":") for x in lines)}
        take = self._refusal if self.status >= 400 else self._received
        self._received = take
        self._length = int(fields.get("content-length", "-1"))
        if "chunked" in fields.get("transfer-encoding", "").lower():
            self._chunks = Chunks(take)
        if self.status < 400 and not self.answered.done():
            self.answered.set_result(None)

    def _body(self, data: bytes) -> None:
        if self._chunks is not None:
            self._chunks.feed(data)
        else:
            self._received(data)
        whole = self._chunks.ended if self._chunks else 0 <= self._length <= len(self._error)
        if whole and self.status >= 400 and not self.answered.done():
            self.answered.set_result(None)
        if self._chunks is not None and self._chunks.ended:
            self.close()

    def _refusal(self, data: bytes) -> None:
        self._error += data[: _HEAD - len(self._error)]

    def _fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


async def opened(
    endpoint: Endpoint,
    path: str,
    received: Callable[[bytes], None],
    *,
    body: Any = None,
    timeout: float,  # noqa: ASYNC109
) -> Connection:
    """Ask for something that lasts; return when the engine has begun to answer.

    `path`: with the version of the API. With a `body` (JSON) it is a POST that takes the connection
    over. Raises TargetError, Refusal.
    """
    loop = asyncio.get_running_loop()
    request = _request(endpoint, path, body)
    made: list[Connection] = []

    def connection() -> Connection:
        made.append(Connection(request, received))
        return made[-1]

    begun = False
    try:
        async with asyncio.timeout(timeout):
            if endpoint.socket:
                await loop.create_unix_connection(connection, endpoint.socket)
            else:
                context = endpoint.tls.context() if endpoint.tls else None
                await loop.create_connection(connection, endpoint.host, endpoint.port, ssl=context)
            await made[-1].answered
        if made[-1].status >= 400:
            raise faults.refused(
                endpoint.where,
                made[-1].status,
                made[-1].words,
                asked=f"{'GET' if body is None else 'POST'} {path}",
            )
        begun = True
        return made[-1]
    except TimeoutError as error:
        if error.errno is not None:  # the system's own, of a connection
            raise faults.unreachable(endpoint.where, error) from error
        raise faults.late(endpoint.where, "answer", timeout) from error
    except (OSError, EOFError, ValueError) as error:
        raise faults.unreachable(endpoint.where, error) from error
    finally:
        if not begun:
            for each in made:
                each.answered.cancel()
                each.close()


def _request(endpoint: Endpoint, path: str, body: Any) -> bytes:
    host = "docker" if endpoint.socket else f"{endpoint.host}:{endpoint.port}"
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {host}"]
    content = b""
    if body is not None:
        content = json.dumps(body).encode()
        lines += ["Connection: Upgrade", "Upgrade: tcp", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _limited(buffer: bytearray) -> None:
    if len(buffer) > _HEAD:
        raise ValueError("what was to be short has no end")
