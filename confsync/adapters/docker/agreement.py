"""Whether the container sees the files that confsync writes, told by their content.

A folder may be another one on the two sides, and a file that is mounted by itself stays the one that
was there when the container started: both look right from outside.
"""

import asyncio
import posixpath
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from confsync import errors
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.inside import Inside
from confsync.core.placement import Placement


class NotShared(errors.TargetUnavailable):
    """The container does not see what confsync writes."""


class Agreement:
    """Compares the destinations, once in each run of a container: its mounts stay as they are.

    `paths`: as confsync names them. `notes`: what was found wrong last.
    """

    def __init__(self, inside: Inside, placement: Placement, paths: Iterable[str]) -> None:
        self._inside = inside
        self._place = placement
        self._paths = tuple(paths)
        self._agreed: tuple[str, float] | None = None
        self.notes: tuple[str, ...] = ()

    async def verify(self, container: Container) -> None:
        """Make sure that a container sees what is on disk. Raises TargetUnavailable, NotShared."""
        if self._agreed == container.life:
            return
        try:
            await verify(self._inside, container, self._place, self._paths)
        except NotShared as error:
            self.notes = (str(error),)
            raise
        self._agreed, self.notes = container.life, ()


async def verify(
    inside: Inside, container: Container, placement: Placement, paths: Iterable[str]
) -> None:
    """Compare files, as confsync names them, with what the container has. Raises NotShared.

    Raises TargetUnavailable when the container cannot be asked.
    """
    seen = {path: placement.seen(path) for path in paths}
    for path in seen.values():
        mount = container.mount_of(path)
        if mount is not None and mount.destination == posixpath.normpath(path):
            raise NotShared(
                f"{path} is mounted into the container {container.name} as a single file, which "
                "stays the one that was there when it started",
                remedy=f"mount its folder instead ({placement.outside}:{placement.inside})",
            )
    here = await asyncio.to_thread(lambda: {path: _digest(path) for path in seen})
    there = await inside.digests(container, list(seen.values()))
    for path, name in seen.items():
        if here[path] != there[name]:
            raise _explained(container, placement, path, missing=there[name] is None)


def _explained(
    container: Container, placement: Placement, path: str, *, missing: bool
) -> NotShared:
    """Say which mount makes a file another one inside."""
    name, outside, inside = container.name, placement.outside, placement.inside
    mount = container.mount_of(placement.seen(path))
    what = f"the container {name} does not see {outside} as {inside} (target.directory)"
    differs = f"{posixpath.basename(path)} {'is not there' if missing else 'differs there'}"
    elsewhere = next((m for m in container.mounts if m.source == outside), None)
    if elsewhere is not None and elsewhere is not mount:
        return NotShared(
            f"{what}, but as {elsewhere.destination}: {differs}",
            remedy=f'set target.directory = "{elsewhere.destination}"',
        )
    if mount is None:
        return NotShared(
            f"{what}: nothing is mounted there, and {differs}",
            remedy=f"start it with the folder mounted ({outside}:{inside}), or leave "
            "target.directory empty to put files over Docker's API",
        )
    if mount.source == outside:
        return NotShared(
            f"{what} any more: {differs}, since the folder is another one than when it started",
            remedy=f"restart the container {name}; is its engine on this machine?",
        )
    source = mount.source or f"a {mount.kind}"
    return NotShared(
        f"{what}: {source} is mounted at {mount.destination}, and {differs}",
        remedy=f"mount the same folder on both sides ({outside}:{inside}), or have confsync write "
        "where it sees that one",
    )


def _digest(path: str) -> str | None:
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
