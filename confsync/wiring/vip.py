"""Puts the failover of the shared address together, from its settings."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from confsync.engine.failover import Failover, Options, Says
from confsync.errors import SettingsError
from confsync.settings.balancer import Vip

if TYPE_CHECKING:
    from confsync.adapters.vip import ucarp

DIRECTORY = "/run/confsync"


def failover(
    settings: Vip,
    *,
    password: str,
    event: Says,
    directory: str = DIRECTORY,
    stale: float = math.inf,
) -> Failover | None:
    """Build this host's part in the shared addresses; None when there are none.

    `password`: what both hosts share; `directory`: for what does not outlive a start; `stale`: seconds
    after which a health that was told holds no more. Nothing of the outside is touched yet: that is
    `clean`. Must be called within a running loop.
    """
    if not settings.addresses:
        return None
    from confsync.adapters.vip.addresses import Leased  # noqa: PLC0415

    leased = Leased(
        settings.addresses,
        device=settings.device,
        source=settings.source,
        seconds=settings.lease,
    )

    def place() -> tuple[str, str]:
        return leased.place.device, str(leased.place.source)

    def say(level: str, text: str) -> None:
        event(level, "election", child=settings.engine, line=text)

    options = Options(
        engine=settings.engine,
        addresses=settings.addresses,
        lease=settings.lease,
        stale=stale,
    )
    if settings.engine == "keepalived":
        from confsync.adapters.vip import keepalived  # noqa: PLC0415

        chosen = keepalived.Options(
            vhid=settings.vhid,
            interval=settings.interval,
            priority=settings.priority,
            peers=settings.peers,
            preempt=settings.preempt,
            lease=settings.lease,
        )
        folder = Path(directory) / "vip"
        return Failover(options, keepalived.Keepalived(chosen, folder, place, say), leased, event)
    from confsync.adapters.vip import ucarp  # noqa: PLC0415

    pair = _pair(settings, password, ucarp.library(wanted=settings.immediate))
    return Failover(options, ucarp.Ucarp(pair, place, say), leased, event)


def check(settings: Vip) -> tuple[str, ...]:
    """Check what a start would refuse, where nothing runs yet. Returns remarks.

    What belongs to the machine that it is to run on (the password's file, a library) may be missing
    here. Raises SettingsError.
    """
    if not settings.addresses or settings.engine != "ucarp":
        return ()
    from confsync.adapters.vip import ucarp  # noqa: PLC0415

    remarks = []
    word = "unknown"
    if os.path.exists(settings.password_file):  # noqa: PTH110
        word = password(settings.password_file)
    elif settings.password_file:
        remarks.append(f"vip.password_file: {settings.password_file} is not there: not checked")
    if faults := list(ucarp.faults_of(_pair(settings, word, ucarp.IMMEDIATE))):
        raise SettingsError(faults)
    if not settings.advbase and not ucarp.library(wanted=settings.immediate):
        remarks.append(f"vip.advbase: 0 needs {ucarp.IMMEDIATE}, which is not there or not wanted")
    return tuple(remarks)


def password(path: str) -> str:
    """Read the pair's password, a file's first line. Raises SettingsError, which shows none of it."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            line = file.readline(1024).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "is not UTF-8"
        raise SettingsError(
            [f"{path}: the password's file cannot be read: {words}; name a readable one"]
        ) from None
    if not line:
        raise SettingsError([f"{path}: its first line is empty; write the password there"])
    return line


def _pair(settings: Vip, word: str, immediate: str) -> "ucarp.Options":
    from confsync.adapters.vip import ucarp  # noqa: PLC0415

    return ucarp.Options(
        address=settings.address,
        password=word,
        vhid=settings.vhid,
        base=settings.advbase,
        skew=settings.advskew,
        ratio=settings.ratio,
        preempt=settings.preempt,
        lease=settings.lease,
        immediate=immediate,
    )
