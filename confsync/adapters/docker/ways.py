"""The ways to HAProxy's sockets: on a folder that confsync shares, else over the bridge.

A path here may lead to another HAProxy than the container's: to one of this host, or, a moment after
it was looked at, to that of a container which took its place.
"""

import dataclasses
import os
import socket
import sys
from collections.abc import Callable

from confsync import errors
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import Container
from confsync.domain.running import Observed
from confsync.ports import Target

File = tuple[int, int, int]
"""Names a socket's file: another one has another device, inode or time."""


class Ways:
    """Chooses a way by who answers on it, for one container at a time."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        near: Target,
        far: Target,
        master_socket: str,
        stats_socket: str,
        peer: Callable[[str], int | None] | None = None,
    ) -> None:
        """`near`: for sockets that are here; `far`: over the bridge. The sockets as `near` has them.

        `peer`: tells who listens on a socket; see listener.
        """
        self._peer = peer or listener
        self.near = near
        self.far = far
        self._bridge = bridge
        self._sockets = (master_socket, stats_socket)
        self._stats = stats_socket
        self._chosen: tuple[str, Target | None] = ("", None)
        self._shared: tuple[object, bool] = (None, False)
        self._seen: tuple[str, File | None] = ("", None)
        """The run of a container that was looked at, and the stats socket that was here then."""

    def chosen(self, container: Container) -> Target | None:
        """Tell which way answered last in this run of a container."""
        place, way = self._chosen
        return way if place == container.place else None

    async def observe(self, container: Container) -> Observed:
        """Ask the sockets; remembers which way answered."""
        silent: list[Observed] = []
        denied: errors.TargetError | None = None
        self._seen = (container.place, _file(self._stats))
        for way in self._order(container):
            try:
                seen = await way.observe()
            except errors.TargetDenied as error:
                denied = error
                continue
            if seen.running:
                self._chosen = (container.place, way)
                return dataclasses.replace(seen, place=container.place)
            silent.append(seen)
        self._chosen = (container.place, None)
        if denied is not None and not silent:
            return Observed(running=False, why=str(denied), notes=(str(denied),))
        notes = silent[-1].notes if silent else (self._bridge.why,)
        return Observed(running=False, why=silent[-1].why if silent else "", notes=notes)

    def _order(self, container: Container) -> list[Target]:
        near = [self.near] if self._is_shared(container) else []
        far = [self.far] if self._bridge.available else []
        return [*near, *far]

    def _is_shared(self, container: Container) -> bool:
        """Tell whether a socket's path here leads to this container, and not to one of this host's.

        The kernel names who listens: a process of the container, or one that cannot be seen from
        here (0), since confsync is in a container as well.
        """
        for path in self._sockets:
            if (file := _file(path)) is None:
                continue
            key = (container.place, path, file)
            if self._shared[0] != key:
                pid = self._peer(path)
                if pid is None:
                    return True  # refused or forbidden: the way itself has the words for it
                self._shared = key, pid in {0, container.pid} or _lives_in(pid, container)
            return self._shared[1]
        return False

    # Where a connection leads that has just been made

    def near_astray(self, before: Observed) -> str:
        """Say why the stats socket here may be another HAProxy's than the observed one's."""
        place, file = self._seen
        if place == before.place and file is not None and file == _file(self._stats):
            return ""
        return f"{self._stats} is another socket than when HAProxy was looked at"

    def far_astray(self, before: Observed) -> str:
        """Say why the bridge may lead to another HAProxy than the observed one."""
        if self._bridge.place == before.place:
            return ""
        return "the bridge leads into another run of the container than the one looked at"


def _file(path: str) -> File | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def listener(path: str) -> int | None:
    """Return the pid of who listens on a unix socket; 0: one that cannot be seen, None: nobody."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(path)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
    except OSError:
        return None
    return int.from_bytes(credentials, sys.byteorder, signed=True)


def _lives_in(pid: int, container: Container) -> bool:
    """Tell whether a process is one of a container's, by its control group."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:  # noqa: PTH123
            return container.id in file.read()
    except OSError:
        return False
