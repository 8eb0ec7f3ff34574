"""Asks whether HAProxy answers: over its sockets, and over HTTP where an address is given.

The worker's own socket is asked first, since it answers while the master reloads; where there is
none, the master is asked for its worker.
"""

import asyncio
import re
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from confsync import errors
from confsync.adapters.haproxy import cli, show

_STATUS = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})[ \r]")
_REFUSED_FROM = 500
_LATE = 1.5
_LONG = 60.0
"""Seconds that never pass: each question has its own limit around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """`url`: "" for the sockets alone. `timeout`: seconds of one question."""

    master_socket: str
    stats_socket: str
    url: str = ""
    timeout: float = 0.25


class Probe:
    """One HAProxy, asked again and again. `pid`: of the worker that answered last."""

    def __init__(self, options: ProbeOptions) -> None:
        self._options = options
        self._master = cli.Socket(options.master_socket, master=True)
        self._stats = cli.Socket(options.stats_socket)
        self.pid = 0
        self.mute = False
        """Whether its worker has not answered the last question, whatever the page says."""

    async def ask(self) -> str:
        """Return "" when it answers, else why not. Bounded in time."""
        self.mute = True
        try:
            await self._within(self._worker)
            self.mute = False
            if self._options.url:
                await self._within(self._http)
        except errors.TargetError as error:
            return error.what
        except TimeoutError:
            what = "HAProxy" if self.mute else self._options.url
            return f"{what} did not answer within {self._options.timeout:g} s"
        return ""

    async def _within(self, question: Callable[[], Awaitable[None]]) -> None:
        """Ask within the time; once more where it was this process that came late to the answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._options.timeout):
                await question()
        except TimeoutError:
            if loop.time() - began < _LATE * self._options.timeout:
                raise
        else:
            return
        async with asyncio.timeout(self._options.timeout):
            await question()

    async def _worker(self) -> None:
        try:
            text = await self._stats.ask("show info", timeout=_LONG)
        except errors.TargetError:
            # No such socket, or nobody listens: the configuration may have none.
            text = await self._master.ask("@1 show info", timeout=_LONG)
        found = show.info(text)
        if found is None:
            raise errors.TargetUnavailable("HAProxy's worker does not answer `show info`")
        self.pid = found.pid

    async def _http(self) -> None:
        """Ask for a page; anything below 500 is an answer."""
        url = self._options.url
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            reader, writer = await asyncio.open_connection(host, port)
            try:
                lines = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(lines.encode())
                line = await reader.readline()
            finally:
                writer.close()
        except TimeoutError:  # an OSError as well
            raise
        except (OSError, ValueError) as error:
            raise errors.TargetUnavailable(
                f"{url} does not answer: {getattr(error, 'strerror', '') or error}"
            ) from error
        status = _STATUS.match(line)
        if status is None or int(status[1]) >= _REFUSED_FROM:
            said = line[:60].decode("ascii", "replace").strip() or "nothing"
            raise errors.TargetUnavailable(f"{url} answers {said}")
