"""A child process that is always ended by its own pid, never by a name.

Consul, HAProxy on the host, the backends and the load client are all one of these, so that there is
one place that waits, pauses and cleans up.
"""

import atexit
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Process:
    """One child with its output in a log file."""

    def __init__(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.argv = list(argv)
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,  # Ctrl-C in the test run must not reach it first
            )
        atexit.register(self.kill9)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        if self.running:
            self._child.send_signal(number)

    def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, then make it end; `grace` in seconds."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        try:
            self._child.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill9()
        atexit.unregister(self.kill9)

    def kill9(self) -> None:
        """End it at once, as a crash or the kernel's OOM killer would."""
        self.signal(signal.SIGKILL)
        self._child.wait()
        atexit.unregister(self.kill9)

    def pause(self) -> None:
        """Freeze it: its sockets accept, nobody answers."""
        self.signal(signal.SIGSTOP)
        # The signal reaches thread by thread: one may still answer after kill() returns.
        threads = Path(f"/proc/{self.pid}/task")
        wait_until(lambda: all(map(_stopped, threads.iterdir())), "the stop of every thread")

    def resume(self) -> None:
        self.signal(signal.SIGCONT)


def wait_until(probe: Callable[[], T], what: str, *, timeout: float = 60.0) -> T:
    """Call `probe` until it returns something true; name `what` never came when it does not."""
    end = time.monotonic() + timeout
    while True:
        if found := probe():
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody has asked for does not."""
    return _state(Path(f"/proc/{pid}")) not in {"", "Z", "X"}


def _stopped(thread: Path) -> bool:
    return _state(thread) in {"", "T"}  # a thread may end meanwhile


def _state(place: Path) -> str:
    """Read the letter of a process or thread; "" of none."""
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
