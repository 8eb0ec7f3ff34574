"""Which container is meant now: asked of the engine again when something may have changed."""

import time
from collections.abc import Callable

from confsync import errors
from confsync.adapters.docker import events
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.engine import Engine

_BELIEVED = 60.0
"""Seconds for which a container is believed to be as it was while events tell of no change."""

Wake = Callable[[str], None]


class Current:
    """The container that the settings mean; the bridges lead into it."""

    def __init__(self, wanted: str, engine: Engine, *bridges: Bridge) -> None:
        """`wanted`: as the settings name it."""
        self._wanted = wanted
        self._engine = engine
        self._bridges = bridges
        self._known: Container | None = None
        self._looked = float("-inf")
        self._listening = False

    async def container(self) -> Container:
        """Find it. Raises NoContainer, TargetUnavailable (for a paused one, too)."""
        known = self._known
        if known is None or not self._listening or time.monotonic() - self._looked >= _BELIEVED:
            began = time.monotonic()
            known = await self._engine.find(self._wanted)
            self._known, self._looked = known, began
            for bridge in self._bridges:
                bridge.use(known)
        if known.state == "paused":
            raise errors.TargetUnavailable(
                f"the container {known.name} is paused",
                remedy=f"`docker unpause {known.name}`; until then nothing is changed",
            )
        return known

    def doubted(self) -> None:
        """Ask the engine next time."""
        self._looked = float("-inf")

    async def watch(self, wake: Wake) -> None:
        """Listen to the engine for ever; `wake` is told, in words, when the container changed."""

        def heard(event: events.Event) -> None:
            if event.kind is events.Kind.LISTENING:
                self._listening = True
                self.doubted()
                wake("the Docker engine answers")
            elif event.kind is events.Kind.LOST:
                self._listening = False
                wake("the Docker engine does not answer")
            elif self._meant(event):
                self.doubted()
                wake(f"container {event.name}: {event.kind}")

        try:
            await self._engine.watch(heard)
        finally:
            self._listening = False

    def _meant(self, event: events.Event) -> bool:
        """Tell whether an event is about the container, or about one that may become it."""
        known, wanted = self._known, self._wanted
        if known is not None and event.id == known.id:
            return True
        label, given, value = wanted.removeprefix("label=").partition("=")
        if wanted.startswith("label="):
            return label in event.labels and (not given or event.labels[label] == value)
        return wanted in {event.name, event.old_name} or event.id.startswith(wanted)

    def close(self) -> None:
        """Give connections back."""
        for bridge in self._bridges:
            bridge.close()
        self._engine.close()
