"""The process behind `tests.support.backend`: many toy HTTP servers on one event loop.

Commands come as JSON lines on stdin, one answer line each on stdout; the end of stdin ends it. It
imports the standard library only, so that it runs alone inside any container.

Each server says its name in X-Server and in the body. `/slow?s=2` answers late, `/stream?s=10`
sends a numbered tick each 10 ms (s=0: until closed), `/status?c=503` answers that code, a POST is
echoed.
"""

import asyncio
import contextlib
import json
import sys
import urllib.parse
from typing import Any

TICK = 0.01  # seconds


class Server:
    """One listening port and its connections."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.code = 200
        self.requests = 0
        self.closing = False
        self.connections: set[Connection] = set()
        self.listener: asyncio.Server | None = None

    def close(self, *, graceful: bool) -> None:
        self.closing = True
        assert self.listener is not None
        self.listener.close()
        for connection in tuple(self.connections):
            if not graceful:
                connection.transport.abort()
            elif not connection.busy:
                connection.transport.close()


class Connection(asyncio.Protocol):
    """One client: requests one after the other, also pipelined ones."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.busy = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.next_request()

    def next_request(self) -> None:
        while not self.busy and not self.transport.is_closing():
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.busy = True
            self.server.requests += 1
            keep = headers.get("connection", "").lower() != "close" and "HTTP/1.1" in lines[0]
            self.answer(lines[0].split(" ")[1], rest[:length], keep=keep)

    def answer(self, target: str, body: bytes, *, keep: bool) -> None:
        url = urllib.parse.urlsplit(target)
        query = urllib.parse.parse_qs(url.query)
        seconds = float(query.get("s", ["1"])[0])
        loop = asyncio.get_running_loop()
        match url.path:
            case "/slow":
                self.timer = loop.call_later(seconds, self.send, 200, body, keep)
            case "/stream":
                head = f"HTTP/1.1 200 OK\r\nX-Server: {self.server.name}\r\n"
                self.transport.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
                self.tick(0, loop.time() + (seconds or 86400), keep=keep)
            case "/status":
                self.send(int(query["c"][0]), body, keep)
            case _:
                self.send(self.server.code, body, keep)

    def send(self, code: int, body: bytes, keep: bool) -> None:
        keep = keep and not self.server.closing
        body = body or self.server.name.encode()
        head = (
            f"HTTP/1.1 {code} X\r\nX-Server: {self.server.name}\r\nContent-Length: {len(body)}\r\n"
        )
        end = "\r\n" if keep else "Connection: close\r\n\r\n"
        self.transport.write((head + end).encode() + body)
        self.done(keep=keep)

    def tick(self, number: int, end: float, *, keep: bool) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= end or self.transport.is_closing():
            self.transport.write(b"0\r\n\r\n")
            self.done(keep=keep and not self.server.closing)
            return
        line = f"{self.server.name} {number}\n"
        self.transport.write(f"{len(line):x}\r\n{line}\r\n".encode())
        self.timer = loop.call_later(TICK, lambda: self.tick(number + 1, end, keep=keep))

    def done(self, *, keep: bool) -> None:
        self.busy = False
        if not keep:
            self.transport.close()
        else:
            asyncio.get_running_loop().call_soon(self.next_request)


class Commands:
    """What the test may ask for."""

    def __init__(self) -> None:
        self.servers: dict[int, Server] = {}

    async def start(self, port: int, name: str, host: str) -> dict[str, Any]:
        server = Server(name)
        server.listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(server), host, port, backlog=1024
        )
        chosen: int = server.listener.sockets[0].getsockname()[1]
        server.name = name or f"s{chosen}"
        self.servers[chosen] = server
        return {"port": chosen, "name": server.name}

    async def stop(self, port: int, graceful: bool) -> dict[str, Any]:
        self.servers.pop(port).close(graceful=graceful)
        return {}

    async def status(self, port: int, code: int) -> dict[str, Any]:
        self.servers[port].code = code
        return {}

    async def counts(self) -> dict[str, Any]:
        return {
            str(port): [server.requests, len(server.connections)]
            for port, server in self.servers.items()
        }


async def main() -> None:
    commands = Commands()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        try:
            answer = await getattr(commands, request.pop("op"))(**request)
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
