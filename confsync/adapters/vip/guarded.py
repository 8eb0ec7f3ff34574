"""Runs a program that elects, with a guard beside it that ends it when confsync gives no beat.

The other way round too: a program that is stopped hears nobody, and would keep an address that another
host has taken by now.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from confsync.adapters.process import child
from confsync.adapters.process.lasting import Lasting, start
from confsync.adapters.vip import guard
from confsync.errors import TargetUnavailable, VipError

_STOPPED = 3
"""Beats in a row at which a program was found stopped, before it is ended."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def binary(name: str) -> str:
    """Find a program: on PATH, or where programs of the system's administration are."""
    path = f"{os.environ.get('PATH', '')}:{_PATH}"
    if found := shutil.which(name, path=path):
        return found
    raise VipError(
        f"no program {name}", remedy=f'install {name}, or set vip.engine, or HA="none" for none'
    )


def environment(**more: str) -> dict[str, str]:
    """Make the environment of such a program: ours has tokens that are not its business."""
    return {"PATH": _PATH, "LC_ALL": "C", **more}


class Guarded:
    """One run of a program. `seconds`: without a beat for so long it is ended."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: Lasting | None = None
        self._beats = -1
        self._stops = 0
        self._ended = asyncio.Event()

    async def run(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        tell: Callable[[str], None],
        keep: Sequence[int] = (),
    ) -> str:
        """Start the program, wait for its end, return how it ended. Raises VipError."""
        try:
            process = await start(argv, environment=variables, tell=tell, keep=keep)
        except TargetUnavailable as error:
            raise VipError(f"cannot start {argv[0]}", detail=str(error)) from error
        self._process = process
        watch: subprocess.Popen[bytes] | None = None
        try:
            watch = self._watch(process.pid)
            code = await process.wait()
        finally:
            # Whatever happened, what is left of it ends here.
            process.kill()
            process.close()
            self._ended.set()
            if watch is not None:
                watch.kill()
                os.close(self._beats)
                self._beats = -1
        await child.ended(watch)
        return f"exit code {code}" if code >= 0 else f"ended by signal {-code}"

    def beat(self) -> None:
        """Have the guard wait anew; end a program that is stopped."""
        if self._process is None or self._beats < 0:
            return
        self._stops = self._stops + 1 if _stopped(self._process.pid) else 0
        if self._stops >= _STOPPED:
            self.kill()
        try:
            os.write(self._beats, guard.BEAT)
        except BlockingIOError:
            return  # the guard is stopped, and has beats enough
        except OSError:
            self.kill()  # unguarded, it must not go on

    def signal(self, number: int) -> None:
        """Signal the program."""
        if self._process is not None:
            self._process.signal(number)

    def kill(self) -> None:
        """End the program and its children, at once."""
        if self._process is not None and not self._ended.is_set():
            self._process.kill()

    async def gone(self, seconds: float) -> bool:
        """Wait for its end, for so long; returns whether it came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()

    def _watch(self, group: int) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(group)]
        mine, its = os.pipe()
        try:
            watch = subprocess.Popen(
                [*argv, str(self._seconds)],
                stdin=mine,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                process_group=0,
            )
        except OSError as error:
            os.close(its)
            raise VipError(f"cannot start the guard: {error.strerror or error}") from error
        finally:
            os.close(mine)
        os.set_blocking(its, False)
        self._beats = its
        return watch


def _stopped(pid: int) -> bool:
    """Tell whether a process or a child of it is stopped (proc(5): state T)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # a kernel without that file, or it has ended
        children = []
    return any(_state(each) == "T" for each in (str(pid), *children))


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
