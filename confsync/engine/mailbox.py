"""One slot between the discoverer and the loop: the latest catalog wins, reasons to look add up."""

import asyncio
import time
from dataclasses import replace

from confsync.domain.catalog import Catalog


class Mailbox:
    """Holds the newest catalog and why the loop should look, until it does.

    `published`: when the newest came (time.monotonic()).
    """

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._reasons: list[str] = []
        self._catalog: Catalog | None = None
        self.published = float("-inf")

    def publish(self, catalog: Catalog) -> None:
        """Put a catalog in; a fall of the registry's index stays on it until it was taken."""
        fell = catalog.index_fell or (self._catalog is not None and self._catalog.index_fell)
        self._catalog = replace(catalog, index_fell=fell)
        self.published = time.monotonic()
        self.poke("the registry changed")

    def poke(self, why: str) -> None:
        """Ask the loop to look, with the reason."""
        if why not in self._reasons:
            self._reasons.append(why)
        self._wake.set()

    def reasons(self) -> tuple[str, ...]:
        """Take the reasons and leave the catalog, with a fall that stands on it, to `take`."""
        reasons = tuple(self._reasons)
        self._reasons.clear()
        self._wake.clear()
        return reasons

    def take(self) -> tuple[Catalog | None, tuple[str, ...]]:
        """Take the newest catalog (None: none came yet) and the reasons."""
        catalog = self._catalog
        if catalog is not None:
            self._catalog = replace(catalog, index_fell=False)
        return catalog, self.reasons()

    async def wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109 - a wait with an answer
        """Wait for a reason, at most `timeout` seconds; tell whether there is one."""
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True
