"""Changes a HAProxy in a container without a reload, over whichever way to its stats socket answers.

What is said there is the business of what is handed in; here it is made sure who hears it: the HAProxy
that was observed, in the same run of the same container. Processes of two containers may well have
the same numbers.
"""

from contextlib import AbstractContextManager, nullcontext

from confsync import errors
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.ways import Ways
from confsync.domain.change import Step
from confsync.domain.running import Applied, Capabilities, Drift, Expected, Leftover, Observed
from confsync.ports import Runtime


class DockerRuntime:
    """See ports.Runtime. Without a way every change is a reload; the observation's notes say so."""

    def __init__(self, current: Current, ways: Ways, *, near: Runtime, far: Runtime) -> None:
        """`near`, `far`: of the ways' own sockets."""
        self._current = current
        self._ways = ways
        self._near = near
        self._far = far
        self._last = far

    @property
    def notes(self) -> tuple[str, ...]:
        """Say why nothing can be changed, where that is so."""
        return self._last.notes

    async def capabilities(self, observed: Observed) -> Capabilities | None:
        """Tell what the observed worker can be told; see ports.Runtime."""
        way = await self._way(observed)
        return None if way is None else await way.capabilities(observed)

    def ahead(self, before: Observed) -> AbstractContextManager[None]:  # noqa: ARG002
        """See ports.Runtime: which way there is must be looked up first, so nothing is said."""
        return nullcontext()

    async def apply(self, steps: tuple[Step, ...], before: Observed) -> Applied:
        """Do steps in order and read back what they made; see ports.Runtime."""
        try:
            return await (await self._reached(before)).apply(steps, before)
        except errors.TargetError as error:
            return Applied(doubt=f"{error.what}; nothing was changed")

    async def collect(
        self, leftovers: tuple[Leftover, ...], before: Observed
    ) -> tuple[Leftover, ...]:
        """Delete what may be deleted and nothing uses any more; see ports.Runtime."""
        return await (await self._reached(before)).collect(leftovers, before)

    async def audit(self, expected: tuple[Expected, ...], before: Observed) -> tuple[Drift, ...]:
        """Compare all servers with what they should be; see ports.Runtime."""
        return await (await self._reached(before)).audit(expected, before)

    async def _way(self, before: Observed) -> Runtime | None:
        """Find the way to the observed HAProxy (None: no socket of it answers)."""
        container = await self._current.container()
        if container.place != before.place:
            raise errors.TargetUnavailable(
                f"the container {container.name} was restarted or replaced since HAProxy was looked at"
            )
        chosen = self._ways.chosen(container)
        if chosen is None:
            return None
        self._last = self._near if chosen is self._ways.near else self._far
        return self._last

    async def _reached(self, before: Observed) -> Runtime:
        way = await self._way(before)
        if way is None:
            raise errors.TargetUnavailable("no socket of HAProxy answers")
        return way
