"""What can happen to the load balancer that has the address, and how it is put right again.

Used by the tests, which assert, and by benchmarks/failover.py, which measures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.containers import docker
from tests.support.pair import GRACE, Host, Pair, write
from tests.support.process import wait_until

# Says which host answers; the header is what the load client counts by.
CONFIG = """\
global
    log stdout format raw local0
    user haproxy
    group haproxy
defaults
    mode http
    option idle-close-on-response
    timeout connect 3s
    timeout client 30s
    timeout server 30s
frontend site
    bind :80
    http-request return status 200 content-type text/plain lf-string "%H" if { path / }
    default_backend pages
backend pages
    server nginx 127.0.0.1:8080
"""
SITE = 'server { listen 127.0.0.1:8080; location / { return 200 "nginx\\n"; } }\n'
PASSWORD = "s3cr3t-of-both"
LEASE = 2
"""Seconds, the default of `vip.lease`."""


class LbPair(Pair):
    """Both hosts with the same load balancer, as the post starts it, the password in a file.

    `each`: further variables of host "a" and host "b".
    """

    def __init__(
        self,
        image: str,
        engine: str,
        folder: Path,
        *,
        each: Mapping[str, Mapping[str, str]] | None = None,
        **variables: str,
    ) -> None:
        self.each = each or {}
        self.engine = engine
        self.folder = folder
        write(folder / "haproxy.cfg", CONFIG)
        write(folder / "nginx.d" / "site.conf", SITE)
        write(folder / "password", f"{PASSWORD}\n" if engine == "ucarp" else f"{PASSWORD[:8]}\n")
        self.variables = {"HA": engine, "PASSWORD_FILE": "/run/secrets/vip", **variables}
        super().__init__(image)

    def prepare(self, host: Host) -> None:
        """Make the load balancer of a host, not started."""
        mounts = {
            "haproxy.cfg": "/haproxy/haproxy.cfg",
            "nginx.d": "/haproxy/nginx.d",
            "password": "/run/secrets/vip",
        }
        options = [f"--volume={self.folder}/{name}:{at}:ro" for name, at in mounts.items()]
        variables = {**self.variables, **self.each.get(host.letter, {})}
        if self.engine == "keepalived":
            variables["CONFSYNC_VIP__PEERS"] = self.other(host).own
        options += [f"--env={name}={value}" for name, value in variables.items()]
        self.create(host, *self.addresses, options=options)

    def start(self) -> Host:
        """Start both at once, and wait until both work; returns the holder."""
        for host in self.hosts:
            self.prepare(host)
        docker("start", *(host.lb.name for host in self.hosts))
        return self.both_ready()

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.vip, *self.more)

    def overlap(self, since: float) -> float:
        """Say for how many seconds both hosts had the address, of what they got after `since`."""
        a, b = (host.watch.held(self.vip) for host in self.hosts)
        return sum(x.overlap(y) for x in a for y in b if max(x.start, y.start) >= since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`hurt` and `mend` act on the host that has the address.

    `planned`: the load balancer could say goodbye. `split`: both may hold the address until it is
    mended, since neither can know of the other.
    """

    hurt: Callable[[Pair, Host], object]
    mend: Callable[[Pair, Host], object] = lambda pair, host: None
    planned: bool = False
    split: bool = False


def _start(pair: Pair, host: Host) -> None:
    host.lb.start()


def _stop(pair: Pair, host: Host) -> None:
    docker("stop", "--time", str(GRACE), host.lb.name)


def _supervisor(pair: Pair, host: Host) -> None:
    (pid,) = host.pids(r"^\S*python\S* \S*confsync lb")
    host.signal("KILL", pid)


def _master(pair: Pair, host: Host) -> None:
    host.signal("KILL", haproxy(host)[0])


def _worker(pair: Pair, host: Host) -> None:
    host.signal("KILL", *haproxy(host)[1:])


def _hang(pair: Pair, host: Host) -> None:
    host.signal("STOP", *haproxy(host)[1:])


def _pause(pair: Pair, host: Host) -> None:
    docker("pause", host.lb.name)


def _unpause(pair: Pair, host: Host) -> None:
    docker("unpause", host.lb.name)


def _plug(pair: Pair, host: Host) -> None:
    """Plug the cable in, and wait until ucarp hears again: one that slept is begun anew."""
    pair.up(host)
    wait_until(lambda: not _asleep(host), f"an awake ucarp on {host.letter}")


def _asleep(host: Host) -> bool:
    pids = host.pids(r"^\S*ucarp ")
    found = [host.lb.exec("cat", f"/proc/{pid}/wchan", check=False) for pid in pids]
    return any("nanosleep" in each for each in found)


def haproxy(host: Host) -> list[int]:
    """List HAProxy's processes, the master first."""
    return wait_until(lambda: _two(host), "HAProxy's master and worker")


def _two(host: Host) -> list[int]:
    found = host.pids(r"^\S*haproxy ")
    return found if len(found) >= 2 else []


EVENTS = {
    "docker stop": Event(hurt=_stop, mend=_start, planned=True),
    "container killed": Event(hurt=lambda _, host: host.lb.kill(), mend=_start),
    "supervisor killed": Event(hurt=_supervisor, mend=_start),
    "HAProxy's master killed": Event(hurt=_master),
    "HAProxy's worker killed": Event(hurt=_worker),
    "HAProxy hangs": Event(hurt=_hang),
    "docker pause": Event(hurt=_pause, mend=_unpause),
    "network cut": Event(
        hurt=lambda pair, host: pair.cut(host),
        mend=lambda pair, host: pair.heal(host),
        split=True,
    ),
    "cable pulled": Event(
        hurt=lambda pair, host: pair.down(host),
        mend=_plug,
        split=True,
    ),
}
