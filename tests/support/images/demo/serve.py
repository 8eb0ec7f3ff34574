"""Serve one toy server on port 80, named after this host, until SIGTERM."""

import asyncio
import importlib
import signal
import socket
import sys

sys.path.insert(0, "/opt")
worker = importlib.import_module("worker")


async def main() -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    commands = worker.Commands()
    await commands.start(port=80, name=socket.gethostname(), host="0.0.0.0")
    await end.wait()
    await commands.stop(port=80, graceful=True)


asyncio.run(main())
