"""Steady GET traffic through HAProxy, counted exactly, in a process of its own.

`python -m confsync.demo.load PORT` takes commands as lines of JSON and tells events:

    {"do": "probe", "host": H, "want": "served" | "gone"}   -> {"event": "probed", "host": H, "at": T}
    {"do": "start", "host": H}                              (clients that keep on asking)
    {"do": "stop", "host": H}                               -> {"event": "stopped", "host": H}
                                                            -> {"event": "first", "name": N, "at": T}
                                                            -> {"event": "traffic", ...}: Traffic

T is CLOCK_MONOTONIC in seconds, which all processes of a machine share. When the input ends, running
requests are finished and counted, and the process ends.
"""

import asyncio
import collections
import contextlib
import dataclasses
import random
import sys
import time

from confsync.demo import exchange, lines
from confsync.demo.traffic import Traffic

LONGEST = 120.0  # seconds that this process may live
REPORT = 0.2  # seconds between two events "traffic"
SAMPLES = 1000  # requests that the latencies stand on
PROBE = 0.004  # seconds between two probes
PROBES = 8000  # at most, for one question
# A service is new for as long as the old worker may still accept a connection: until so many
# connections in a row were answered, traffic would count the 503 of a service not yet there.
SETTLED = 25

# Per service: clients that keep their connection (one of them slow, so that connections are idle
# when a reload comes), and clients that open one for each request; seconds between their requests.
KEEP_ALIVE = (0.015, 0.02, 0.4)
FRESH = (0.02, 0.03)


class Load:
    """All clients of the demo, and what they met."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._traffic = Traffic()
        self._latencies: collections.deque[float] = collections.deque(maxlen=SAMPLES)
        self._stops: dict[str, asyncio.Event] = {}
        self._clients: dict[str, list[asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Obey commands until the input ends, then let every client finish its request."""
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            probes = []
            async for command in lines.read(sys.stdin):
                host = command["host"]
                match command["do"]:
                    case "probe":
                        wanted = command["want"] == "served"
                        probes.append(group.create_task(self._probe(host, served=wanted)))
                    case "start":
                        self._start(host, group)
                    case "stop":
                        await self._stop(host)
                        lines.write({"event": "stopped", "host": host})
                    case other:
                        raise ValueError(other)
            for probe in probes:
                probe.cancel()
            for host in tuple(self._stops):
                await self._stop(host)
            reporter.cancel()
        self._tell()

    def _start(self, host: str, group: asyncio.TaskGroup) -> None:
        stop = self._stops[host] = asyncio.Event()
        self._clients[host] = [
            group.create_task(self._client(host, think, stop, keep=keep))
            for keep, thinks in ((True, KEEP_ALIVE), (False, FRESH))
            for think in thinks
        ]

    async def _stop(self, host: str) -> None:
        self._stops.pop(host).set()
        await asyncio.wait(self._clients.pop(host))

    async def _client(self, host: str, think: float, stop: asyncio.Event, *, keep: bool) -> None:
        connection = exchange.Connection(self._port, host)
        try:
            while not stop.is_set():
                begun = time.monotonic()
                try:
                    self._answered(await connection.get(last=not keep), begun)
                except exchange.Failed as failed:
                    self._traffic.count_failure(failed.kind)
                with contextlib.suppress(TimeoutError):
                    pause = random.uniform(0.5, 1.5) * think  # noqa: S311 - so that clients spread
                    await asyncio.wait_for(stop.wait(), pause)
        finally:
            connection.close()

    async def _probe(self, host: str, *, served: bool) -> None:
        """Ask until the service answers, or no longer does: a 503 is then no failure."""
        first = 0.0
        row = 0
        for _ in range(PROBES):
            begun = time.monotonic()
            try:
                name = await exchange.Connection(self._port, host).get(last=True)
            except exchange.Failed as failed:
                reached = failed.kind == "503" and not served
                if failed.kind != "503":
                    self._traffic.count_failure(failed.kind)
            else:
                reached = served
                self._answered(name, begun)
            row = row + 1 if reached else 0
            if row == 1:
                first = time.monotonic()
            if row == SETTLED:
                lines.write({"event": "probed", "host": host, "at": first})
                return
            await asyncio.sleep(PROBE)

    def _answered(self, name: str, begun: float) -> None:
        now = time.monotonic()
        self._latencies.append(now - begun)
        if self._traffic.count_answer(name, now):
            lines.write({"event": "first", "name": name, "at": now})

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT)
            self._tell()

    def _tell(self) -> None:
        ordered = sorted(self._latencies)
        if ordered:
            self._traffic.p50 = ordered[len(ordered) // 2]
            self._traffic.p99 = ordered[len(ordered) * 99 // 100]
        lines.write({"event": "traffic", **dataclasses.asdict(self._traffic)})


if __name__ == "__main__":
    with contextlib.suppress(TimeoutError):
        asyncio.run(asyncio.wait_for(Load(int(sys.argv[1])).run(), LONGEST))
