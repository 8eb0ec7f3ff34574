"""The process behind `tests.support.polling`: a new connection every few milliseconds, all noted.

Its settings come as one JSON argument. It prints `ready`, then works until a line or the end comes on
stdin, or its time is over; then each poll that ended is one line: start, end, outcome, server.
Standard library only, so that it runs inside any container.

Polls are started by the clock, not by the end of the last: what hangs does not hide what comes after.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from typing import Any


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


async def poll(settings: dict[str, Any], context: ssl.SSLContext | None, into: list[Any]) -> None:
    began, server, outcome = time.time(), "", "ok"
    try:
        async with asyncio.timeout(settings["timeout"]):
            server = await exchange(settings, context)
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
    due = loop.time()
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            group.create_task(poll(settings, context, found))
            # After a stall it goes on from now: a burst would be another load than the one asked for.
            due = max(due + settings["interval"], loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, due - loop.time()))
    for line in sorted(found):
        print(json.dumps(line))


asyncio.run(main())
