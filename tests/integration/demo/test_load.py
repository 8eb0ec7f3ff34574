"""The load client as the demo starts it: in a process, against toy backends and against nobody."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from confsync.demo import children
from confsync.demo.backends import Backend
from confsync.demo.traffic import Traffic


class Heard:
    """What a load client has told."""

    def __init__(self, worker: children.Worker) -> None:
        self.worker = worker
        self.events: list[children.Message] = []
        self.traffic = Traffic()

    def take(self, event: children.Message) -> None:
        if event["event"] == "traffic":
            self.traffic = Traffic(**{k: v for k, v in event.items() if k != "event"})
        else:
            self.events.append({k: v for k, v in event.items() if k != "at"})

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not reached():
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def load(port: int, folder: Path) -> AsyncIterator[Heard]:
    worker = await children.Worker.start("load", "confsync.demo.load", str(port), folder=folder)
    heard = Heard(worker)
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(worker.events(heard.take))
            yield heard
            worker.finish()
    finally:
        await worker.stop()


async def test_probe_start_stop(tmp_path: Path) -> None:
    backend = Backend("web-1")
    async with load(await backend.open(), tmp_path) as heard:
        heard.worker.send({"do": "probe", "host": "web", "want": "served"})
        await heard.until(lambda: len(heard.events) == 2)
        heard.worker.send({"do": "start", "host": "web"})
        await heard.until(lambda: heard.traffic.requests > 40)
        heard.worker.send({"do": "stop", "host": "web"})
        await heard.until(lambda: len(heard.events) == 3)
    backend.end("stop")
    assert heard.events == [
        {"event": "first", "name": "web-1"},
        {"event": "probed", "host": "web"},
        {"event": "stopped", "host": "web"},
    ]
    assert heard.traffic.failures == 0
    assert heard.traffic.answers == {"web-1": heard.traffic.requests}
    assert 0 < heard.traffic.p50 <= heard.traffic.p99


async def test_the_last_counts_come_after_the_end(tmp_path: Path) -> None:
    """Clients finish their requests, and what they meet is counted, when the input closes."""
    backend = Backend("web-1")
    async with load(await backend.open(), tmp_path) as heard:
        heard.worker.send({"do": "start", "host": "web"})
        await heard.until(lambda: bool(heard.events))
    backend.end("stop")
    assert heard.traffic.requests > 0
    assert heard.traffic.failures == 0


async def test_nobody_there_is_a_failure_each_time(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and never listens
        async with load(bound.getsockname()[1], tmp_path) as heard:
            heard.worker.send({"do": "start", "host": "web"})
            await heard.until(lambda: heard.traffic.requests >= 5)
    assert heard.traffic.failed == {"connect refused": heard.traffic.requests}


@pytest.mark.parametrize(("status", "failures"), [(503, False), (502, True)])
async def test_a_probe_takes_503_alone_for_an_answer(
    tmp_path: Path, status: int, failures: bool
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, load(server.sockets[0].getsockname()[1], tmp_path) as heard:
        heard.worker.send({"do": "probe", "host": "web", "want": "gone"})
        await heard.until(lambda: bool(heard.traffic.failures if failures else heard.events))
    assert heard.events == ([] if failures else [{"event": "probed", "host": "web"}])
    assert set(heard.traffic.failed) == ({str(status)} if failures else set())
