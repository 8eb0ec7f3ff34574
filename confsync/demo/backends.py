"""Toy backends: HTTP/1.1 servers that answer each request with their own name.

They all live in one process of their own (`python -m confsync.demo.backends`), which takes commands
as lines of JSON: `{"do": "open", "name": N}`, answered by `{"event": "open", "name": N, "port": P}`,
and `stop` and `crash`, answered by `{"event": "ended", "name": N}`. It ends when its input does.
"""

import asyncio
import contextlib
import random
import sys
from typing import Literal

from confsync.demo import lines

# A server that answers at once is never busy: with some milliseconds of work, requests are under way
# whenever something happens.
WORK = (0.001, 0.004)
LONGEST = 120.0  # seconds that this process may live


class Backend:
    """One server on a free loopback port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._body = name.encode()
        self._busy: set[asyncio.StreamWriter] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._ending: Literal["", "stop", "crash"] = ""
        self._server: asyncio.Server | None = None

    @property
    def busy(self) -> int:
        """How many requests are under way."""
        return len(self._busy)

    async def open(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def end(self, how: Literal["stop", "crash"]) -> None:
        """Close the listener and every idle connection; a running answer is finished first.

        `stop` closes in order, `crash` as the kernel does for a dead process: without a word. A
        server that dies in the middle of an answer costs that request, whoever balances; what a load
        balancer can hide, and the demo shows, is one that dies between two answers.
        """
        assert self._server is not None
        self._ending = how
        self._server.close()
        for writer in tuple(self._idle):
            self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        if self._ending == "crash":
            writer.transport.abort()
        else:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._idle.add(writer)
        try:
            # The listener closes after the kernel has accepted some more: those are idle too.
            while not self._ending:
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                self._busy.add(writer)
                await asyncio.sleep(random.uniform(*WORK))  # noqa: S311 - toy work
                writer.write(self._answer(head))
                await writer.drain()
                self._busy.discard(writer)
                self._idle.add(writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # HAProxy closed the connection, or this end did
        finally:
            self._idle.discard(writer)
            self._busy.discard(writer)
            self._close(writer)

    def _answer(self, head: bytes) -> bytes:
        body = b"" if head.startswith(b"HEAD ") else self._body
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
            len(self._body),
            body,
        )


async def serve() -> None:
    """Obey commands until the input ends."""
    backends: dict[str, Backend] = {}
    async for command in lines.read(sys.stdin):
        name = command["name"]
        match command["do"]:
            case "open":
                backends[name] = Backend(name)
                lines.write({"event": "open", "name": name, "port": await backends[name].open()})
            case "stop" | "crash" as how:
                backends.pop(name).end(how)
                lines.write({"event": "ended", "name": name})
            case other:
                raise ValueError(other)


if __name__ == "__main__":
    with contextlib.suppress(TimeoutError):
        asyncio.run(asyncio.wait_for(serve(), LONGEST))
