"""Wakes somebody when anything in a folder changes: Linux' inotify over ctypes, in the event loop.

The folder is watched, not the file: a watch on a file goes blind when the file is replaced by a
rename, which is how editors, configuration tools and this program write. What changed is not told,
only that something did; whoever is woken looks for itself.
"""

import asyncio
import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

# inotify(7)
_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _ONLYDIR = 0x400, 0x800, 0x01000000
_WANTED = (
    _MODIFY
    | _ATTRIB
    | _CLOSE_WRITE
    | _MOVED_FROM
    | _MOVED_TO
    | _CREATE
    | _DELETE
    | _DELETE_SELF
    | _MOVE_SELF
    | _ONLYDIR
)
_MOST = 65536  # bytes of events read at once


class FolderWatch:
    """Calls `wake` in the running loop after changes in a folder, for the length of a `with`.

    `working` False: the system gives no watch (its limits, no such folder); `arm` tries again.
    """

    def __init__(self, folder: Path, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._wake = wake
        self._fd = -1
        self._watched: tuple[int, int] | None = None
        self._watch = -1

    @property
    def working(self) -> bool:
        """Whether the folder that is there now is watched."""
        return self._watched is not None and self._watched == self._identity()

    def __enter__(self) -> Self:
        self._libc = ctypes.CDLL(None, use_errno=True)
        fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd >= 0:
            self._fd = fd
            asyncio.get_running_loop().add_reader(fd, self._read)
            self.arm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def arm(self) -> None:
        """Watch the folder that is there now, if it is not watched already."""
        if self._fd < 0 or self.working:
            return
        if self._watched is not None:
            self._libc.inotify_rm_watch(self._fd, self._watch)
        identity = self._identity()
        watch = self._libc.inotify_add_watch(
            self._fd, ctypes.c_char_p(os.fsencode(self._folder)), ctypes.c_uint32(_WANTED)
        )
        self._watch, self._watched = watch, identity if watch >= 0 else None

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _read(self) -> None:
        try:
            os.read(self._fd, _MOST)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EINTR}:
                raise
        self._wake()
