"""The process behind `tests.support.polling`: a new connection every few milliseconds, all noted.

Its settings come as one JSON argument. It prints `ready`, then works until a line or the end comes on
stdin, or its time is over. A few more polls follow, one after the other: whatever the caller waited
for, some were begun after it. Then each poll is one line: start, end, outcome, server.
Standard library only, so that it runs inside any container.

Polls are started by the clock, not by the end of the last: what hangs does not hide what comes after.
Their time limit is one of a clock that stands still while this process does: a machine that stalls is
nobody's outage.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from typing import Any

LAST = 5
"""Polls after the caller's line."""


class Wrong(Exception):
    """An answer that is none: the outcome's name."""


async def exchange(settings: dict[str, Any], context: ssl.SSLContext | None) -> str:
    """Make one request on a connection of its own; returns what the answer's body says."""
    try:
        reader, writer = await asyncio.open_connection(
            settings["address"], settings["port"], ssl=context
        )
    except ConnectionRefusedError as error:
        raise Wrong("refused") from error
    except OSError as error:
        raise Wrong("unreachable") from error
    try:
        head = f"GET {settings['path']} HTTP/1.1\r\nHost: {settings['host']}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        answer = await reader.read()
    except ConnectionError as error:
        raise Wrong("reset") from error
    finally:
        writer.transport.abort()
    top, _, body = answer.partition(b"\r\n\r\n")
    if not top:
        raise Wrong("eof")
    status = top.split(b" ", 2)[1].decode()
    if status != "200":
        raise Wrong(f"status {status}")
    return body.decode("latin-1").strip()


class Limits:
    """Ends polls that take too long."""

    def __init__(self, longest: float, stall: float) -> None:
        """`longest`: of a poll; `stall`: longer between two ticks was no time of ours. Seconds."""
        self._longest = longest
        self._stall = stall
        self._now = 0.0
        self._ticked = time.monotonic()
        self.open: dict[asyncio.Timeout, float] = {}

    def begin(self) -> asyncio.Timeout:
        limit = asyncio.timeout(None)
        self.open[limit] = self._now + self._longest
        return limit

    def tick(self) -> None:
        now = time.monotonic()
        self._now += min(now - self._ticked, self._stall)
        self._ticked = now
        for limit, end in self.open.items():
            if end <= self._now:
                limit.reschedule(asyncio.get_running_loop().time())


async def poll(
    settings: dict[str, Any],
    context: ssl.SSLContext | None,
    limits: Limits,
    limit: asyncio.Timeout,
    into: list[Any],
) -> None:
    began, server, outcome = time.time(), "", "ok"
    try:
        async with limit:
            try:
                server = await exchange(settings, context)
            finally:
                del limits.open[limit]
    except TimeoutError:
        outcome = "timeout"
    except Wrong as wrong:
        outcome = str(wrong)
    into.append((round(began, 5), round(time.time(), 5), outcome, server))


async def main() -> None:
    settings = json.loads(sys.argv[1])
    context = None
    if settings["tls"]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    loop.call_later(settings["seconds"], stop.set)
    found: list[Any] = []
    print("ready", flush=True)
    interval = settings["interval"]
    limits = Limits(settings["timeout"], 5 * interval)
    due = loop.time()
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            group.create_task(poll(settings, context, limits, limits.begin(), found))
            # After a stall it goes on from now: a burst would be another load than the one asked for.
            due = max(due + interval, loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, due - loop.time()))
            limits.tick()
        for _ in range(LAST):
            last = group.create_task(poll(settings, context, limits, limits.begin(), found))
            while not last.done():
                await asyncio.sleep(interval)
                limits.tick()
        while limits.open:
            await asyncio.sleep(interval)
            limits.tick()
    for line in sorted(found):
        print(json.dumps(line))


asyncio.run(main())
