"""The process behind `tests.support.load`: clients that count every outcome.

Its settings come as one JSON argument. On stdin `report` asks for the counts so far and `stop`, or
the end of stdin, ends it; each answer is one JSON line, the last one when it ends. It also ends by
itself after its time or its count. It imports the standard library only, so that it runs alone
inside any container.

A keep-alive client sends its next request without looking whether the server has closed meanwhile:
the harshest client there is. A retrying one would hide what a reload loses.
"""

import array
import asyncio
import collections
import contextlib
import json
import ssl
import sys
import time
from typing import Any

FAILURES_KEPT = 50


class Broken(Exception):
    """A request ended in something other than its whole right answer."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


class Tally:
    """All that was seen."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        self.codes: collections.Counter[str] = collections.Counter()
        self.servers: dict[str, list[float]] = {}  # name: count, first, last
        self.failures: list[list[Any]] = []
        self.latencies = array.array("d")  # milliseconds
        self.total = 0
        self.opened = self.cut = self.alive = self.ticks = 0
        self.max_gap = 0.0  # seconds

    def count(self, mode: str, outcome: str, detail: str = "") -> None:
        self.total += 1
        self.outcomes[mode][outcome] += 1
        if outcome != "ok" and len(self.failures) < FAILURES_KEPT:
            self.failures.append([time.monotonic(), mode, outcome, detail])

    def saw(self, server: str) -> None:
        now = time.monotonic()
        entry = self.servers.setdefault(server, [0, now, now])
        entry[0] += 1
        entry[2] = now

    def report(self, *, final: bool) -> dict[str, Any]:
        ordered = sorted(self.latencies) if final else []
        last = len(ordered) - 1
        return {
            "seconds": time.monotonic() - self.started,
            "outcomes": self.outcomes,
            "codes": self.codes,
            "servers": self.servers,
            "failures": self.failures,
            "latency_ms": {f"p{p}": ordered[last * p // 100] for p in (50, 90, 99, 100) if ordered},
            "streams_opened": self.opened,
            "streams_alive": self.alive,
            "cut_streams": self.cut,
            "ticks": self.ticks,
            "max_tick_gap": self.max_gap,
            "final": final,
        }


class Client:
    """One of the clients; its connection is None when the next request opens a new one."""

    def __init__(self, settings: dict[str, Any], tally: Tally, stop: asyncio.Event) -> None:
        self.settings = settings
        self.tally = tally
        self.stop = stop
        self.timeout: float = settings["timeout"]
        self.allowed = set(settings["servers"])
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.reused = False
        self.got_bytes = False
        self.tls: dict[str, Any] = {}
        if settings.get("tls"):
            context = ssl.create_default_context(cafile=settings["tls"])
            self.tls = {"ssl": context, "server_hostname": settings["server_name"]}

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].transport.abort()
        self.streams = None
        self.reused = False

    async def send(self, path: str, *, close: bool) -> tuple[str, dict[str, str]]:
        """Send a request, on a new connection if there is none; return status and headers."""
        if self.streams is None:
            try:
                self.streams = await asyncio.open_connection(
                    self.settings["address"], self.settings["port"], **self.tls
                )
            except OSError as error:
                raise Broken("connect_error", repr(error)) from error
        reader, writer = self.streams
        self.got_bytes = False
        fields = {"Host": self.settings["host_header"], **self.settings["headers"]}
        if close:
            fields["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.got_bytes = True
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:])
        }
        return head[0].split(" ")[1], headers

    async def get(self, mode: str) -> None:
        """Make one request and count how it ended."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                await self.exchange(close=mode == "close")
        except Broken as broken:
            self.tally.count(mode, broken.outcome, broken.detail)
            self.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.tally.count(mode, self.classify(error), repr(error))
            self.close()
        else:
            self.tally.count(mode, "ok")
            self.tally.latencies.append((time.monotonic() - began) * 1000)

    async def exchange(self, *, close: bool) -> None:
        status, headers = await self.send(self.settings["path"], close=close)
        assert self.streams is not None
        reader = self.streams[0]
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = await reader.read()
        self.tally.codes[status] += 1
        expect_200(status)
        server = headers.get("x-server", "")
        self.tally.saw(server)
        if body.decode("latin-1") != server or (self.allowed and server not in self.allowed):
            raise Broken("wrong_server", f"{server}: {body[:80]!r}")
        self.reused = True
        if close or headers.get("connection", "").lower() == "close":
            self.close()

    def classify(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "timeout"
        if self.got_bytes or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
            return "partial"
        if isinstance(error, asyncio.IncompleteReadError):
            return "eof_on_reused" if self.reused else "eof"
        return "reset"

    async def requests(self, mode: str) -> None:
        while not self.stop.is_set():
            await self.get(mode)
            if self.tally.total >= self.settings["requests"]:
                self.stop.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings["think"]):
                    await self.stop.wait()
        self.close()

    async def stream(self) -> None:
        """Hold a stream; when it is cut, count that and open the next."""
        while not self.stop.is_set():
            try:
                async with asyncio.timeout(self.timeout):
                    status, headers = await self.send(self.settings["stream_path"], close=True)
                expect_200(status)
            except Broken as broken:
                self.tally.count("stream", broken.outcome, broken.detail)
                await asyncio.sleep(0.05)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.tally.count("stream", self.classify(error), repr(error))
                await asyncio.sleep(0.05)
            else:
                self.tally.saw(headers.get("x-server", ""))
                self.tally.opened += 1
                self.tally.alive += 1
                await self.ticks()
            self.close()

    async def ticks(self) -> None:
        assert self.streams is not None
        reader = self.streams[0]
        number, rest, last = 0, b"", time.monotonic()
        try:
            while not self.stop.is_set():
                async with asyncio.timeout(self.timeout):
                    size = int(await reader.readuntil(b"\r\n"), 16)
                    chunk = (await reader.readexactly(size + 2))[:-2]
                now = time.monotonic()
                self.tally.max_gap = max(self.tally.max_gap, now - last)
                last = now
                expect_more(chunk)
                # A proxy may merge chunks or split them: only the lines count.
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    expect_tick(line, number)
                    number += 1
                self.tally.ticks += len(lines)
        except (Broken, OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.tally.cut += 1
            self.tally.alive -= 1
            self.tally.count("stream", "cut", repr(error))
        else:
            self.tally.count("stream", "ok")


def expect_200(status: str) -> None:
    if status != "200":
        raise Broken("status_5xx" if status[0] == "5" else "status_other", status)


def expect_more(chunk: bytes) -> None:
    if not chunk:
        raise Broken("ended", "the server ended an endless stream")


def expect_tick(line: bytes, number: int) -> None:
    if int(line.split()[-1]) != number:
        raise Broken("wrong_tick", f"{number}: {line!r}")


async def commands(tally: Tally, stop: asyncio.Event) -> None:
    """Obey stdin until it ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while (await reader.readline()).strip() == b"report":
        print(json.dumps(tally.report(final=False)), flush=True)
    stop.set()


async def main() -> None:
    settings: dict[str, Any] = json.loads(sys.argv[1])
    tally, stop = Tally(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        control = group.create_task(commands(tally, stop))
        async with asyncio.TaskGroup() as clients:
            for mode in ("keepalive", "close"):
                for _ in range(settings[mode]):
                    clients.create_task(Client(settings, tally, stop).requests(mode))
            for _ in range(settings["streams"]):
                clients.create_task(Client(settings, tally, stop).stream())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), settings["seconds"])
            stop.set()
        control.cancel()
    print(json.dumps(tally.report(final=True)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
