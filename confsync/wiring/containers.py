"""The target `docker` put together; imported only where the settings ask for it."""

from confsync.adapters.docker.agreement import Agreement
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.check import Checker, CheckOptions
from confsync.adapters.docker.delivery import DeliveredStore
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.docker.signalling import Signalling
from confsync.adapters.docker.target import DockerTarget, Ways
from confsync.adapters.files.state import StateDirectory
from confsync.adapters.files.store import FileStore, Recovery
from confsync.adapters.haproxy import listening
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core.placement import Placement
from confsync.errors import ReloadFailed
from confsync.settings.model import DockerTarget as Chosen

Store = FileStore | DeliveredStore[Recovery]


def made(
    chosen: Chosen,
    options: SocketOptions,
    placement: Placement,
    local: FileStore,
    state: StateDirectory,
) -> tuple[DockerTarget, Store]:
    """Build the way to a HAProxy in a container, and to its files. Opens nothing.

    `local`: the store of the files here, which the container shares or gets copies of.
    """
    docker = DockerOptions(container=chosen.container)
    engine = Engine(docker)
    bridge = Bridge(engine)
    inside = Inside(engine, bridge)
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
        staged_inside=delivered.staged_inside
        if isinstance(delivered, DeliveredStore)
        else lambda _: True,
    )
    target = DockerTarget(
        docker,
        engine=engine,
        bridge=bridge,
        ways=Ways(
            near=SocketTarget(options, masked=checker.masked),
            far=SocketTarget(options, wire=bridge, masked=checker.masked),
            sockets=(options.master_socket, options.stats_socket),
        ),
        checker=checker,
        signalling=Signalling(engine, inside, timeout=options.timeout, masked=checker.masked),
        delivered=delivered,
        refusal=_refusal,
    )
    return target, store


def _refusal(pid: int, main: str, text: str) -> ReloadFailed | None:
    """Try new addresses where that tells something: on the network of this very process."""
    return listening.refusal(main, text) if listening.same_network(pid) else None
