"""The web server behind HAProxy: nothing is loaded that was not checked, and nothing unasked."""

import asyncio
from typing import Protocol


class Server(Protocol):
    """An nginx, as adapters/nginx has it."""

    def command(self) -> tuple[str, ...]:
        """Give what to start."""

    async def check(self) -> None:
        """Have it check its files. Raises CheckRejected with its words, CheckUnavailable."""

    async def reload(self) -> None:
        """Have it load them. Raises TargetError."""

    def digest(self) -> int:
        """Name the state of its files."""


class WebServer:
    """One web server. Its files are looked at by `changed`, which others call from time to time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._checked: int | None = None
        self._passed: int | None = None
        self._busy = asyncio.Lock()

    def command(self) -> tuple[str, ...]:
        """Give what to start: it stays in the foreground. Raises CheckUnavailable: no such program."""
        return self._server.command()

    async def check(self) -> None:
        """Have it check its files. Raises CheckRejected with its words, CheckUnavailable."""
        async with self._busy:
            # The state of before: what changes during a check is looked at again.
            self._checked = digest = await asyncio.to_thread(self._server.digest)
            await self._server.check()
            self._passed = digest

    async def reload(self) -> None:
        """Have it load its files, checked as they are now; the old workers end what they serve.

        Raises CheckRejected, CheckUnavailable, TargetError; what ran before serves on then.
        """
        if self._passed != await asyncio.to_thread(self._server.digest):
            await self.check()
        async with self._busy:
            await self._server.reload()

    async def changed(self) -> bool:
        """Tell whether files changed since the last check."""
        return await asyncio.to_thread(self._server.digest) != self._checked
