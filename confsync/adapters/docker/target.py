"""A HAProxy in a container: found, observed, checked for and reloaded there.

Its sockets are asked first, by targets that are handed in: `near` where a socket lies on a volume that
confsync shares, else `far` over the bridge. The container's state says why they are silent, and a
signal stands in where there is no master socket (signalling.py). It never starts, stops or changes a
container: the operator, or its restart policy, does.
"""

import asyncio
import contextlib
import dataclasses
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

from confsync import errors
from confsync.adapters.docker import events
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.check import Checker
from confsync.adapters.docker.container import Container, NoContainer
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.docker.signalling import Signalling
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged, Target

_BELIEVED = 60.0
"""Seconds for which a container is believed to be as it was while events tell of no change."""

Wake = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How to reach HAProxy's sockets. `sockets`: their paths here, of which one may be shared."""

    near: Target
    far: Target
    sockets: tuple[str, ...]


class Delivered(Protocol):
    """How files come into the container. `notes`: what the operator should know of the last time."""

    notes: tuple[str, ...]

    async def verify(self, container: Container) -> None:
        """Make sure that the container has the files as they should be. Raises TargetUnavailable."""


class DockerTarget:
    """One container's HAProxy."""

    def __init__(
        self,
        options: DockerOptions,
        *,
        engine: Engine,
        bridge: Bridge,
        ways: Ways,
        checker: Checker,
        signalling: Signalling,
        delivered: Delivered,
        refusal: Callable[[int, str, str], errors.ReloadFailed | None] = lambda *_: None,
    ) -> None:
        """`refusal`: tells which addresses that a file adds are not free in a process's network."""
        self._options = options
        self._engine = engine
        self._bridge = bridge
        self._ways = ways
        self._checker = checker
        self._signalling = signalling
        self._delivered = delivered
        self._refusal = refusal
        self._verified: tuple[str, float] | None = None
        self._container: Container | None = None
        self._looked = float("-inf")
        self._listening = False
        self._way: Target | None = None
        self._shared: tuple[object, bool] = (None, False)

    async def observe(self) -> Observed:
        """Read back what runs: from the sockets, else from the container and its processes.

        Raises TargetUnavailable when the engine does not answer, or the container is paused.
        """
        seen = await self._observe()
        if self._delivered.notes:
            return dataclasses.replace(seen, notes=(*seen.notes, *self._delivered.notes))
        return seen

    async def _observe(self) -> Observed:
        try:
            container = await self._current()
        except NoContainer as error:
            return Observed(running=False, why=error.what, notes=(str(error),))
        if self._verified != container.life:
            # Its notes tell; who reads the files looks for itself.
            with contextlib.suppress(errors.TargetError, TimeoutError):
                await self._delivered.verify(container)
                self._verified = container.life
        if not container.runs:
            return Observed(running=False, why=_why(container))
        seen = await self._sockets(container)
        if seen.master or seen.loading:
            return seen
        try:
            return await self._signalling.observe(container, seen)
        except errors.TargetUnavailable:
            self._looked = float("-inf")
            container = await self._current()
            if container.runs:
                raise
            return Observed(running=False, why=_why(container))  # it ended meanwhile

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        """Have the container's own HAProxy check the set; see ports.Target."""
        container = await self._current()
        pid = 0
        if container.runs:
            seen = await self._sockets(container)
            pid = seen.master_pid if seen.master else 0  # as the master is called inside
        said = await self._checker.check(container, main, staged, master=pid)
        file = staged.config.get(main) if staged is not None else None
        if file is not None and container.runs:
            # Not asked of HAProxy: a reload that cannot bind refuses connections while it tries.
            refused = await asyncio.to_thread(self._refusal, container.pid, main, file.text)
            if refused is not None:
                raise refused
        return said

    async def ready(self, before: Observed) -> None:
        """Nothing to find out: a signal stands in for the master socket."""

    async def reload(self, before: Observed) -> Observed:
        """Reload over the master socket, else by a signal. See ports.Target."""
        container = await self._current()
        await self._delivered.verify(container)
        seen = await self._sockets(container)
        if seen.master or seen.loading:
            assert self._way is not None
            return await self._way.reload(before)
        return await self._signalling.reload(container, self.observe)

    async def servers(self) -> tuple[ServerState, ...]:
        """Read the state of all servers; see ports.Target."""
        container = await self._current()
        if self._way is None:
            await self._sockets(container)
        return await (self._way or self._ways.far).servers()

    # The container

    async def _current(self) -> Container:
        """Find the container, again when something may have changed. Raises TargetUnavailable."""
        known = self._container
        if known is not None and self._listening and time.monotonic() - self._looked < _BELIEVED:
            return self._usable(known)
        began = time.monotonic()
        found = await self._engine.find(self._options.container)
        if known is None or known.life != found.life:
            self._way = None
        self._container, self._looked = found, began
        self._bridge.use(found)
        return self._usable(found)

    @staticmethod
    def _usable(container: Container) -> Container:
        if container.state == "paused":
            raise errors.TargetUnavailable(
                f"the container {container.name} is paused",
                remedy=f"`docker unpause {container.name}`; until then nothing is changed",
            )
        return container

    async def watch(self, wake: Wake) -> None:
        """Listen to the engine for ever; `wake` is told, in words, when the container changed."""

        def heard(event: events.Event) -> None:
            if event.kind is events.Kind.LISTENING:
                self._listening, self._looked = True, float("-inf")
                wake("the Docker engine answers")
            elif event.kind is events.Kind.LOST:
                self._listening = False
                wake("the Docker engine does not answer")
            elif self._meant(event):
                self._looked = float("-inf")
                wake(f"container {event.name}: {event.kind}")

        try:
            await self._engine.watch(heard)
        finally:
            self._listening = False

    def _meant(self, event: events.Event) -> bool:
        """Tell whether an event is about the container, or about one that may become it."""
        known, wanted = self._container, self._options.container
        if known is not None and event.id == known.id:
            return True
        label, given, value = wanted.removeprefix("label=").partition("=")
        if wanted.startswith("label="):
            return label in event.labels and (not given or event.labels[label] == value)
        return wanted in {event.name, event.old_name} or event.id.startswith(wanted)

    def close(self) -> None:
        """Give connections back."""
        self._bridge.close()
        self._engine.close()

    # Its sockets

    async def _sockets(self, container: Container) -> Observed:
        """Ask the sockets, on a shared volume or inside; remembers which way answered."""
        silent: list[Observed] = []
        denied: errors.TargetError | None = None
        for way in self._order(container):
            try:
                seen = await way.observe()
            except errors.TargetDenied as error:
                denied = error
                continue
            if seen.running:
                self._way = way
                return seen
            silent.append(seen)
        self._way = None
        if denied is not None and not silent:
            return Observed(running=False, why=str(denied), notes=(str(denied),))
        notes = silent[-1].notes if silent else (self._bridge.why,)
        return Observed(running=False, why=silent[-1].why if silent else "", notes=notes)

    def _order(self, container: Container) -> list[Target]:
        near = [self._ways.near] if self._is_shared(container) else []
        far = [self._ways.far] if self._bridge.available else []
        return [*near, *far]

    def _is_shared(self, container: Container) -> bool:
        """Tell whether a socket's path here leads to this container, and not to one of this host's.

        The kernel names who listens: a process of the container, or one that cannot be seen from
        here (0), since confsync is in a container as well.
        """
        for path in self._ways.sockets:
            try:
                key = (container.life, path, os.stat(path).st_ino)  # noqa: PTH116
            except OSError:
                continue
            if self._shared[0] != key:
                pid = _peer(path)
                if pid is None:
                    return True  # refused or forbidden: the way itself has the words for it
                self._shared = key, pid in {0, container.pid} or _lives_in(pid, container)
            return self._shared[1]
        return False


def _why(container: Container) -> str:
    """Say how a container is that does not run."""
    words = f"the container {container.name} is {container.state or 'not known'}"
    if container.oom_killed:
        return f"{words} (out of memory)"
    if container.state in {"exited", "dead", "restarting"}:
        return f"{words} (exit code {container.exit_code})"
    return words


def _peer(path: str) -> int | None:
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
