"""Durable writes of confsync's own small files: whole or not at all, also after a power cut.

Destinations of templates are written by staging.py, which keeps their owner, mode and attributes.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write_whole(fd: int, data: bytes, *, sync: bool = True) -> None:
    """Write all bytes and, with `sync`, have the disk confirm them. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
    if sync:
        os.fsync(fd)


def sync_file(path: Path) -> None:
    """Have the disk confirm what was written to a file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder survive a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        # some network and FUSE file systems have no fsync for folders: nothing more can be done
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Put a private file (mode 0600) in place, or leave the old one and raise OSError.

    Without `sync` a killed process loses nothing, a power cut may.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, EXCLUSIVE, 0o600)
    try:
        try:
            write_whole(fd, data, sync=sync)
        finally:
            os.close(fd)
        beside.replace(path)
        if sync:
            sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_private(path: Path, data: bytes) -> None:
    """Write a new file (mode 0600) for reading only: worth no sync. Raises OSError."""
    fd = os.open(path, EXCLUSIVE, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def make_private(folder: Path) -> None:
    """Create a folder (mode 0700) with its parents; an existing one is left as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
