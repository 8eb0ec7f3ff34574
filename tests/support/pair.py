"""Two hosts, a network between them, and a load balancer on each: what fails over, and how it is hurt.

A host is a container that only waits, with a network namespace of its own. The load balancer joins
that, as `--net=host` would: whatever ends it, the host with its addresses stays.
"""

import contextlib
import ipaddress
import json
import re
import secrets
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from tests.support.containers import Container, docker
from tests.support.process import wait_until

WAITING = ("--entrypoint", "sleep")
# A stop that takes longer than its grace is a crash: no test means that.
GRACE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """From when to when (time.time()) a host had an address; `end` is infinite while it has."""

    start: float
    end: float

    def overlap(self, other: "Held") -> float:
        """Say for how many seconds both had it."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))


class Watch:
    """The kernel's own account of a host's addresses: `ip monitor`, with times."""

    def __init__(self, host: str) -> None:
        self._child = subprocess.Popen(
            ["docker", "exec", host, "ip", "-ts", "-o", "monitor", "address"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.append(line)

    def close(self) -> None:
        # Its end in the container is that container's; this is the client of `docker exec`.
        self._child.kill()
        self._child.wait()
        self._thread.join(5)
        if self._child.stdout:
            self._child.stdout.close()

    def held(self, address: str) -> list[Held]:
        """List when the host had an address, renewals taken together."""
        found: list[Held] = []
        for line in list(self._lines):
            match = re.match(r"\[(\S+)\] (Deleted )?.* inet6? ([\d.a-f:]+)/", line)
            if match is None or match[3] != address:
                continue
            at = datetime.fromisoformat(match[1]).timestamp()
            if match[2]:
                if found and found[-1].end == float("inf"):
                    found[-1] = Held(start=found[-1].start, end=at)
            elif not found or found[-1].end != float("inf"):
                found.append(Held(start=at, end=float("inf")))
        return found


class Host(Container):
    """One host. `lb`: the load balancer on it, once started."""

    def __init__(self, name: str, letter: str, address: str) -> None:
        super().__init__(name)
        self.letter = letter
        self.own = address
        self.lb = Container(f"{name}-lb")
        self.watch: Watch

    def has(self, address: str) -> bool:
        """Say whether an interface of it has this address now."""
        return f" {address}/" in self.exec("ip", "-o", "address")

    def pids(self, pattern: str) -> list[int]:
        """List the load balancer's processes with such a command line, by their number in it."""
        script = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done"
        rows = self.lb.exec("sh", "-c", f"{script} 2>/dev/null").splitlines()
        found = [row.split(" ", 1) for row in rows if " " in row]
        return sorted(int(pid) for pid, line in found if re.search(pattern, line))

    def signal(self, name: str, *pids: int) -> None:
        assert pids
        self.lb.exec("sh", "-c", f"kill -{name} {' '.join(map(str, pids))}")

    @property
    def role(self) -> str:
        """Say what its load balancer says of the address: "holds", "waits", ...; "" of none at work."""
        shown = self.lb.exec("confsync", "status", "--output", "json", check=False)
        try:
            reply = json.loads(shown)["balancer"]
        except (ValueError, KeyError):
            return ""
        return str(reply["vip"]["role"]) if reply["healthy"] else ""

    @property
    def ready(self) -> bool:
        return self.role in {"holds", "waits"}


class Pair:
    """The network, two hosts `a` (the lower address) and `b`, and who works on it from outside."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.name = f"confsync-test-{secrets.token_hex(4)}"
        self._made: list[str] = []
        self._stack = contextlib.ExitStack()
        self._stack.callback(self._remove)
        try:
            net = self._network()
            self.vip, self.more = str(net[100]), (str(net[101]), str(net[102]))
            self.a = self._host("a", str(net[11]))
            self.b = self._host("b", str(net[12]))
            # Sees the machine's own end of the hosts' cables.
            outside = ("--network", "host", "--cap-add", "NET_ADMIN")
            self._outside = self._pause("outside", *outside)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def _remove(self) -> None:
        for name in reversed(self._made):
            docker("rm", "--force", "--volumes", name, check=False)
        docker("network", "rm", self.name, check=False)

    def _network(self) -> ipaddress.IPv4Network:
        for _ in range(20):  # another network may have these numbers already
            subnet = f"10.{77 + secrets.randbelow(100)}.{secrets.randbelow(256)}.0/24"
            docker("network", "create", "--subnet", subnet, self.name, check=False)
            if docker("network", "ls", "--quiet", "--filter", f"name={self.name}"):
                return ipaddress.IPv4Network(subnet)
        raise RuntimeError("no network could be made")

    def _pause(self, name: str, *options: str) -> str:
        full = f"{self.name}-{name}"
        self._made.append(full)
        argv = ["--name", full, "--init", "--no-healthcheck", *WAITING, *options]
        docker("run", "--detach", *argv, self.image, "infinity")
        return full

    def _host(self, letter: str, address: str) -> Host:
        network = ("--network", self.name, "--ip", address, "--hostname", letter)
        host = Host(self._pause(letter, *network), letter, address)
        host.watch = Watch(host.name)
        self._stack.callback(host.watch.close)
        self._made.append(host.lb.name)
        return host

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.a, self.b

    def other(self, host: Host) -> Host:
        return self.b if host is self.a else self.a

    def create(
        self, host: Host, *command: str, options: Sequence[str] = (), image: str = ""
    ) -> Container:
        """Make the load balancer of a host anew, not started; `command`: VIP, password, more."""
        docker("rm", "--force", "--volumes", host.lb.name, check=False)
        argv = ["--name", host.lb.name, "--network", f"container:{host.name}"]
        argv += ["--cap-add", "NET_ADMIN", *options, image or self.image, *command]
        docker("create", *argv)
        return host.lb

    def holders(self, address: str = "") -> list[Host]:
        """List the hosts that have an address, the first shared one by default."""
        return [host for host in self.hosts if host.has(address or self.vip)]

    def holder(self, *, timeout: float = 60) -> Host:
        """Wait until exactly one host has the address."""
        found = wait_until(self._only, "one holder of the address", timeout=timeout)
        assert found is not None
        return found

    def _only(self) -> Host | None:
        found = self.holders()
        return found[0] if len(found) == 1 else None

    def both_ready(self) -> Host:
        """Wait until both load balancers work; returns the holder."""
        for host in self.hosts:
            try:
                wait_until(lambda h=host: h.ready, f"{host.letter} at work", timeout=60)  # type: ignore[misc]
            except TimeoutError as error:
                raise AssertionError(f"{error}:\n{host.lb.logs()[-4000:]}") from None
        return self.holder()

    def repair(self) -> None:
        """Put right what a failed test has left, so that it fails alone.

        Whether both are at work says nothing of the cables: a host without one works, and holds.
        """
        for host in self.hosts:
            self.heal(host)
            self.up(host)
            if not host.ready:
                docker("unpause", host.lb.name, check=False)
                docker("start", host.lb.name, check=False)

    # Cables

    def cable(self, host: Host) -> str:
        """Name the machine's own end of a host's cable."""
        index = host.exec("cat", "/sys/class/net/eth0/iflink")
        rows = docker("exec", self._outside, "ip", "-o", "link").splitlines()
        (row,) = (row for row in rows if row.startswith(f"{index}: "))
        return row.split()[1].partition("@")[0]

    def cut(self, host: Host) -> None:
        """Take a host off the network; its link stays up, as behind a switch that fails."""
        docker("exec", self._outside, "ip", "link", "set", self.cable(host), "nomaster")

    def heal(self, host: Host) -> None:
        bridge = f"br-{docker('network', 'inspect', '-f', '{{.Id}}', self.name)[:12]}"
        docker("exec", self._outside, "ip", "link", "set", self.cable(host), "master", bridge)

    def down(self, host: Host) -> None:
        """Pull a host's cable."""
        docker("exec", self._outside, "ip", "link", "set", self.cable(host), "down")

    def up(self, host: Host) -> None:
        docker("exec", self._outside, "ip", "link", "set", self.cable(host), "up")


def write(path: Path, text: str) -> Path:
    """Write a file that another user's container may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path
