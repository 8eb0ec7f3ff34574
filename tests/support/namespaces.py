"""Hosts as network namespaces on one bridge: no container, up in a moment, gone with the test.

For what needs addresses and wires, but no file system of its own. Whole load balancers are `pair.py`.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tests.support import machine
from tests.support.process import wait_until

ROOT = Path(__file__).parents[2]
RUNNER = "tests.support.vip_runner"


def ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=20)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """One namespace with `eth0` on the bridge."""

    def __init__(self, name: str, letter: str, number: int) -> None:
        self.name, self.letter = name, letter
        self.port = f"to-{letter}"
        self.own, self.own6 = f"10.9.0.{number}", f"fd00:9::{number}"
        self.within = ("ip", "netns", "exec", name)
        self.python = (*self.within, sys.executable)

    def ip(self, *words: str, check: bool = True) -> str:
        return ip("-n", self.name, *words, check=check)

    def has(self, address: str) -> bool:
        return f" {address}/" in self.ip("-o", "address")

    def pids(self, *words: str) -> list[int]:
        """List the processes in it whose command line has all the words."""
        found = []
        for pid in map(int, ip("netns", "pids", self.name).split()):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if all(word in line for word in words):
                    found.append(pid)
        return sorted(found)

    def hardware(self, address: str) -> str:
        """Say which hardware address it remembers for a neighbour; "" for none."""
        words = self.ip("neighbour", "show", address).split()
        return words[words.index("lladdr") + 1] if "lladdr" in words else ""


class Net:
    """A bridge, and hosts on it."""

    def __init__(self, *letters: str) -> None:
        machine.namespaces()
        self.name = f"cs{secrets.token_hex(3)}"
        self._made: list[str] = []
        try:
            self._add(self.name)
            ip("-n", self.name, "link", "add", "name", "br0", "type", "bridge")
            ip("-n", self.name, "link", "set", "br0", "up")
            self.hosts = [self._host(letter, 11 + i) for i, letter in enumerate(letters)]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all, with whatever still runs in it."""
        for name in reversed(self._made):
            for pid in map(int, ip("netns", "pids", name, check=False).split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ip("netns", "delete", name, check=False)

    def _add(self, name: str) -> None:
        ip("netns", "add", name)
        self._made.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def _host(self, letter: str, number: int) -> Host:
        host = Host(f"{self.name}{letter}", letter, number)
        self._add(host.name)
        words = ("link", "add", "eth0", "type", "veth", "peer", "name", host.port)
        host.ip(*words, "netns", self.name)
        ip("-n", self.name, "link", "set", host.port, "master", "br0", "up")
        host.ip("address", "add", f"{host.own}/24", "dev", "eth0")
        host.ip("address", "add", f"{host.own6}/64", "dev", "eth0", "nodad")
        host.ip("link", "set", "eth0", "up")
        return host

    # Cables

    def cut(self, host: Host) -> None:
        """Take a host off the bridge; its link stays up."""
        ip("-n", self.name, "link", "set", host.port, "nomaster")

    def heal(self, host: Host) -> None:
        ip("-n", self.name, "link", "set", host.port, "master", "br0")

    def down(self, host: Host) -> None:
        """Pull its cable."""
        ip("-n", self.name, "link", "set", host.port, "down")

    def up(self, host: Host) -> None:
        ip("-n", self.name, "link", "set", host.port, "up")


class Runner:
    """A shared address's owner on one host. `within`: words before the program (`setpriv ...`)."""

    def __init__(
        self, host: Host, folder: Path, password: Path, *within: str, **vip: object
    ) -> None:
        self.host = host
        self.folder = folder / host.letter
        given = {
            "vip": vip,
            "directory": str(self.folder),
            "password": str(password),
            "library": machine.immediate_library(),
            "name": host.letter,
        }
        self._child = subprocess.Popen(
            [*host.within, *within, sys.executable, "-m", RUNNER, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PATH": machine.election_path()},
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.lines.append(line)

    @property
    def pid(self) -> int:
        """Of the owner: `ip netns exec` becomes the program."""
        return self._child.pid

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def count(self, text: str) -> int:
        return sum(event["text"] == text for event in self.events)

    def wait(self, text: str, *, timeout: float = 60) -> dict[str, Any]:
        """Wait for an event."""
        self._until(lambda: self.count(text), text, timeout)
        return self._last(text)

    def tell(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n")
        self._child.stdin.flush()

    def standing(self) -> dict[str, Any]:
        before = self.count("standing")
        self.tell("standing")
        self._until(lambda: self.count("standing") > before, "standing", 60)
        return self._last("standing")

    def _last(self, text: str) -> dict[str, Any]:
        return [each for each in self.events if each["text"] == text][-1]

    def _until(self, probe: Callable[[], object], what: str, timeout: float) -> None:
        try:
            wait_until(probe, what, timeout=timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}; {self.host.letter} says:\n{self.text}") from None

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def ended(self, timeout: float = 60) -> int:
        """Wait for its end; return its exit code."""
        code = self._child.wait(timeout)
        self._thread.join(5)
        return code

    def close(self) -> None:
        """End it in order, then by force."""
        with contextlib.suppress(OSError, ValueError):
            assert self._child.stdin is not None
            self._child.stdin.close()
        self._child.send_signal(signal.SIGCONT)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join(5)
        assert self._child.stdout is not None
        self._child.stdout.close()


@contextlib.contextmanager
def runner(
    host: Host, folder: Path, password: Path, *within: str, **vip: object
) -> Iterator[Runner]:
    made = Runner(host, folder, password, *within, **vip)
    try:
        yield made
    finally:
        made.close()
