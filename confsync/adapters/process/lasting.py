"""A program that runs for long, beside others: started, watched, signalled, and heard line by line.

It has a process group of its own, so that what it leaves behind when it dies can be ended too.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from confsync import errors
from confsync.adapters.process import child

_PIECE = 1 << 16
_LONGEST = 4096
"""Bytes of a line; what is longer is told in parts."""
_KEPT = 20
_AT_ONCE = 64
"""Pieces read without giving others a turn."""


class Lasting:
    """One run of a program. `words`: the last lines that it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], tell: Callable[[str], None]) -> None:
        self.pid = process.pid
        self.words: deque[str] = deque(maxlen=_KEPT)
        self._process = process
        self._tell = tell
        self._rest = b""
        assert process.stdout is not None
        self._pipe = process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._read)

    async def wait(self) -> int:
        """Wait for its end; returns its exit code, or the signal's number, negative."""
        await child.ended(self._process)
        self._drain()
        return self._process.returncode

    def signal(self, number: int) -> None:
        """Signal the program itself; nothing when it has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and whatever is left of its group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Listen no more."""
        if not self._pipe.closed:
            self._drain()
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._pipe.close()
            if self._rest:
                self._line(self._rest)
                self._rest = b""

    def _drain(self) -> None:
        for _ in range(_AT_ONCE):
            if self._pipe.closed or not self._read():
                return

    def _read(self) -> bool:
        """Take what there is; False when there is nothing now, or nobody writes any more."""
        try:
            piece = os.read(self._pipe.fileno(), _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            return False
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line)
        while len(self._rest) > _LONGEST:
            self._line(self._rest[:_LONGEST])
            self._rest = self._rest[_LONGEST:]
        return True

    def _line(self, line: bytes) -> None:
        text = line[:_LONGEST].decode("utf-8", "replace").rstrip()
        if text:
            self.words.append(text)
            self._tell(text)


async def start(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    tell: Callable[[str], None],
    directory: str = "",
    keep: Sequence[int] = (),
) -> Lasting:
    """Start a program; `tell` gets each line that it writes. Raises TargetUnavailable.

    `keep`: descriptors that it has too, with the same numbers.
    """
    try:
        process = child.begun(argv, environment=environment, directory=directory, keep=keep)
    except OSError as error:
        raise errors.TargetUnavailable(
            f"cannot start {argv[0]}: {error.strerror or error}",
            remedy="install it, or set its path (target.binary, nginx.binary)",
        ) from error
    return Lasting(process, tell)
