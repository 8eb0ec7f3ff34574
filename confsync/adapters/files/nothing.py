"""A registry without services: for a configuration that is served as it stands."""

import asyncio
import time
from collections.abc import Callable

from confsync.domain.catalog import Catalog, Service
from confsync.domain.status import SourceState


class NoServices:
    """A Discoverer that has found everything there is: nothing."""

    async def watch(
        self, publish: Callable[[Catalog], None], tell: Callable[[SourceState], None]
    ) -> None:
        """Publish that once, and wait."""
        tell(SourceState(up=True, since=time.time()))
        publish(Catalog())
        await asyncio.Event().wait()

    async def fetch(self) -> Catalog:
        """Give a catalog without services."""
        return Catalog()

    async def confirm(self, name: str) -> Service:
        """Say that there is no such service."""
        return Service(name=name)

    async def close(self) -> None:
        """There is nothing to give back."""
