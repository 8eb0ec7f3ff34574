"""A staged set as HAProxy sees it inside the container, and the files that its check would load.

Only names places and reads; check.py puts files there and runs the check.
"""

import asyncio
import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from confsync import errors
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.inside import Found, Inside
from confsync.core.haproxy import candidate
from confsync.core.haproxy.command import MasterCommand
from confsync.core.placement import Placement
from confsync.domain.rendered import RenderedConfig
from confsync.ports import Staged


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A set with all paths as HAProxy sees them. `paths`: destination -> where its new text lies.

    `files`: path -> text, which must be put there first.
    """

    config: RenderedConfig = field(default_factory=RenderedConfig)
    paths: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


class View:
    """Translates and reads, for one placement."""

    def __init__(self, place: Placement, inside: Inside) -> None:
        self._place = place
        self._inside = inside

    def reached(self, seen: str) -> str:
        """Return confsync's path of a file in a shared folder; "" for all others."""
        return "" if self._place.mirrored else self._place.reached(seen)

    def where_it_is(self, staged: Staged) -> Seen | None:
        """See a set where it was staged; None when that is elsewhere, as in a dry run."""
        paths = {self._place.seen(d): self._place.seen(p) for d, p in staged.paths.items()}
        if any(self._place.seen(p) == p for p in staged.paths.values()):
            return None
        return Seen(config=self._config(staged.config), paths=paths)

    def elsewhere(self, config: RenderedConfig, only: Iterable[str], folder: str) -> Seen:
        """See a set with `only` those destinations' new texts in another folder."""
        paths, files, wanted = {}, {}, set(only)
        for number, file in enumerate(config.files):
            if file.destination in wanted:
                seen = self._seen_as(file.seen_as, file.destination)
                path = posixpath.join(folder, f".{number}.{posixpath.basename(seen)}.confsync")
                paths[seen], files[path] = path, file.text
        return Seen(config=self._config(config), paths=paths, files=files)

    async def live(self, config: RenderedConfig, container: Container) -> RenderedConfig:
        """Return a set with the texts that the container has; without what it has not."""
        files = []
        for file in config.files:
            path = self._seen_as(file.seen_as, file.destination)
            if (found := await self._inside.file(container, path)) is not None:
                files.append(replace(file, text=_text(found)))
        return RenderedConfig(files=tuple(files), secrets=config.secrets)

    async def prepared(
        self, main: str, seen: Seen, started: MasterCommand | None, container: Container
    ) -> candidate.Candidate:
        """Find what HAProxy must read. Raises CheckUnavailable, TargetUnavailable."""
        main = self._place.seen(main)
        known = {f.destination: f.text for f in seen.config.files}
        inside: dict[str, dict[str, Found] | Found | None] = {}
        for path in {main, *(started.files if started else ())}:
            if path not in known and not self.reached(path):
                inside[path] = await self._inside.files(container, path)

        def read(path: str) -> str:
            if path in known:
                return known[path]
            folder = inside.get(posixpath.dirname(path))
            name = posixpath.basename(path)
            found = folder.get(name) if isinstance(folder, dict) else inside.get(path)
            return _text(found) if isinstance(found, Found) else _read(self.reached(path))

        def listing(path: str) -> list[str] | None:
            found = inside.get(path)
            return list(found) if isinstance(found, dict) else _listing(self.reached(path))

        disk = candidate.Disk(read=read, listing=listing)
        try:
            return await asyncio.to_thread(
                candidate.prepare, main, seen.config, seen.paths, started, disk
            )
        except OSError as error:
            raise errors.CheckUnavailable(
                f"cannot prepare the check: {error}",
                remedy="confsync must be able to read what HAProxy loads",
            ) from error

    def _config(self, config: RenderedConfig) -> RenderedConfig:
        files = []
        for file in config.files:
            seen = self._seen_as(file.seen_as, file.destination)
            files.append(replace(file, destination=seen, seen_as=seen))
        return RenderedConfig(files=tuple(files), secrets=config.secrets)

    def _seen_as(self, seen_as: str, destination: str) -> str:
        return seen_as or self._place.seen(destination)


def _text(found: Found) -> str:
    return found.data.decode("utf-8", "surrogateescape")


def _read(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""  # HAProxy says it better


def _listing(path: str) -> list[str] | None:
    return os.listdir(path) if path and os.path.isdir(path) else None  # noqa: PTH112, PTH208
