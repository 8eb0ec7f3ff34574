"""The workers' side of the conversation with the demo: JSON lines on standard input and output.

The demo's own side is children.Worker.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any, TextIO


async def read(stream: TextIO) -> AsyncIterator[dict[str, Any]]:
    """Yield commands until the input ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), stream
    )
    try:
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        transport.close()


def write(event: dict[str, Any]) -> None:
    """Tell an event at once; the demo always reads, so the pipe does not fill."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
