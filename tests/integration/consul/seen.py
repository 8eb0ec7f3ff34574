"""A discoverer of a real Consul under test, with what it published and told."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from confsync.adapters.consul.discoverer import ConsulDiscoverer
from confsync.adapters.consul.options import ConsulOptions
from confsync.domain.catalog import Catalog, Service
from confsync.domain.status import SourceState

Entry = tuple[str, str, int, str]

# One a way of watching: with six services and at most three nodes.
WAYS = {
    "each service": {"connections": 90},
    "by node": {"connections": 8},
    "all services anew": {"connections": 5, "wait": 2},
}
FILL = 6


class Seen:
    """What came out of a watch."""

    def __init__(self) -> None:
        self.catalogs: list[Catalog] = []
        self.states: list[SourceState] = []

    @property
    def catalog(self) -> Catalog:
        return self.catalogs[-1]

    @property
    def state(self) -> SourceState:
        return self.states[-1] if self.states else SourceState()

    def service(self, name: str) -> Service:
        return self.catalog.get(name) or Service(name=name)

    def entries(self, name: str) -> list[Entry]:
        """The instances of a service as (id, address, port, status)."""
        service = self.service(name)
        return [(i.id, i.address, i.port, i.status.value) for i in service.instances]

    async def until(self, probe: Callable[[], object], what: str, timeout: float = 40) -> None:
        end = time.monotonic() + timeout
        while not (self.catalogs and probe()):
            if time.monotonic() > end:
                raise AssertionError(f"{what} never came; {self.state} {self.catalogs[-1:]}")
            await asyncio.sleep(0.005)

    async def until_told(self, words: str, timeout: float = 40) -> None:
        end = time.monotonic() + timeout
        while words not in self.state.error:
            if time.monotonic() > end:
                raise AssertionError(f"{words!r} was never told; {self.states}")
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def discovering(address: str, **options: Any) -> AsyncIterator[ConsulDiscoverer]:
    discoverer = ConsulDiscoverer(ConsulOptions(address=address, **options))
    try:
        yield discoverer
    finally:
        await discoverer.close()


@contextlib.asynccontextmanager
async def watching(address: str, **options: Any) -> AsyncIterator[Seen]:
    seen = Seen()
    async with discovering(address, **options) as discoverer, asyncio.TaskGroup() as group:
        task = group.create_task(discoverer.watch(seen.catalogs.append, seen.states.append))
        try:
            yield seen
        finally:
            task.cancel()
