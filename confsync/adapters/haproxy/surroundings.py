"""What a HAProxy of this host loads beside what is rendered: other configurations, and named files.

Where the master's command line cannot be seen, the main file counts alone, and only if no proxy in it
can inherit from another file.
"""

import asyncio
import os
import posixpath
from collections.abc import Awaitable, Callable
from pathlib import Path
from stat import S_ISREG

from confsync.adapters.haproxy import check
from confsync.core.haproxy import candidate, named, text
from confsync.core.haproxy.command import MasterCommand
from confsync.core.planning import Surroundings
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Observed

Stamp = tuple[int, int, int]
_LITTLE = 200_000


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
        rendered = {f.destination: f.text for f in config.files}
        try:
            if command is None:
                return self._alone(main, rendered)
            paths = candidate.loaded(main, command, self._disk)
            by_path = {p: next((d for d in rendered if self._disk.same(d, p)), p) for p in paths}
            beside = {
                name: self._text(path) for path, name in by_path.items() if name not in rendered
            }
            texts = tuple(rendered.get(n, beside.get(n, "")) for n in by_path.values())
            known = {*by_path.values(), *rendered, *(f.seen_as for f in config.files)}
            files = {}
            for path in named.paths(texts):
                full = posixpath.normpath(posixpath.join(command.directory or "/", path))
                if full not in known and (found := self._digest(full)) is not None:
                    files[full] = found
        except OSError:
            return None  # what cannot be read may say anything
        return Surroundings(configs=tuple(by_path.values()), texts=beside, named=files)

    def _alone(self, main: str, rendered: dict[str, str]) -> Surroundings | None:
        own = rendered.get(main)
        for section in text.sections(self._text(main) if own is None else own):
            if section.keyword == "defaults":
                return Surroundings()
            if section.keyword in text.PROXY_KEYWORDS:
                return None
        return Surroundings()

    def _text(self, path: str) -> str:
        found = os.stat(path)  # noqa: PTH116
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        known = self._texts.get(path)
        if known is None or known[0] != stamp:
            content = Path(path).read_bytes().decode("utf-8", "surrogateescape")
            known = self._texts[path] = (stamp, content)
        return known[1]

    def _digest(self, path: str) -> str | None:
        """Digest a file; None for what is none, or is not for us to read."""
        try:
            if not S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
                return None
            return digest(self._text(path))
        except OSError:
            return None
