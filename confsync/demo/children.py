"""Child processes that are always ended, by their own pid, however the demo itself ends.

Two sorts: programs (HAProxy, Consul, the agent), whose output goes to a log in the demo's folder,
and workers (backends.py, load.py), which speak JSON lines over their standard input and output and
end by themselves when that input closes, so that even a demo killed by `kill -9` leaves none.
What the children do is none of this module's business.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from confsync import errors

Message = dict[str, Any]

# What a user's environment may hold for their own confsync, Consul, HAProxy or service manager, and
# proxies: with any of it the demo would not run on loopback alone, or would touch what is not its own.
_FOREIGN = ("CONFSYNC_", "CONSUL_", "HAPROXY_", "NOTIFY_", "WATCHDOG_", "LISTEN_")


def environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for children: the user's own without what would steer them."""
    return {
        name: value
        for name, value in own.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }


class Program:
    """One child whose output goes to a log file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._ending = False

    @classmethod
    async def start(cls, name: str, argv: Sequence[str], *, folder: Path) -> Self:
        """Start `argv` in `folder`, apart from the terminal's process group.

        Ctrl-C then reaches the demo alone, which ends its children in their order. Raises
        TargetUnavailable when the program cannot be started.
        """
        log = folder / f"{name}.log"
        with log.open("ab") as output:
            process = await _spawn(
                name, argv, folder, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, or a signal's number below zero; None while it runs."""
        return self._process.returncode

    @property
    def ended(self) -> bool:
        """Tell whether it has ended."""
        return self._process.returncode is not None

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def guard(self) -> None:
        """Wait for ever; raises TargetUnavailable when the child ends without being told to."""
        code = await self._process.wait()
        if not self._ending:
            raise errors.TargetUnavailable(
                f"{self.name} ended by itself ({_ended(code)})", detail=self.tail()
            )
        await asyncio.Event().wait()

    async def kill(self) -> None:
        """End it as a crash would."""
        self._ending = True
        await _end(self._process, 0)

    async def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, then make it; `grace` in seconds."""
        self._ending = True
        await _end(self._process, grace)


class Worker:
    """One child that takes commands and tells events, each a line of JSON."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._finishing = False

    @classmethod
    async def start(cls, name: str, module: str, *args: str, folder: Path) -> Self:
        """Start `python -m MODULE ARGS` in `folder`. Raises TargetUnavailable."""
        log = folder / f"{name}.log"
        pipe = asyncio.subprocess.PIPE
        with log.open("ab") as output:
            process = await _spawn(
                name,
                [sys.executable, "-m", module, *args],
                folder,
                stdin=pipe,
                stdout=pipe,
                stderr=output,
            )
        return cls(name, process, log)

    def send(self, message: Message) -> None:
        """Send a command; one to a worker that is gone is dropped, since `events` tells of that."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def events(self, take: Callable[[Message], None]) -> None:
        """Hand over events until the worker ends; raises TargetUnavailable unless told to end."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            take(json.loads(line))
        if not self._finishing:
            code = await self._process.wait()
            detail = self.log.read_text(errors="replace")[-2000:]
            raise errors.TargetUnavailable(
                f"the demo's {self.name} ended by itself ({_ended(code)})", detail=detail
            )

    def finish(self) -> None:
        """Close its input: it tells its last events and ends."""
        assert self._process.stdin is not None
        self._finishing = True
        self._process.stdin.close()

    async def stop(self, grace: float = 3.0) -> None:
        """End it; `grace` in seconds."""
        self.finish()
        await _end(self._process, grace)


async def _spawn(
    name: str, argv: Sequence[str], folder: Path, **streams: Any
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv, cwd=folder, env=environment(), start_new_session=True, **streams
        )
    except OSError as error:
        raise errors.TargetUnavailable(
            f"cannot start {name}: {argv[0]}: {error.strerror}"
        ) from error


async def _end(process: asyncio.subprocess.Process, grace: float) -> None:
    if process.returncode is not None:
        return
    if grace:
        with contextlib.suppress(ProcessLookupError):
            # `terminate` would look first whether it has ended, and so take that news from asyncio,
            # which then warns of an unknown child.
            os.kill(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
            return
    # Not yet reaped, so the number still names this child and, as it leads a session, its workers.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
