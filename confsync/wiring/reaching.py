"""From settings to the running HAProxy: its target, its files, changes without a reload."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from confsync.adapters.files.recovery import Recovery
from confsync.adapters.files.state import StateDirectory
from confsync.adapters.files.store import FileStore
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core import placement
from confsync.ports import ConfigStore, Runtime, Surveyor, Target
from confsync.settings.model import DockerTarget, Settings, SystemdTarget


class Store(ConfigStore, Protocol):
    """The destinations, wherever they are."""

    def recover(self) -> Recovery:
        """Mend what a crash left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The way to the running HAProxy, and to its files.

    `runtime`, `surveyor` None: every change is a reload. `watch`: who tells of HAProxy's changes, for
    ever, in words.
    """

    target: Target
    store: Store
    runtime: Runtime | None = None
    surveyor: Surveyor | None = None
    watch: Callable[[Callable[[str], None]], Awaitable[None]] | None = None
    close: Callable[[], None] = lambda: None


def placed(settings: Settings) -> placement.Placement:
    """Tell how HAProxy sees the files that the settings name."""
    chosen = settings.target
    if not isinstance(chosen, DockerTarget):
        return placement.Placement()
    if chosen.directory:
        return placement.shared(chosen.config, chosen.directory)
    return placement.mirrored(settings.state.directory)


def reached(
    settings: Settings, where: placement.Placement, store: FileStore, state: StateDirectory
) -> Reached:
    """Build the way to the running HAProxy, and to its files. Opens nothing."""
    chosen = settings.target
    options = SocketOptions(
        config=where.local(chosen.config),
        master_socket=chosen.master_socket,
        stats_socket=chosen.stats_socket,
        binary=chosen.binary,
        weak=chosen.check == "weak",
        timeout=settings.reload.timeout,
    )
    if isinstance(chosen, DockerTarget):
        from confsync.wiring import containers  # noqa: PLC0415

        way = containers.made(chosen, options, settings.runtime, where, store, state)
        return Reached(
            target=way.target,
            store=way.store,
            runtime=way.runtime,
            surveyor=way.surveyor,
            watch=way.target.watch,
            close=way.target.close,
        )
    if isinstance(chosen, SystemdTarget):
        from confsync.adapters.systemd import systemctl, unit  # noqa: PLC0415

        manager = systemctl.Systemctl(chosen.unit)
        inner = SocketTarget(options, master_pid=manager.main_pid)
        outer: Target = unit.SystemdTarget(
            unit.SystemdOptions(unit=chosen.unit, timeout=settings.reload.timeout),
            inner,
            systemctl=manager,
        )
    else:
        outer = inner = SocketTarget(options)
    if not settings.runtime.enabled:
        return Reached(target=outer, store=store)
    from confsync.adapters.haproxy.runtime import SocketRuntime  # noqa: PLC0415
    from confsync.adapters.haproxy.surroundings import Surveyor as Surroundings  # noqa: PLC0415

    return Reached(
        target=outer,
        store=store,
        runtime=SocketRuntime(options, closed=settings.runtime.closed_until_checked),
        surveyor=Surroundings(inner.command),
    )
