"""The target `docker` put together; imported only where the settings ask for it."""

from dataclasses import dataclass

from confsync.adapters.docker.agreement import Agreement
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.check import Checker, CheckOptions
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.delivery import DeliveredStore
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.inside import ROOT, Inside
from confsync.adapters.docker.master import Masters
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.docker.signalling import Signalling
from confsync.adapters.docker.target import DockerTarget
from confsync.adapters.docker.ways import Ways
from confsync.adapters.files.recovery import Recovery
from confsync.adapters.files.state import StateDirectory
from confsync.adapters.files.store import FileStore
from confsync.adapters.haproxy import listening
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core.placement import Placement
from confsync.errors import ReloadFailed
from confsync.ports import Runtime, Surveyor
from confsync.settings.model import DockerTarget as Chosen
from confsync.settings.model import Runtime as RuntimeSettings

Store = FileStore | DeliveredStore[Recovery]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The way to a HAProxy in a container. `runtime`, `surveyor` None: every change is a reload."""

    target: DockerTarget
    store: Store
    runtime: Runtime | None = None
    surveyor: Surveyor | None = None


def made(
    chosen: Chosen,
    options: SocketOptions,
    runtime: RuntimeSettings,
    placement: Placement,
    local: FileStore,
    state: StateDirectory,
) -> Made:
    """Build the way to a HAProxy in a container, and to its files. Opens nothing.

    `local`: the store of the files here, which the container shares or gets copies of.
    """
    engine = Engine(DockerOptions(container=chosen.container))
    bridge = Bridge(engine)
    rooted = Bridge(engine, user=ROOT)
    inside = Inside(engine, bridge, rooted)
    masters = Masters(inside)
    current = Current(chosen.container, engine, bridge, rooted)
    store: Store = local
    delivered: Agreement | DeliveredStore[Recovery] = Agreement(
        inside, placement, local.destinations
    )
    if placement.mirrored:
        store = delivered = DeliveredStore(
            local,
            inside,
            state,
            container=chosen.container,
            placement=placement,
            main=options.config,
        )
    checker = Checker(
        CheckOptions(placement=placement, binary=chosen.binary, timeout=options.check_timeout),
        inside,
        masters,
        staged_inside=delivered.staged_inside
        if isinstance(delivered, DeliveredStore)
        else lambda _: True,
    )
    ways = Ways(
        bridge,
        near=SocketTarget(options, masked=checker.masked),
        far=SocketTarget(options, wire=bridge, masked=checker.masked),
        master_socket=options.master_socket,
        stats_socket=options.stats_socket,
    )
    target = DockerTarget(
        current,
        ways,
        checker=checker,
        signalling=Signalling(
            engine, inside, masters, timeout=options.timeout, masked=checker.masked
        ),
        delivered=delivered,
        refusal=_refusal,
    )
    if not runtime.enabled:
        return Made(target=target, store=store)
    from confsync.adapters.docker.runtime import DockerRuntime  # noqa: PLC0415
    from confsync.adapters.docker.surroundings import Surveyor as Surroundings  # noqa: PLC0415
    from confsync.adapters.haproxy.runtime import SocketRuntime  # noqa: PLC0415

    closed = runtime.closed_until_checked
    return Made(
        target=target,
        store=store,
        runtime=DockerRuntime(
            current,
            ways,
            near=SocketRuntime(options, closed=closed, astray=ways.near_astray),
            far=SocketRuntime(options, closed=closed, wire=bridge, astray=ways.far_astray),
        ),
        surveyor=Surroundings(current, ways, inside, masters, placement),
    )


def _refusal(pid: int, main: str, text: str) -> ReloadFailed | None:
    """Try new addresses where that tells something: on the network of this very process."""
    return listening.refusal(main, text) if listening.same_network(pid) else None
