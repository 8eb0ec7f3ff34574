"""A file as the registry: watched, and believed only when it can be read as a whole.

What the file may say is in listing.py. Stale beats partial: a file that is gone, half-written or
wrong leaves the last good catalog standing and is told.
"""

import asyncio
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from confsync.adapters.files import listing, reasons
from confsync.adapters.files.inotify import FolderWatch
from confsync.domain.catalog import Catalog, Service
from confsync.domain.status import SourceState
from confsync.errors import Unavailable

LOOK_AGAIN = 2.0
"""Seconds between looks without an event: a link to another folder, a network file system."""

QUIET = 0.01
"""Seconds without an event before the file is read: a writer may still be at it."""

LONGEST = 0.1
"""Seconds after which it is read all the same: a folder may be busy for other reasons."""

LARGEST = 64 * 1024 * 1024
"""Bytes of the file that are read at most."""

Stamp = tuple[int, int, int, int]


class Selects(Protocol):
    """What the settings ask for (core.selection.Selection)."""

    def select(self, catalog: Catalog) -> Catalog:
        """Return the catalog with only what is asked for."""


class ServicesFile:
    """A Discoverer."""

    def __init__(
        self,
        path: Path,
        selection: Selects,
        *,
        now: Callable[[], float] = time.time,
        look_again: float = LOOK_AGAIN,
    ) -> None:
        """`now`: unix seconds. `look_again`: seconds between looks without an event."""
        self._look_again = look_again
        self._path = path
        self._selection = selection
        self._now = now
        self._state: SourceState | None = None
        self._published: Catalog | None = None
        self._stamp: Stamp | None = None

    async def watch(
        self, publish: Callable[[Catalog], None], tell: Callable[[SourceState], None]
    ) -> None:
        """Publish whole catalogs for ever, when their content changes; tell what goes wrong."""
        changed = asyncio.Event()
        self._state, self._published, self._stamp = None, None, None
        # the folder as the path names it: a link that is swapped there is seen, too
        with FolderWatch(self._path.parent, changed.set) as folder:
            while True:
                folder.arm()
                await self._look(publish, tell, folder)
                try:
                    async with asyncio.timeout(self._look_again):
                        await changed.wait()
                except TimeoutError:
                    continue
                await _calm(changed)

    async def fetch(self) -> Catalog:
        """Read the file once. Raises Unavailable."""
        return await asyncio.to_thread(self._load)

    async def confirm(self, name: str) -> Service:
        """Read one service anew (an absent one is empty). Raises Unavailable."""
        found = (await self.fetch()).get(name)
        return found if found is not None else Service(name=name, seen=self._now())

    async def close(self) -> None:
        """Do nothing: no connection is kept."""

    async def _look(
        self,
        publish: Callable[[Catalog], None],
        tell: Callable[[SourceState], None],
        folder: FolderWatch,
    ) -> None:
        stamp = _stamp(self._path)
        how = "by inotify" if folder.working else f"every {self._look_again:g} s, without inotify"
        notes = (f"watches {self._path} {how}",)
        if stamp is None or stamp != self._stamp:
            try:
                catalog = await asyncio.to_thread(self._load)
            except Unavailable as error:
                self._tell(tell, f"{error}; the last good services stay", notes)
                # the same bytes are as wrong as before; anything else may pass by itself
                self._stamp = stamp if isinstance(error.__cause__, ValueError) else None
                return
            self._stamp = stamp
            self._tell(tell, "", notes)
            if catalog != self._published:
                self._published = catalog
                publish(catalog)
        elif self._state is not None:
            self._tell(tell, self._state.error, notes)

    def _tell(
        self, tell: Callable[[SourceState], None], error: str, notes: tuple[str, ...]
    ) -> None:
        before = self._state
        up = not error
        if before is not None and (before.error, before.notes) == (error, notes):
            return
        since = before.since if before is not None and before.up == up else self._now()
        self._state = SourceState(up=up, error=error, since=since, notes=notes)
        tell(self._state)

    def _load(self) -> Catalog:
        ending = self._path.suffix.lower()
        if ending not in listing.PARSERS:
            raise Unavailable(
                f"{self._path}: unknown kind of file {ending!r}",
                remedy=f"let its name end in {', '.join(listing.PARSERS)}",
            )
        try:
            catalog = listing.parse(self._bytes(), ending, self._now())
        except OSError as error:
            raise Unavailable(
                f"{self._path}: {(why := reasons.explain(error, self._path)).what}",
                remedy=why.remedy,
            ) from error
        except ValueError as error:
            raise Unavailable(f"{self._path}: {error}", remedy="correct the file") from error
        return self._selection.select(catalog)

    def _bytes(self) -> bytes:
        # a named pipe without a writer would block for ever
        fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError("it is not a regular file; name a file in source.path")
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(LARGEST + 1)
        finally:
            os.close(fd)
        if len(data) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 1024**2} MB")
        return data


async def _calm(changed: asyncio.Event) -> None:
    """Wait until events stop coming, but not for long; leaves `changed` cleared."""
    try:
        async with asyncio.timeout(LONGEST):
            while changed.is_set():
                changed.clear()
                await asyncio.sleep(QUIET)
    except TimeoutError:
        changed.clear()


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_ctime_ns
