"""`confsync lb` itself, as the image runs it: one process with its programs beneath it.

Its home is a folder of the test, which stands for /haproxy in the image.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support import machine
from tests.support.agent import Agent
from tests.support.haproxy import talk
from tests.support.process import Process, alive, wait_until


class Balancer(Agent):
    """One home: haproxy.cfg, confsync.toml, nginx.d, whatever the test writes there."""

    def __init__(self, folder: Path, *, version: str = "2.6", env: Mapping[str, str] | None = None):
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.directory = folder / "run"
        self.state = folder / "state"
        self.config = self.home / "haproxy.cfg"
        self.file = self.home / "confsync.toml"
        self.master_socket = self.directory / "master.sock"
        self.binary = machine.haproxy_binary(version)
        self.env = {
            "CONFSYNC_HOME": str(self.home),
            "CONFSYNC_LB__DIRECTORY": str(self.directory),
            "CONFSYNC_STATE__DIRECTORY": str(self.state),
            "CONFSYNC_TARGET__BINARY": self.binary,
            "CONFSYNC_LOG__FORMAT": "json",
            **(env or {}),
        }
        self.words: tuple[str, ...] = ()
        """What stands behind `confsync lb`."""
        self._process: Process | None = None
        self._log = folder / "lb.log"
        self._read = 0
        self.lines = []

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            beneath = self.children()
            self._process.stop(grace=20)
            for pid in beneath:  # where it was killed, its programs live on
                end(pid)

    def start(self, **env: str) -> None:
        """Start it; returns at once."""
        argv = [sys.executable, "-m", "confsync", "lb", *self.words]
        self._process = Process(argv, log=self._log, env={**self.env, **env})

    def up(self) -> Self:
        """Start it, and wait until HAProxy answers."""
        self.start()
        self.wait(lambda line: line.get("event") == "HAProxy answers", "HAProxy answers")
        return self

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run another command at the same home to its end."""
        return subprocess.run(
            [sys.executable, "-m", "confsync", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.env, **env},
        )

    def children(self) -> list[int]:
        """Name what it started and what that started, parents first; nothing once it has ended."""
        return beneath(self.process.pid) if self.process.running else []

    def child(self, name: str = "haproxy") -> int:
        """Name the program that it started last under a name."""
        lines = [e for e in self.log() if e.get("event") == "program runs" and e["child"] == name]
        return int(lines[-1]["pid"])

    def worker(self) -> int:
        """Name HAProxy's newest worker."""
        return max(beneath(self.child()))

    def reloads(self) -> int:
        """Ask HAProxy's master how often it was reloaded."""
        for line in talk(self.master_socket, "show proc").splitlines():
            if "master" in line.split()[1:2]:
                return int(line.split()[2])
        raise AssertionError("no master in show proc")

    def event(
        self, text: str, *, since: int = 0, timeout: float = 60, **fields: object
    ) -> dict[str, object]:
        """Wait for an event with these fields."""
        return self.wait(
            lambda line: (
                line.get("event") == text
                and all(line.get(key) == value for key, value in fields.items())
            ),
            f"{text} {fields or ''}",
            since=since,
            timeout=timeout,
        )

    def again(self) -> None:
        """Have it read everything anew."""
        self.process.signal(signal.SIGHUP)


def beneath(pid: int) -> list[int]:
    """Name all that a process started, and what that did."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [child, *beneath(child)]
    return found


def end(pid: int) -> None:
    """Kill a process that a test's own one has left behind, and wait for its end."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(lambda: not alive(pid), f"the end of {pid}")


def config(port: int, *servers: int, answer: str = "", extra: str = "") -> str:
    """Write a configuration as an operator would, with `daemon`, and without any socket."""
    back = "".join(f"    server s{each} 127.0.0.1:{each}\n" for each in servers)
    said = f"    http-request return status 200 content-type text/plain string {answer}\n"
    return (
        "global\n    daemon\n    maxconn 1000\n"
        "defaults\n    mode http\n    option http-no-delay\n    option idle-close-on-response\n"
        "    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
        "    timeout http-keep-alive 5s\n"
        f"frontend in\n    bind 127.0.0.1:{port}\n{said if answer else '    default_backend web'}\n"
        f"backend web\n    balance roundrobin\n{back}{extra}"
    )
