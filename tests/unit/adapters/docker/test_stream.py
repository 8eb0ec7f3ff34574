import asyncio
import contextlib
import itertools
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync import errors
from confsync.adapters.docker import faults, stream
from confsync.adapters.docker.endpoint import Endpoint

pytestmark = pytest.mark.fast_clock

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def framed(kind: int, piece: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(piece)) + piece


PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({min(p, len(data)) for p in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(PIECES, st.lists(st.integers(0, 400), max_size=12))
def test_frames_come_out_whole_however_they_are_cut(
    pieces: list[tuple[int, bytes]], places: list[int]
) -> None:
    got: list[tuple[int, bytes]] = []
    frames = stream.Frames(lambda kind, piece: got.append((kind, piece)))
    for part in cut(b"".join(framed(*p) for p in pieces), places):
        frames.feed(part)
    assert got == pieces


@given(PIECES)
def test_a_log_is_unframed(pieces: list[tuple[int, bytes]]) -> None:
    data = b"".join(framed(*p) for p in pieces)
    assert stream.unframed(data) == b"".join(p for _, p in pieces)


def test_a_log_that_is_cut_within_a_frame_gives_what_is_there() -> None:
    data = framed(1, b"one\n") + framed(2, b"second\n")
    assert stream.unframed(data[:-4]) == b"one\nsec"
    assert stream.unframed(data[:15]) == b"one\n"


def test_the_log_of_a_terminal_has_no_frames() -> None:
    assert stream.unframed(b"[NOTICE] started\n") == b"[NOTICE] started\n"
    assert stream.unframed(b"\x01bc") == b"\x01bc"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 400)))
def test_chunks_come_out_however_they_are_cut(chunks: list[bytes], places: list[int]) -> None:
    got: list[bytes] = []
    reader = stream.Chunks(got.append)
    data = b"".join(b"%x;x=y\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    for part in cut(data, places):
        reader.feed(part)
    assert b"".join(got) == b"".join(chunks)
    assert reader.ended


@contextlib.asynccontextmanager
async def server(path: Path, handler: Handler) -> AsyncIterator[Endpoint]:
    idle = asyncio.Event()
    active = 0

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal active
        active += 1
        idle.clear()
        try:
            with contextlib.suppress(OSError, EOFError):
                await reader.readuntil(b"\r\n\r\n")
                await handler(reader, writer)
                await writer.drain()
        finally:
            writer.close()
            active -= 1
            if not active:
                idle.set()

    idle.set()
    async with await asyncio.start_unix_server(handled, str(path)):
        yield Endpoint(socket=str(path))
        await asyncio.wait_for(idle.wait(), 5)


def saying(data: bytes) -> Handler:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return handler


UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


async def test_what_comes_with_the_head_is_not_lost(tmp_short: Path) -> None:
    got = bytearray()
    async with server(tmp_short / "s", saying(UPGRADED + b"early")) as endpoint:
        opened = await stream.opened(endpoint, "/x", got.extend, body={}, timeout=5)
        await asyncio.wait_for(opened.ended, 5)
    assert got == b"early"


async def test_input_goes_out_and_closing_ends_it(tmp_short: Path) -> None:
    received: list[bytes] = []
    over = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        await reader.readexactly(len(b'{"a": 1}'))
        received.append(await reader.readexactly(5))
        writer.write(b"back")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        over.set()

    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with server(tmp_short / "s", echo) as endpoint:
        opened = await stream.opened(endpoint, "/x", got.put_nowait, body={"a": 1}, timeout=5)
        opened.write(b"hello")
        assert await asyncio.wait_for(got.get(), 5) == b"back"
        opened.close()
        await asyncio.wait_for(over.wait(), 5)
        await asyncio.wait_for(opened.ended, 5)
        opened.write(b"nobody hears this")
    assert received == [b"hello"]


async def test_an_answer_in_chunks(tmp_short: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = bytearray()
    async with server(tmp_short / "s", saying(head + b"3\r\nabc\r\n2\r\nde\r\n")) as endpoint:
        opened = await stream.opened(endpoint, "/events", got.extend, timeout=5)
        await asyncio.wait_for(opened.ended, 5)
    assert got == b"abcde"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_refusal_has_the_engines_words(tmp_short: Path, chunked: bool) -> None:
    body = json.dumps({"message": "Container x is paused"}).encode()
    if chunked:
        head = b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        head = b"Content-Length: %d\r\n\r\n" % len(body)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 409 Conflict\r\n" + head + body)
        await reader.read()  # the connection stays open: the end is told by the length

    async with server(tmp_short / "s", handler) as endpoint:
        with pytest.raises(faults.Refusal, match="Container x is paused") as caught:
            await stream.opened(endpoint, "/x", lambda _: None, body={}, timeout=5)
    assert caught.value.status == 409


async def test_a_forbidden_request_is_a_denial_that_names_it(tmp_short: Path) -> None:
    said = b"HTTP/1.0 403 Forbidden\r\n\r\nrules\r\n"
    async with server(tmp_short / "s", saying(said)) as endpoint:
        with pytest.raises(errors.TargetDenied, match=r"GET /v1\.41/events: rules"):
            await stream.opened(endpoint, "/v1.41/events", lambda _: None, timeout=5)


@pytest.mark.parametrize(
    "data",
    [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 20", b"x" * 70_000],
)
async def test_what_is_no_engine_is_said_to_be_none(tmp_short: Path, data: bytes) -> None:
    async with server(tmp_short / "s", saying(data)) as endpoint:
        with pytest.raises(faults.EngineGone, match=r"closed the connection|no Docker engine"):
            await stream.opened(endpoint, "/x", lambda _: None, timeout=5)


async def test_an_engine_that_says_nothing_is_given_up(tmp_short: Path) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(tmp_short / "s", silent) as endpoint:
        with pytest.raises(faults.EngineGone, match=r"did not answer within 0\.2 s"):
            await stream.opened(endpoint, "/x", lambda _: None, timeout=0.2)


async def test_no_socket_is_an_engine_that_is_gone(tmp_short: Path) -> None:
    endpoint = Endpoint(socket=str(tmp_short / "none"))
    with pytest.raises(faults.EngineGone, match="no such socket"):
        await stream.opened(endpoint, "/x", lambda _: None, timeout=5)


async def test_nonsense_between_chunks_ends_the_connection(tmp_short: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with server(tmp_short / "s", saying(head + b"3\r\nabc\r\nzz\r\n")) as endpoint:
        opened = await stream.opened(endpoint, "/events", lambda _: None, timeout=5)
        await asyncio.wait_for(opened.ended, 5)
