"""The bridge's inner half on this machine, as a child, and what listens on its sockets."""

import asyncio
import contextlib
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from confsync.adapters.docker import stream
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import Container
from tests.support import machine

Listen = Callable[[Callable[[socket.socket], object]], str]
LB = Container(id="1" * 64, name="lb", started=1.0)


class Command(asyncio.SubprocessProtocol):
    """A local child, spoken to as the engine's streams are."""

    def __init__(self, received: Callable[[int, bytes], None], exec_id: str) -> None:
        self.exec_id = exec_id
        self._received = received
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.SubprocessTransport | None = None

    @property
    def ended(self) -> asyncio.Future[None]:
        return self._ended

    @property
    def pid(self) -> int:
        assert self.transport is not None
        return self.transport.get_pid()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._received(fd, data)

    def connection_lost(self, _: Exception | None) -> None:
        assert self.transport is not None
        self.transport.close()
        if not self._ended.done():
            self._ended.set_result(None)

    def _stdin(self) -> asyncio.WriteTransport:
        assert self.transport is not None
        pipe = self.transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        return pipe

    def write(self, data: bytes) -> None:
        if not self._ended.done():
            self._stdin().write(data)

    def close(self) -> None:
        self._stdin().close()


class LocalWay:
    """An engine whose containers are this machine. `program`: in place of perl."""

    timeout = 5.0

    def __init__(self) -> None:
        self.opened: list[Command] = []
        self.now = LB
        self.program: Sequence[str] = ()
        self.refused: Exception | None = None
        self.users: list[str] = []

    async def attach(
        self,
        container: str,
        argv: Sequence[str],
        received: Callable[[int, bytes], None],
        *,
        environment: Sequence[str],
        user: str,
    ) -> stream.Spoken:
        self.users.append(user)
        if self.refused is not None:
            raise self.refused
        _, command = await asyncio.get_running_loop().subprocess_exec(
            lambda: Command(received, "e"), *(self.program or argv)
        )
        self.opened.append(command)
        return command

    async def exit_code(self, ended: stream.Spoken) -> int:
        assert isinstance(ended, Command)
        assert ended.transport is not None
        return ended.transport.get_returncode() or 0

    async def inspect(self, container: str) -> Container:
        return self.now

    async def close(self) -> None:
        for each in self.opened:
            each.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(each.ended), 5)


@pytest.fixture
async def way() -> AsyncIterator[LocalWay]:
    if shutil.which("perl") is None:
        raise machine.Missing("no perl")
    one = LocalWay()
    yield one
    await one.close()


@pytest.fixture
def bridge(way: LocalWay) -> Bridge:
    one = Bridge(way)
    one.use(LB)
    return one


class Peer:
    """Listens on a unix socket; `serve` gets each connection, in a thread."""

    def __init__(self, path: Path, serve: Callable[[socket.socket], object]) -> None:
        self.path = str(path)
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(50)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                thread = threading.Thread(target=self._one, args=(made,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _one(self, made: socket.socket) -> None:
        with made, contextlib.suppress(OSError):
            made.settimeout(10)
            self._serve(made)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def peer(tmp_short: Path) -> Iterator[Listen]:
    made: list[Peer] = []

    def listen(serve: Callable[[socket.socket], object]) -> str:
        made.append(Peer(tmp_short / f"{len(made)}.sock", serve))
        return made[-1].path

    yield listen
    for each in made:
        each.close()
