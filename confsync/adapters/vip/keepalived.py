"""The election by keepalived: VRRP version 3, with intervals well below a second, IPv6, unicast.

keepalived only elects: it never gets the shared addresses, so that they end with their lease whatever
becomes of it. It refuses to work for none at all, so it gets one of the loopback network's, which is
every host's own already. It tells its state over a FIFO. At a TERM it says goodbye by itself (an advert
of priority 0), and ends a second later.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from confsync.adapters.vip import guarded
from confsync.core.failover import Word
from confsync.errors import VipError

_INSTANCE = "confsync"
_STATES = {
    "MASTER": Word.MASTER,
    "BACKUP": Word.BACKUP,
    "FAULT": Word.BACKUP,
    "STOP": Word.BACKUP,
    "MASTER_RX_LOWER_PRI": Word.CONTESTED,
}
_STATE = re.compile(r'INSTANCE "([^"]*)" ([A-Z_]+)')
_MARGIN = 0.25
_STAMP = re.compile(r"^\w{3} \w{3} +\d+ [\d:]+ \d{4}: ")
# What it says of itself at each start, and of scripts, which it has none of.
_NOISE = re.compile(
    r"^(Starting|Running|Command line| |Configuration file|Startup|Stopp|NOTICE|Script user)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One side of a pair. `interval`, `lease`: seconds."""

    vhid: int = 42
    interval: float = 0.1
    priority: int = 100
    peers: Sequence[str] = ()
    preempt: bool = False
    lease: float = 2


class Keepalived:
    """Runs keepalived. `place` tells device and own address; `say` gets its lines: level, text.

    `directory`: made, private, and emptied at each start.
    """

    def __init__(
        self,
        options: Options,
        directory: Path,
        place: Callable[[], tuple[str, str]],
        say: Callable[[str, str], None],
    ) -> None:
        self._options = options
        self._directory = directory
        self._place = place
        self._say = say
        self._lock = asyncio.Lock()
        self._run: guarded.Guarded | None = None

    @property
    def farewell(self) -> float:
        """The other host waits for a part of the interval: less, the higher its priority.

        Not longer than the lease would do.
        """
        return min(_MARGIN + self._options.interval, 0.75 * self._options.lease)

    def ready(self) -> None:
        """Check that it could be started."""
        guarded.binary("keepalived")
        self._prepare()

    async def run(self, tell: Callable[[Word], None]) -> str:
        """Start it, wait for its end, return how it ended. Raises VipError."""
        async with self._lock:
            self._prepare()
            device, source = self._place()
            fifo = self._directory / "state"
            try:
                os.mkfifo(fifo, 0o600)
                # For writing too, so that its end is never the FIFO's.
                states = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                file = self._directory / "keepalived.conf"
                file.write_text(configuration(self._options, device, source, str(fifo)))
            except OSError as error:
                raise self._unusable(error) from error
            loop = asyncio.get_running_loop()
            loop.add_reader(states, _listen, states, tell)
            self._run = guarded.Guarded(self._options.lease)
            try:
                return await self._run.run(
                    arguments(guarded.binary("keepalived"), self._directory),
                    variables=guarded.environment(),
                    tell=self._hear,
                )
            finally:
                loop.remove_reader(states)
                os.close(states)
                shutil.rmtree(self._directory, ignore_errors=True)

    def beat(self) -> None:
        """Keep it running."""
        if self._run is not None:
            self._run.beat()

    def taken(self) -> None:
        """It announces nothing, so nothing waits for this."""

    async def goodbye(self) -> None:
        """Have it say that it goes. It does at once, and is killed after the farewell."""
        if self._run is not None:
            self._run.signal(signal.SIGTERM)

    def stop(self) -> None:
        """Kill it and its children."""
        if self._run is not None:
            self._run.kill()

    def _prepare(self) -> None:
        """Make the private directory, with nothing in it.

        A process id of an earlier run, which may be anybody's now, would keep it from starting.
        """
        try:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> VipError:
        return VipError(
            f"cannot use {self._directory}: {error.strerror or error}", remedy="see lb.directory"
        )

    def _hear(self, line: str) -> None:
        text = _STAMP.sub("", line)
        if not _NOISE.search(text):
            self._say("info", text)


def _listen(states: int, tell: Callable[[Word], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        for line in os.read(states, 4096).decode("utf-8", "replace").splitlines():
            word = heard(line)
            if word is not None:
                tell(word)


def heard(line: str) -> Word | None:
    """Read its state out of a line of the FIFO."""
    found = _STATE.match(line)
    return _STATES.get(found[2]) if found and found[1] == _INSTANCE else None


def arguments(binary: str, directory: Path) -> list[str]:
    """Word its command line."""
    return [
        binary,
        "--dont-fork",
        "--log-console",
        "--vrrp",
        f"--use-file={directory / 'keepalived.conf'}",
        f"--pid={directory / 'pid'}",
        f"--vrrp_pid={directory / 'vrrp.pid'}",
    ]


def configuration(options: Options, device: str, source: str, fifo: str) -> str:
    """Write its configuration. All values are typed: there is nothing to be quoted."""
    lines = [
        "global_defs {",
        "    router_id confsync",
        f"    vrrp_notify_fifo {fifo}",
        "}",
        f"vrrp_instance {_INSTANCE} {{",
        "    version 3",
        "    state BACKUP",
        f"    interface {device}",
        f"    virtual_router_id {options.vhid}",
        f"    priority {options.priority}",
        f"    advert_int {options.interval:g}",
    ]
    if not options.preempt:
        lines.append("    nopreempt")
    own = f"127.0.112.{options.vhid}/32"
    if ip_address(source).version == 6:
        lines.append("    native_ipv6")
        own = f"fe80::70:{options.vhid:x}/128"
    lines += ["    virtual_ipaddress {", f"        {own} dev lo scope host", "    }"]
    if options.peers:
        lines += [f"    unicast_src_ip {source}", "    unicast_peer {"]
        lines += [f"        {ip_address(peer)}" for peer in options.peers]
        lines.append("    }")
    else:
        lines.append(f"    mcast_src_ip {source}")
    return "\n".join([*lines, "}", ""])
