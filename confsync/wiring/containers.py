"""The target `docker` put together; imported only where the settings ask for it."""

from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.check import Checker, CheckOptions
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.docker.signalling import Signalling
from confsync.adapters.docker.target import DockerTarget, Ways
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core.placement import Placement
from confsync.settings.model import DockerTarget as Chosen


def target(chosen: Chosen, options: SocketOptions, placement: Placement) -> DockerTarget:
    """Build the way to a HAProxy in a container. Opens nothing."""
    docker = DockerOptions(container=chosen.container, directory=chosen.directory)
    engine = Engine(docker)
    bridge = Bridge(engine)
    inside = Inside(engine, bridge)
    checker = Checker(
        CheckOptions(placement=placement, binary=chosen.binary, timeout=options.check_timeout),
        inside,
    )
    return DockerTarget(
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
    )
