"""What a HAProxy of this host loads beside what is rendered: other configurations, and named files.

Where the master's command line cannot be seen, the main file counts alone, and only if no proxy in it
can inherit from another file.
"""

import asyncio
import dataclasses
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from stat import S_ISREG

from confsync.adapters.haproxy import check
from confsync.core import surrounding
from confsync.core.haproxy import candidate
from confsync.core.haproxy.command import MasterCommand
from confsync.core.planning import Surroundings
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Observed

Stamp = tuple[int, int, int, int]
_LITTLE = 1_000_000
_MUCH = 16 * 1024 * 1024
"""Bytes of a file that is not read for its digest: its size and times stand for it."""


class Surveyor:
    """Looks at files, each read again only when it has changed."""

    def __init__(
        self,
        command: Callable[[], Awaitable[MasterCommand | None]],
        disk: candidate.Disk = check.DISK,
    ) -> None:
        """`command`: how the running master was started, if that can be seen."""
        self._command = command
        self._disk = disk
        self._known: tuple[object, MasterCommand | None] = (None, None)
        self._texts: dict[str, tuple[Stamp, str]] = {}
        self._digests: dict[str, tuple[Stamp, str]] = {}

    async def around(
        self, main: str, config: RenderedConfig, observed: Observed
    ) -> Surroundings | None:
        """See ports.Surveyor. A master keeps its arguments as long as it lives."""
        identity = (observed.master_pid, observed.version)
        if self._known[0] != identity or self._known[1] is None:
            self._known = identity, await self._command()
        command = self._known[1]
        size = sum(len(f.text) for f in config.files)
        if size <= _LITTLE:
            return self._around(main, config, command)
        return await asyncio.to_thread(self._around, main, config, command)

    def _around(
        self, main: str, config: RenderedConfig, command: MasterCommand | None
    ) -> Surroundings | None:
        try:
            if command is None:
                own = config.get(main)
                text = self._text(main) if own is None else own.text
                return Surroundings() if surrounding.inherits_nothing(text) else None
            disk = dataclasses.replace(self._disk, read=self._text)
            found = surrounding.loads(main, main, config, command, disk)
        except OSError:
            return None  # what cannot be read may say anything
        if found is None:
            return None
        digests = {path: self._digest(path) for path in found.named}
        named = {path: known for path, known in digests.items() if known is not None}
        folders = (path for path in command.files if os.path.isdir(path))  # noqa: PTH112
        return Surroundings(
            configs=found.configs,
            texts=found.texts,
            named=named,
            changed=max(map(_changed, (*found.texts, *named, *folders)), default=0.0),
        )

    def _text(self, path: str) -> str:
        stamp = _stamp(os.stat(path))  # noqa: PTH116
        known = self._texts.get(path)
        if known is None or known[0] != stamp:
            content = Path(path).read_bytes().decode("utf-8", "surrogateescape")
            known = self._texts[path] = (stamp, content)
        return known[1]

    def _digest(self, path: str) -> str | None:
        """Digest a file; None for what is none, or is not for us to read."""
        try:
            found = os.stat(path)  # noqa: PTH116
            if not S_ISREG(found.st_mode):
                return None
            stamp = _stamp(found)
            known = self._digests.get(path)
            if known is None or known[0] != stamp:
                # Its content is not kept: maps of countries and lists of addresses are large.
                known = self._digests[path] = (stamp, _digest(path, stamp))
            return known[1]
        except OSError:
            return None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_ctime_ns


def _changed(path: str) -> float:
    """Tell when a file, or the link to it, or the names in a folder changed last (unix seconds)."""
    try:
        found = os.stat(path), os.lstat(path)  # noqa: PTH116
    except OSError:
        return time.time()  # it went away just now
    return max(max(each.st_mtime_ns, each.st_ctime_ns) for each in found) / 1e9


def _digest(path: str, stamp: Stamp) -> str:
    with Path(path).open("rb") as file:
        if stamp[2] > _MUCH:
            return digest(repr(stamp))
        return hashlib.file_digest(file, "sha256").hexdigest()
