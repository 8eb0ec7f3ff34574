"""Consul as a Discoverer (ports.py): the adapter's door.

Watching is in watch.py, single reads in reading.py; neither is told apart by what stands above.
"""

import asyncio
import time
from collections.abc import Callable

from confsync.adapters.consul.client import Client, Mode
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import SERVICES, Reader, Reading, is_safe, service_path
from confsync.domain.catalog import Catalog, Service
from confsync.domain.status import SourceState
from confsync.errors import DiscoveryError

__all__ = ["ConsulDiscoverer", "ConsulOptions"]

AT_ONCE = 16
"""Requests at once of a single read of everything: more only make each other slower."""


class ConsulDiscoverer:
    """A registry in Consul."""

    def __init__(self, options: ConsulOptions, *, now: Callable[[], float] = time.time) -> None:
        """Open no connection yet; `now`: unix seconds.

        Raises SettingsError or RegistryDenied for an address or TLS files that cannot be used.
        """
        self._options = options
        self._now = now
        self._client = Client(options, now=now)
        self._reader = Reader(self._client, options, now=now)

    async def watch(
        self, publish: Callable[[Catalog], None], tell: Callable[[SourceState], None]
    ) -> None:
        """Publish whole catalogs for ever, the first when it is complete; retry whatever fails."""
        from confsync.adapters.consul.watch import Watch  # noqa: PLC0415 - `once` needs no retries

        await Watch(self._reader, self._options, publish=publish, tell=tell, now=self._now).run()

    async def fetch(self) -> Catalog:
        """Read the whole catalog once. Raises the first DiscoveryError."""
        listing = self._reader.listing(await self._reader.ask(SERVICES))
        slots = asyncio.Semaphore(AT_ONCE)
        found: list[Reading | None] = []

        async def read(name: str) -> None:
            async with slots:
                path = service_path(name)
                found.append(await self._reader.service(name, await self._reader.ask(path)))

        try:
            async with asyncio.TaskGroup() as group:
                for name in sorted(listing.names):
                    group.create_task(read(name), name=f"read {name}")
        except ExceptionGroup as failed:
            foreseen, bugs = failed.split(DiscoveryError)
            if bugs is not None or foreseen is None:
                raise
            raise _first(foreseen) from failed
        services = [reading.service for reading in found if reading is not None]
        return Catalog(services=tuple(sorted(services, key=lambda service: service.name)))

    async def confirm(self, name: str) -> Service:
        """Read one service consistently (an absent one is empty). Raises DiscoveryError."""
        if not is_safe(name):
            return Service(name=name, seen=self._now())
        answer = await self._reader.ask(service_path(name), mode=Mode.CONSISTENT)
        reading = await self._reader.service(name, answer)
        return reading.service if reading is not None else Service(name=name, seen=self._now())

    async def close(self) -> None:
        """Give connections back."""
        await self._client.close()


def _first(group: BaseExceptionGroup[DiscoveryError]) -> DiscoveryError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
