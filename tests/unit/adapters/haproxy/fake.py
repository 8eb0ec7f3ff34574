"""A HAProxy made of two unix sockets, whose master is obedient, silent, late or broken on demand.

It answers as real ones do (tests/unit/adapters/haproxy/captured), one version's habit at a time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

INFO = """\
Name: HAProxy
Version: {version}
Pid: {pid}
Uptime_sec: 5
Stopping: 0
Start_time_sec: {started}

"""
PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
{master}            master          {reloads} [failed: {failed}]   0d00h00m06s     {version}
# workers
{workers}# old workers
{old}# programs

"""


class FakeHaproxy:
    """State that tests change between two commands; `asked` has all commands of both sockets.

    `on_reload`: what `reload` does and answers; None closes without an answer.
    """

    def __init__(self, folder: Path) -> None:
        self.stats_socket = folder / "admin.sock"
        self.master_socket = folder / "master.sock"
        self.version = "3.0.11"
        self.master = 100
        self.workers = [101]
        self.old: list[int] = []
        self.answering = 101
        self.started = 1_700_000_000
        self.outlived = 0
        self.reloads = 0
        self.failed = 0
        self.asked: list[str] = []
        self.on_reload: Callable[[], str | None] = self.succeed
        self.half_closed: list[bool] = []
        self._servers: list[asyncio.Server] = []

    @contextlib.asynccontextmanager
    async def serving(self, *, stats: bool = True, master: bool = True) -> AsyncIterator[None]:
        try:
            if stats:
                await self.listen(self.stats_socket)
            if master:
                await self.listen(self.master_socket)
            yield
        finally:
            for server in self._servers:
                server.close()
                await server.wait_closed()

    async def listen(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        is_master = path == self.master_socket

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            command = (await reader.readline()).decode().strip()
            if is_master:
                self.half_closed.append(await reader.read() == b"")  # as the real one: waits for it
            self.asked.append(command)
            reply = self.reply(command)
            with contextlib.suppress(ConnectionError):
                writer.write((reply or "").encode())
                await writer.drain()
            writer.close()

        self._servers.append(await asyncio.start_unix_server(answer, path))

    def reply(self, command: str) -> str | None:
        match command:
            case "show info":
                return INFO.format(version=self.version, pid=self.answering, started=self.started)
            case "@1 show info":
                pid = (self.workers or self.old)[0]
                return INFO.format(version=self.version, pid=pid, started=self.started)
            case "show proc":
                return PROC.format(
                    master=self.master,
                    reloads=self.reloads,
                    failed=self.failed,
                    version=self.version,
                    workers=self._lines(self.workers),
                    old=self._lines(self.old),
                )
            case "show startup-logs":
                return "[ALERT]    (100) : no port for it\n"
            case "reload":
                return self.on_reload()
            case _:
                return "Unknown command\n"

    def new_worker(self) -> None:
        """Take a reload that loads: the next worker answers."""
        self.old = self.workers
        self.workers = [max(self.workers + self.old) + 1]
        self.answering = self.workers[0]
        self.started += 5
        self.reloads += 1
        self.failed = 0

    def succeed(self) -> str | None:
        self.new_worker()
        return "Success=1\n--\n[NOTICE]   (100) : Loading success.\n\n"

    def succeed_silently(self) -> str | None:
        self.new_worker()
        return None

    def fail(self) -> str | None:
        self.reloads += 1
        self.failed += 1
        return "Success=0\n--\n[ALERT]    (100) : Binding [/etc/h.cfg:3]: port taken\n\n"

    def fail_silently(self) -> str | None:
        self.fail()
        return None

    def _lines(self, pids: list[int]) -> str:
        return "".join(
            f"{pid}            worker          {self.outlived}               0d00h00m05s     "
            f"{self.version}\n"
            for pid in pids
        )
