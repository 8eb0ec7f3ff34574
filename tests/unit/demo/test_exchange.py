"""Each way to fail is told apart, against a server that does just that."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from confsync.demo.exchange import Connection, Failed, Failure

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nweb-1"


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(*answers: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for text in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(text)
            await writer.drain()

    return answer


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    no_linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)


async def failure(connection: Connection) -> str:
    with pytest.raises(Failed) as caught:
        await connection.get()
    return caught.value.kind


async def test_a_connection_is_used_again() -> None:
    async with serving(saying(OK, OK)) as port:
        connection = Connection(port, "web")
        assert [await connection.get(), await connection.get()] == ["web-1", "web-1"]
        assert await failure(connection) == Failure.CLOSED_REUSED


async def test_after_a_failure_it_is_opened_anew() -> None:
    async with serving(saying(OK)) as port:
        connection = Connection(port, "web")
        await connection.get()
        assert await failure(connection) == Failure.CLOSED_REUSED
        assert await connection.get() == "web-1"
        connection.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (saying(b""), Failure.CLOSED_NEW),
        (saying(OK[:20]), Failure.CUT),
        (saying(OK[:-2]), Failure.CUT),
        (saying(b"SSH-2.0\r\n\r\n"), Failure.NONSENSE),
        (saying(b"HTTP/1.0 503 No\r\n\r\nsorry"), "503"),
        (saying(OK.replace(b"200", b"418")), "418"),
        (resetting, Failure.RESET),
    ],
)
async def test_failures_on_a_new_connection(answer: Answer, kind: str) -> None:
    async with serving(answer) as port:
        connection = Connection(port, "web")
        assert await failure(connection) == kind
        connection.close()


async def test_nobody_listens() -> None:
    async with serving(saying(OK)) as port:
        pass
    assert await failure(Connection(port, "web")) == Failure.REFUSED


async def test_a_server_that_says_close_is_obeyed() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with serving(saying(closing)) as port:
        connection = Connection(port, "web")
        assert [await connection.get(), await connection.get()] == ["web-1", "web-1"]


async def test_the_last_request_says_so() -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with serving(answer) as port:
        connection = Connection(port, "web")
        await connection.get(last=True)
        await connection.get(last=True)
    assert len(heads) == 2
    assert all(b"Host: web\r\nConnection: close" in head for head in heads)
