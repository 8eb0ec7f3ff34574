"""Words for what the operating system refuses, and what the operator can do about it.

One table for destinations, state, templates and services: the same cause reads the same everywhere.
"""

import array
import errno
import fcntl
import os
from pathlib import Path
from typing import NamedTuple

# linux/fs.h: FS_IOC_GETFLAGS is _IOR('f', 1, long), whose size is part of the number
_GET_FLAGS = 0x80086601 if array.array("l").itemsize == 8 else 0x80046601
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20


class Reason(NamedTuple):
    """`what` continues "PATH: "; `remedy` is a sentence without its full stop, perhaps empty."""

    what: str
    remedy: str


def locked_flag(path: Path) -> str:
    """Name the attribute that forbids even root to replace a file: "i", "a" or none (chattr(1))."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    flags = array.array("l", [0])
    try:
        fcntl.ioctl(fd, _GET_FLAGS, flags)
    except OSError:  # a file system without such attributes
        return ""
    finally:
        os.close(fd)
    return "i" if flags[0] & _IMMUTABLE else "a" if flags[0] & _APPEND_ONLY else ""


def explain(error: OSError, path: Path) -> Reason:
    """Say why an operation on `path`, or in its folder, failed."""
    folder = path.parent
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            over = (
                "the disk quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
            )
            return Reason(over, f"free space or inodes: df {folder}; df -i {folder}")
        case errno.EROFS:
            return Reason(
                "the file system is read-only",
                "mount it writable; in a unit with ProtectSystem=, "
                f"add ReadWritePaths={folder}; in a container, take :ro off the volume",
            )
        case errno.EACCES | errno.EPERM:
            return _forbidden(path)
        case errno.ENOENT if not folder.exists():
            return Reason(f"the folder {folder} does not exist", f"create it: mkdir -p {folder}")
        case errno.ENOENT:
            return Reason("it does not exist", "create it, or correct the path in the settings")
        case errno.ENOTDIR:
            return Reason(
                "a part of the path is a file, not a folder", "correct the path in the settings"
            )
        case errno.EISDIR:
            return Reason("it is a folder", "name a file in the settings")
        case errno.EBUSY | errno.EXDEV:
            return Reason(
                "it is a mount point by itself (a single file mounted into this system), "
                "which cannot be replaced as a whole",
                f"mount its folder {folder} instead of the file",
            )
        case errno.ENAMETOOLONG:
            return Reason("the name is too long", "choose a shorter one in the settings")
        case errno.ELOOP:
            return Reason("it is a symlink where none may be, or a loop of symlinks", "remove it")
        case errno.EMFILE | errno.ENFILE:
            return Reason("too many files are open", "raise the limit: LimitNOFILE=, ulimit -n")
        case _:
            return Reason(error.strerror or str(error), "")


def _forbidden(path: Path) -> Reason:
    for what in (path, path.parent):
        if flag := locked_flag(what):
            kind = "immutable" if flag == "i" else "append-only"
            where = "it" if what == path else f"the folder {what}"
            return Reason(f"{where} is {kind} (chattr +{flag})", f"chattr -{flag} {what}")
    return Reason(
        f"no permission for user id {os.geteuid()}",
        f"run confsync as another user, or give this one write access to {path.parent}",
    )
