"""Tar archives in memory, as the engine's API takes files. Pure."""

import io
import posixpath
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be put into a container. `uid` and `gid` are the container's numbers."""

    path: str
    data: bytes = field(repr=False)
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


def by_folder(files: Iterable[File]) -> Mapping[str, tuple[File, ...]]:
    """Group files by the folder that must hold them."""
    folders: dict[str, list[File]] = {}
    for each in files:
        folders.setdefault(posixpath.dirname(each.path), []).append(each)
    return {folder: tuple(each) for folder, each in folders.items()}


def pack(files: Sequence[File], *, now: float | None = None) -> bytes:
    """Build an archive of files of one folder, for extraction in it."""
    packed = io.BytesIO()
    moment = time.time() if now is None else now
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in files:
            entry = tarfile.TarInfo(posixpath.basename(each.path))
            entry.size, entry.mode = len(each.data), each.mode
            entry.uid, entry.gid, entry.mtime = each.uid, each.gid, int(moment)
            tar.addfile(entry, io.BytesIO(each.data))
    return packed.getvalue()
