"""Puts the failover of the shared address together, from its settings."""

import math
from pathlib import Path

from confsync.engine.failover import Failover, Options, Says
from confsync.settings.balancer import Vip

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

    pair = ucarp.Options(
        address=settings.address,
        password=password,
        vhid=settings.vhid,
        base=settings.advbase,
        skew=settings.advskew,
        ratio=settings.ratio,
        preempt=settings.preempt,
        lease=settings.lease,
        immediate=ucarp.library(wanted=settings.immediate),
    )
    return Failover(options, ucarp.Ucarp(pair, place, say), leased, event)
