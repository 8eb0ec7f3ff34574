"""A HAProxy in a container: found, observed, checked for and reloaded there.

Its sockets are asked first, by targets that are handed in: `near` where a socket lies on a volume that
confsync shares, else `far` over the bridge. The container's state says why they are silent, and a
signal stands in where there is no master socket (signalling.py). It never starts, stops or changes a
container: the operator, or its restart policy, does.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from typing import Protocol

from confsync import errors
from confsync.adapters.docker.check import Checker
from confsync.adapters.docker.container import Container, NoContainer
from confsync.adapters.docker.current import Current, Wake
from confsync.adapters.docker.signalling import Signalling
from confsync.adapters.docker.ways import Ways
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged


class Delivered(Protocol):
    """How files come into the container. `notes`: what the operator should know of the last time."""

    notes: tuple[str, ...]

    async def verify(self, container: Container) -> None:
        """Make sure that the container has the files as they should be. Raises TargetUnavailable."""


class DockerTarget:
    """One container's HAProxy."""

    def __init__(
        self,
        current: Current,
        ways: Ways,
        *,
        checker: Checker,
        signalling: Signalling,
        delivered: Delivered,
        refusal: Callable[[int, str, str], errors.ReloadFailed | None] = lambda *_: None,
    ) -> None:
        """`refusal`: tells which addresses that a file adds are not free in a process's network."""
        self._current = current
        self._ways = ways
        self._checker = checker
        self._signalling = signalling
        self._delivered = delivered
        self._refusal = refusal
        self._verified: tuple[str, float] | None = None

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
            container = await self._current.container()
        except NoContainer as error:
            return Observed(running=False, why=error.what, notes=(str(error),))
        if self._verified != container.life:
            # Its notes tell; who reads the files looks for itself.
            with contextlib.suppress(errors.TargetError, TimeoutError):
                await self._delivered.verify(container)
                self._verified = container.life
        if not container.runs:
            return Observed(running=False, why=_why(container))
        seen = await self._ways.observe(container)
        if seen.master or seen.loading:
            return seen
        try:
            found = await self._signalling.observe(container, seen)
            return dataclasses.replace(found, place=container.place if found.running else "")
        except errors.TargetUnavailable:
            self._current.doubted()
            container = await self._current.container()
            if container.runs:
                raise
            return Observed(running=False, why=_why(container))  # it ended meanwhile

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        """Have the container's own HAProxy check the set; see ports.Target."""
        container = await self._current.container()
        pid = 0
        if container.runs:
            seen = await self._ways.observe(container)
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
        container = await self._current.container()
        await self._delivered.verify(container)
        seen = await self._ways.observe(container)
        way = self._ways.chosen(container)
        if (seen.master or seen.loading) and way is not None:
            return dataclasses.replace(await way.reload(before), place=container.place)
        return await self._signalling.reload(container, self.observe)

    async def servers(self) -> tuple[ServerState, ...]:
        """Read the state of all servers; see ports.Target."""
        container = await self._current.container()
        if self._ways.chosen(container) is None:
            await self._ways.observe(container)
        return await (self._ways.chosen(container) or self._ways.far).servers()

    async def watch(self, wake: Wake) -> None:
        """Listen to the engine for ever; `wake` is told, in words, when the container changed."""
        await self._current.watch(wake)

    def close(self) -> None:
        """Give connections back."""
        self._current.close()


def _why(container: Container) -> str:
    """Say how a container is that does not run."""
    words = f"the container {container.name} is {container.state or 'not known'}"
    if container.oom_killed:
        return f"{words} (out of memory)"
    if container.state in {"exited", "dead", "restarting"}:
        return f"{words} (exit code {container.exit_code})"
    return words
