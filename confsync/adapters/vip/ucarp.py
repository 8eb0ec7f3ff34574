"""The election by ucarp: adverts by multicast, signed with a shared password.

ucarp only elects. Its state is read from what it logs; it gets no script that sets an address. The
one script that it gets holds it up until the address is set here: it announces and advertises after
that, and no request comes too early. What it needs (password, that script) is in files without a
name, inherited: nothing of it is on a disk, nothing in a process list.

ucarp says no goodbye when it ends. So it is killed, and the goodbye is sent from here.
"""

import asyncio
import contextlib
import errno
import os
import re
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from confsync.adapters.vip import guarded
from confsync.core import carp
from confsync.core.failover import Word
from confsync.errors import SettingsError, VipDenied, VipError

IMMEDIATE = "/usr/lib/confsync/immediate.so"
"""Lets ucarp hear at once (deploy/image/immediate.c)."""
_HEARS_AT_ONCE, _HEARS_LATE = 0.25, 1.25
_AGAIN = 0.02
"""Seconds between the goodbye and its repetition."""
_SHORTEST = 10
"""256ths of a second."""
_MEMORY_EXEC = 0x10  # MFD_EXEC, since Linux 6.3
_WORDS = (
    ("Switching to state: MASTER", Word.MASTER),
    ("Switching to state: BACKUP", Word.BACKUP),
    ("reasserting control of VIP", Word.CONTESTED),
)
_STAMP = re.compile(r"^\S+T\S+: (\[[A-Z]+\] )?")
_DIGEST = re.compile(r" - md2=.*\] - ")
# The script is none that sets anything, and its announcement is made here.
_NOISE = re.compile(r"Warning: no script|^Spawning \[|^Switching to state|reasserting control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One side of a pair. `skew`: 256ths of a second; `lease`: seconds."""

    address: str
    password: str = field(repr=False)
    vhid: int = 42
    base: int = 1
    skew: int = 0
    ratio: int = 3
    preempt: bool = False
    lease: float = 2
    immediate: str = ""
    """The library to preload; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a device says of its carrier: how often it came and went, and whether it is there."""

    changes: int = 0
    up: bool = False


class Ucarp:
    """Runs ucarp. `place` tells device and own address; `say` gets its lines: level, text."""

    def __init__(
        self,
        options: Options,
        place: Callable[[], tuple[str, str]],
        say: Callable[[str, str], None],
    ) -> None:
        self._options = options
        self._place = place
        self._say = say
        self._last = ""
        self._lock = asyncio.Lock()
        self._run: guarded.Guarded | None = None
        self._gate = -1
        self._master = False
        self._link = Link()
        self._asleep = False

    @property
    def farewell(self) -> float:
        """Without the library a goodbye is heard up to a second late."""
        late = min(_HEARS_LATE, 0.75 * self._options.lease)
        return _HEARS_AT_ONCE if self._options.immediate else late

    def ready(self) -> None:
        """Check the options, the program, and that a goodbye could be sent."""
        if faults := list(faults_of(self._options)):
            raise SettingsError(faults)
        guarded.binary("ucarp")
        self._socket().close()

    async def run(self, tell: Callable[[Word], None]) -> str:
        """Start it, wait for its end, return how it ended. Raises VipError."""

        def hear(line: str) -> None:
            word = heard(line)
            if word is not None:
                self._master = word is not Word.BACKUP
                tell(word)
            level, text = worded(line)
            # Some of it comes with each advert.
            if text and text != self._last:
                self._last = text
                self._say(level, text)

        async with self._lock:
            options = self._options
            with contextlib.ExitStack() as kept:
                opened, self._gate = os.pipe()
                kept.callback(self._shut)
                kept.callback(os.close, opened)
                # It opens them anew, and reads them from their beginning.
                wait = f"#!/bin/sh\nread -r _ </proc/self/fd/{opened}\n"
                password = _nameless("password", options.password.encode() + b"\n")
                kept.callback(os.close, password)
                script = _nameless("up", wait.encode())
                kept.callback(os.close, script)
                device, source = self._place()
                argv = arguments(guarded.binary("ucarp"), options, device, source, password, script)
                preload = {"LD_PRELOAD": options.immediate} if options.immediate else {}
                self._last, self._master, self._asleep = "", False, False
                self._link = link(device)
                self._run = guarded.Guarded(options.lease)
                ended = await self._run.run(
                    argv,
                    variables=guarded.environment(**preload),
                    tell=hear,
                    keep=(password, script, opened),
                )
                return f"{device}: the link was down: begun anew" if self._asleep else ended

    def beat(self) -> None:
        """Keep it running, unless it sleeps.

        Once it has seen no carrier it looks again after ten seconds only, and hears nobody meanwhile:
        no goodbye, and no silence of a host that died.
        """
        if self._run is None:
            return
        self._run.beat()
        now = link(self._place()[0])
        if now.up and now.changes != self._link.changes:
            self._link = now
            # As the master it has not noticed: it would be the other one's now.
            if not self._master:
                self._asleep = True
                self._run.kill()

    def taken(self) -> None:
        """Let it go on to announce and advertise."""
        if self._gate >= 0:
            os.write(self._gate, b"\n")

    async def goodbye(self) -> None:
        """Kill it, then say what it would not: twice, since it may get lost."""
        self.stop()
        if self._run is not None:
            await self._run.gone(1)
        self._farewell()
        await asyncio.sleep(_AGAIN)
        self._farewell()

    def stop(self) -> None:
        """Kill it: its own end would be no other, and may wait for a cable."""
        if self._run is not None:
            self._run.kill()

    def _farewell(self) -> None:
        options = self._options
        frame = carp.goodbye(
            vhid=options.vhid,
            address=IPv4Address(options.address),
            password=options.password.encode(),
            counter=secrets.token_bytes(8),
        )
        # The other host takes over in any case, only later.
        with contextlib.suppress(OSError, VipError), self._socket() as sock:
            sock.sendto(frame, (carp.GROUP, 0))

    def _socket(self) -> socket.socket:
        device, source = self._place()
        try:
            sock = socket.socket(
                socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, carp.PROTOCOL
            )
        except OSError as error:
            raise _denied(error) from error
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, carp.TTL)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            index = socket.if_nametoindex(device)
            interface = struct.pack("=4s4si", bytes(4), socket.inet_aton(source), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            sock.bind((source, 0))
        except OSError as error:
            sock.close()
            raise VipError(
                f"cannot send from {source} on {device}: {error.strerror or error}",
                remedy="set vip.source to this host's own address there",
            ) from error
        return sock

    def _shut(self) -> None:
        gate, self._gate = self._gate, -1
        os.close(gate)


def faults_of(options: Options) -> Iterator[str]:
    """Find what ucarp would refuse, or take wrongly."""
    size = len(options.password.encode())
    if not options.password:
        yield "vip: ucarp needs a password (give one, or a file with it: vip.password_file)"
    elif size > carp.LONGEST_PASSWORD:
        yield (
            f"vip: the password has {size} bytes, ucarp takes {carp.LONGEST_PASSWORD} at most"
            " (choose a shorter one, the same on both hosts)"
        )
    elif set(options.password) & {"\n", "\r", "\0"}:
        yield "vip: the password has a line break or NUL in it (choose another)"
    if options.base * options.ratio >= carp.SLOWEST:
        yield (
            f"vip.advbase: {options.base} s times ratio = {options.ratio} is not below"
            f" {carp.SLOWEST} s, so that no goodbye is understood (set advbase = 1)"
        )
    if options.base == 0 and options.skew < _SHORTEST:
        yield (
            f"vip.advskew: with advbase = 0 it alone is the interval, and is below {_SHORTEST} 256ths"
            " of a second (set it to 26 on the preferred host and to 128 on the other)"
        )
    if options.base == 0 and not options.immediate:
        yield (
            f"vip.advbase: 0 needs {IMMEDIATE}, without which both hosts take the address in turn"
            " (install it, see docs/vip.md, or set advbase = 1)"
        )


def arguments(
    binary: str, options: Options, device: str, source: str, password: int, script: int
) -> list[str]:
    """Word its command line; `password`, `script`: descriptors that it inherits."""
    argv = [
        binary,
        f"--interface={device}",
        f"--srcip={source}",
        f"--vhid={options.vhid}",
        f"--addr={options.address}",
        f"--passfile=/proc/self/fd/{password}",
        f"--upscript=/proc/self/fd/{script}",
        f"--advbase={options.base}",
        f"--advskew={options.skew}",
        f"--deadratio={options.ratio}",
        "--facility=none",
        "--neutral",
    ]
    # Intervals below a second are told apart by the skew alone: who has less takes over in any case,
    # and does so in order with this.
    return [*argv, "--preempt"] if options.preempt or not options.base else argv


def heard(line: str) -> Word | None:
    """Read its state out of a line."""
    return next((word for text, word in _WORDS if text in line), None)


def worded(line: str) -> tuple[str, str]:
    """Return level and text of a line for the log; the text is empty when it is no news."""
    stamp = _STAMP.match(line)
    mark = stamp[1] if stamp else None
    text = _DIGEST.sub(" - ", _STAMP.sub("", line))
    if _NOISE.search(text):
        return "debug", ""
    return {"[ERROR] ": "error", "[WARNING] ": "warning"}.get(mark or "", "info"), text


def link(device: str) -> Link:
    """Ask for a device's carrier; where nobody tells it is as if it never changed."""
    folder = Path("/sys/class/net") / device
    try:
        changes = int((folder / "carrier_changes").read_text())
        return Link(changes=changes, up=(folder / "carrier").read_text().strip() == "1")
    except (OSError, ValueError):  # EINVAL: it has been set down
        return Link()


def library(*, wanted: bool) -> str:
    """Name the library that is to be preloaded: empty when it is not wanted, or not there."""
    return IMMEDIATE if wanted and Path(IMMEDIATE).exists() else ""


def _nameless(name: str, content: bytes) -> int:
    """Make a file in memory; only who inherits the descriptor can open it."""
    try:
        made = os.memfd_create(name, os.MFD_CLOEXEC | _MEMORY_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise VipError(f"cannot make a file in memory: {error.strerror}") from error
        made = os.memfd_create(name, os.MFD_CLOEXEC)  # an older kernel, which needs no asking
    os.fchmod(made, 0o700)
    os.write(made, content)
    return made


def _denied(error: OSError) -> VipError:
    if error.errno in {errno.EPERM, errno.EACCES}:
        return VipDenied(
            "may not open raw sockets: the capability NET_RAW is missing",
            remedy="run the container with --cap-add=NET_RAW, or the service with CAP_NET_RAW",
        )
    return VipError(f"cannot open a raw socket: {error.strerror or error}")
