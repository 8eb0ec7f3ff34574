"""The demo's HAProxy: started as docs tell operators to, and asked how often it was reloaded."""

import asyncio
import re
import time
from pathlib import Path

from confsync import errors
from confsync.demo import children, exchange, site

PATIENCE = 15.0  # seconds


async def start(binary: str, place: site.Site) -> children.Program:
    """Start HAProxy on the agent's first configuration. Raises TargetUnavailable."""
    master = f"{place.master_socket},mode,600"
    return await children.Program.start(
        "haproxy",
        [binary, "-W", "-db", "-S", master, "-f", str(place.config)],
        folder=place.folder,
    )


async def ready(child: children.Program, port: int) -> None:
    """Wait until it answers: 503, since there is no service yet. Raises TargetUnavailable."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not child.ended:
        try:
            await exchange.Connection(port, "nobody").get(last=True)
        except exchange.Failed as failed:
            if failed.kind == "503":
                return
        await asyncio.sleep(0.02)
    raise errors.TargetUnavailable("HAProxy does not get ready", detail=child.tail())


async def count_reloads(master_socket: Path) -> tuple[int, int] | None:
    """Ask the master how many reloads were tried and how many failed of late; None: no answer now.

    A master does not answer while it reloads (management.txt, 9.4).
    """
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(master_socket)
            try:
                writer.write(b"show proc\n")
                writer.write_eof()
                answer = (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    found = re.search(r"^\d+\s+master\s+(\d+)(?:\s+\[failed: (\d+)\])?", answer, re.MULTILINE)
    return (int(found[1]), int(found[2] or 0)) if found else None
