"""Puts files into a container over the engine's API: at one blow where it runs, dressed as before.

The API replaces a file in place, so that HAProxy might read half of it. In a running container a file
is therefore put beside its place and renamed by `mv`, as root; where that cannot be, in place.
"""

import contextlib
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from confsync import errors
from confsync.adapters.docker import words
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.inside import ROOT, Inside

_MOVE = 'while [ $# -gt 1 ]; do mv -f "$1" "$2" || exit; shift 2; done'
_FIRST = "/proc/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What shall be at a path. `mode`: of a file that is not there yet."""

    path: str
    data: bytes = field(repr=False)
    mode: int = 0o644


def beside(path: str) -> str:
    """Name the place beside a file; HAProxy's `-f DIR` does not load dot-files."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.confsync")


def check_copy(path: str) -> str:
    """Name the copy that a check reads, beside a file."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.check.confsync")


class Putting:
    """Writes into whatever container is given."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def stage(self, container: Container, texts: Sequence[Text]) -> None:
        """Put files beside their places. Raises WriteError, TargetError."""
        for each in texts:
            _refuse(container, each.path)
        files = await self._dressed(container, texts)
        await self._inside.engine.put(
            container.id, [replace(each, path=beside(each.path)) for each in files]
        )

    async def move(self, container: Container, paths: Sequence[str]) -> bool:
        """Rename what was staged into place, in this order; False: it cannot be, or not all."""
        pairs = [word for path in paths for word in (beside(path), path)]
        return await self._inside.change(container, ["sh", "-c", _MOVE, "sh", *pairs])

    async def replace(self, container: Container, texts: Sequence[Text]) -> bool:
        """Put files into their places; False: not at one blow. Raises WriteError, TargetError."""
        if container.runs:
            await self.stage(container, texts)
            if await self.move(container, [each.path for each in texts]):
                return True
        for each in texts:
            _refuse(container, each.path)
        await self._inside.engine.put(container.id, await self._dressed(container, texts))
        if container.runs:
            await self.remove(container, [beside(each.path) for each in texts])
        return not container.runs

    async def remove(self, container: Container, paths: Iterable[str]) -> None:
        """Remove files of a running container; what cannot be removed stays."""
        await self._inside.change(container, ["rm", "-f", *paths])

    async def _dressed(self, container: Container, texts: Sequence[Text]) -> list[File]:
        """Give files mode, owner and group of what stands there now."""
        standing = await self._standing(container, [each.path for each in texts])
        made = []
        for each in texts:
            # A new file that not everybody may read must be HAProxy's own.
            owner = (0, 0, 0) if each.mode & 0o004 else standing.get(_FIRST, (0, 0, 0))
            mode, uid, gid = standing.get(each.path, (each.mode, *owner[1:]))
            made.append(File(path=each.path, data=each.data, mode=mode, uid=uid, gid=gid))
        return made

    async def _standing(
        self, container: Container, paths: Sequence[str]
    ) -> Mapping[str, tuple[int, int, int]]:
        """Tell mode, owner and group of what is there; of the first process under its own path."""
        if container.runs:
            argv = ["stat", "-c", "%a %u %g %n", _FIRST, *paths]
            code, output = await self._inside.told(container, argv, ROOT)
            if code in {0, 1}:
                return _modes(output)
        found = {_FIRST: (0, *_numbers(container.user))}
        for path in paths:
            if (file := await self._inside.file(container, path)) is not None:
                found[path] = (file.mode, file.uid, file.gid)
        return found


def _refuse(container: Container, path: str) -> None:
    """Refuse a place that nothing can be put to. Raises WriteError."""
    words.writable(container, path)
    if container.read_only and container.mount_of(path) is None:
        folder = posixpath.dirname(path)
        raise errors.WriteError(
            f"the file system of the container {container.name} is read-only",
            remedy=f"mount a volume at {folder}, share it with confsync and set target.directory",
        )


def _modes(output: bytes) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        with contextlib.suppress(ValueError):  # what it says of a file that is not there
            mode, uid, gid, path = line.split(" ", 3)
            found[path] = (int(mode, 8), int(uid), int(gid))
    return found


def _numbers(user: str) -> tuple[int, int]:
    """Read a container's user as numbers; a name is only known to its image: root, then."""
    uid, _, gid = user.partition(":")
    return (int(uid), int(gid) if gid.isdigit() else 0) if uid.isdigit() else (0, 0)
