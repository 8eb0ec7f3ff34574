"""A connection that lasts, through the bridge; its inner half is on this machine."""

import asyncio
import contextlib
import errno
import socket
import threading
from pathlib import Path

import pytest

from confsync.adapters.docker.bridge import Bridge
from tests.integration.docker.conftest import LB, Listen, LocalWay


def echo(made: socket.socket) -> None:
    """Say back what comes, as long as something does."""
    while said := made.recv(1 << 16):
        made.sendall(said.upper())


async def heard(talk: object, size: int) -> bytes:
    found = b""
    async with asyncio.timeout(10):
        while len(found) < size:
            piece = await talk.receive()  # type: ignore[attr-defined]
            assert piece, "it ended"
            found += piece
    return found


async def test_question_and_answer_many_times_on_one_connection(
    bridge: Bridge, peer: Listen
) -> None:
    made = []

    def serve(each: socket.socket) -> None:
        made.append(each)
        echo(each)

    with contextlib.closing(await bridge.connect(peer(serve))) as talk:
        for word in (b"prompt", b"show info", b"set server"):
            await talk.send(word)
            assert await heard(talk, len(word)) == word.upper()
    assert len(made) == 1


async def test_both_directions_flow_at_once(bridge: Bridge, peer: Listen) -> None:
    """More goes out than any buffer holds, to one that waits for its answers to be taken."""
    size = 3_000_000
    with contextlib.closing(await bridge.connect(peer(echo))) as talk:
        await talk.send(b"x" * size)
        assert await heard(talk, size) == b"X" * size


async def test_conversations_and_exchanges_do_not_mix(
    bridge: Bridge, way: LocalWay, peer: Listen
) -> None:
    path = peer(echo)
    talks = [await bridge.connect(path) for _ in range(5)]
    for number, talk in enumerate(talks):
        await talk.send(b"%d" % number * 1000)
    assert await bridge.exchange(path, b"one", half_close=True, timeout=10) == b"ONE"
    for number, talk in enumerate(talks):
        assert await heard(talk, 1000) == b"%d" % number * 1000
        talk.close()
    assert len(way.opened) == 1


async def test_the_other_side_ends_it(bridge: Bridge, peer: Listen) -> None:
    def serve(made: socket.socket) -> None:
        made.recv(100)
        made.sendall(b"bye")

    with contextlib.closing(await bridge.connect(peer(serve))) as talk:
        await talk.send(b"quit")
        assert await heard(talk, 3) == b"bye"
        for _ in range(2):
            assert await asyncio.wait_for(talk.receive(), 10) == b""
        await talk.send(b"more")  # unheard


async def test_a_cut_is_no_end(bridge: Bridge, peer: Listen) -> None:
    # Closed with something unread: the other side gets ECONNRESET.
    with contextlib.closing(await bridge.connect(peer(lambda made: made.recv(1)))) as talk:
        await talk.send(b"reload")
        with pytest.raises(EOFError):
            await asyncio.wait_for(talk.receive(), 10)


@pytest.mark.parametrize(("name", "number"), [("no", errno.ENOENT), ("file", errno.ECONNREFUSED)])
async def test_nobody_listens(bridge: Bridge, tmp_short: Path, name: str, number: int) -> None:
    (tmp_short / "file").touch()
    with contextlib.closing(await bridge.connect(str(tmp_short / name))) as talk:
        await talk.send(b"prompt")
        with pytest.raises(OSError) as caught:
            await asyncio.wait_for(talk.receive(), 10)
    assert caught.value.errno == number
    with pytest.raises(OSError, match="too long"):
        await bridge.connect("/" + "x" * 107)


async def test_what_is_let_go_is_closed_inside(bridge: Bridge, peer: Listen) -> None:
    closed = threading.Event()

    def serve(made: socket.socket) -> None:
        made.sendall(b"hello")
        if not made.recv(100):
            closed.set()

    talk = await bridge.connect(peer(serve))
    await heard(talk, 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk.receive(), 0.05)
    talk.close()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_the_way_breaks_or_leads_elsewhere(
    bridge: Bridge, way: LocalWay, peer: Listen
) -> None:
    path = peer(echo)
    talk = await bridge.connect(path)
    await talk.send(b"a")
    await heard(talk, 1)
    way.opened[0].close()
    with pytest.raises(EOFError):
        await asyncio.wait_for(talk.receive(), 10)
    second = await bridge.connect(path)
    bridge.use(type(LB)(id="2" * 64, name="lb", started=5.0))
    with pytest.raises(EOFError):
        await asyncio.wait_for(second.receive(), 10)
