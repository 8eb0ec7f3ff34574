"""One destination on disk: what is there, and whether it may be replaced by a rename.

Reads and judges only; staging.py writes. Text is UTF-8 with surrogateescape, so that any bytes of a
foreign file survive being read, compared and kept.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confsync.adapters.files import reasons
from confsync.adapters.files.mounts import Mounts
from confsync.domain.rendered import digest
from confsync.errors import WriteError

# signatures of a file's content: copied to other content, the kernel would refuse the file
_OF_CONTENT = frozenset({"security.ima", "security.evm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What a replacement keeps of the file before it. `mode`: permission bits (07777)."""

    mode: int
    uid: int
    gid: int
    xattrs: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A file that is there."""

    text: str
    meta: Meta


def digest_of(file: Present | None) -> str | None:
    """Name what is there by its content; None where nothing is."""
    return None if file is None else digest(file.text)


def decode(data: bytes) -> str:
    """Read bytes of a configuration as text, losing none."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str, path: Path) -> bytes:
    """Turn a text into the bytes of a file. Raises WriteError for what no file can hold."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise refused(path, f"character {error.start} of the text is no Unicode", "") from error


def refused(path: Path, what: str, remedy: str) -> WriteError:
    """Build the one error for a destination that cannot be written."""
    return WriteError(f"{path}: {what}", remedy=remedy)


def failed(path: Path, error: OSError) -> WriteError:
    """Build the one error for what the operating system refused."""
    return refused(path, *reasons.explain(error, path))


_MOUNTS = Mounts()


@contextmanager
def errors_at(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses at a path into WriteErrors."""
    try:
        yield
    except OSError as error:
        raise failed(path, error) from error


def staged_path(destination: str) -> Path:
    """Name the candidate beside its destination; HAProxy's `-f DIR` does not load dot-files."""
    path = Path(destination)
    return path.with_name(f".{path.name}.confsync")


def check_path(destination: str) -> Path:
    """Name the copy that HAProxy's check reads (interface.md, Files)."""
    path = Path(destination)
    return path.with_name(f".{path.name}.check.confsync")


def read(destination: str, like: str | None = None) -> str | None:
    """Read a destination as HAProxy would, through symlinks (None: absent). Raises WriteError.

    Where it holds `like`, that very object is given: nothing need be decoded, nor digested again.
    """
    path = Path(destination)
    try:
        # a named pipe without a writer would block for ever
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failed(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise refused(path, "it is not a regular file", "name a file in the settings")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read()
        if like is not None and data == encode(like, path):
            return like
        return decode(data)
    except OSError as error:
        raise failed(path, error) from error
    finally:
        os.close(fd)


def present(destination: str, like: str | None = None) -> Present | None:
    """Read a destination with what a replacement keeps (None: absent). Raises WriteError."""
    text = read(destination, like)
    meta = replaceable(destination)
    return None if text is None or meta is None else Present(text=text, meta=meta)


def replaceable(destination: str) -> Meta | None:
    """Judge whether a rename may replace a destination (None: absent, may). Raises WriteError."""
    path = Path(destination)
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise failed(path, error) from error
        return None
    except OSError as error:
        raise failed(path, error) from error
    _refuse_kind(path, found)
    try:
        if _is_mounted(path, found):
            raise refused(
                path,
                "it is a mount point by itself (a single file mounted into this system): replacing "
                "it as a whole is impossible, and a container would keep the old one",
                f"mount its folder {path.parent} instead of the file",
            )
        if flag := reasons.locked_flag(path):
            kind = "immutable" if flag == "i" else "append-only"
            raise refused(path, f"it is {kind} (chattr +{flag})", f"chattr -{flag} {path}")
        return Meta(
            mode=stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            xattrs=_xattrs(path),
        )
    except OSError as error:
        raise failed(path, error) from error


def _refuse_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        target = path.parent / path.readlink()
        raise refused(
            path,
            f"it is a symlink to {target}, which a rename would replace by a file",
            f"name the file itself in the settings: {os.path.realpath(path)}",
        )
    if stat.S_ISDIR(found.st_mode):
        raise refused(path, "it is a folder", "name a file in the settings")
    if not stat.S_ISREG(found.st_mode):
        raise refused(
            path, "it is not a regular file", "remove it, or name another in the settings"
        )


def _is_mounted(path: Path, found: os.stat_result) -> bool:
    if found.st_dev != path.parent.stat().st_dev:
        return True
    # a bind mount from the same file system has the same device: only the mount table tells,
    # and where it cannot be read, the rename itself will say EBUSY
    if not _MOUNTS.named(_escaped(path.name)):
        return False
    own = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118 - last part as it is
    return _escaped(own) in _MOUNTS


def _escaped(path: str) -> bytes:
    """Spell a path as the mount table does."""
    for char, code in (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012")):
        path = path.replace(char, code)
    return os.fsencode(path)


def _xattrs(path: Path) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # a file system without any
        return ()
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if name not in _OF_CONTENT
    )
