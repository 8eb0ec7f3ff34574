"""Candidates beside their destinations: written, with the owner, mode and attributes to be.

Only `rename` touches a destination.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from confsync import faults
from confsync.adapters.files import destination as dest
from confsync.adapters.files import durable
from confsync.adapters.files.looking import Found
from confsync.domain.rendered import RenderedConfig
from confsync.errors import WriteError

_ACL = "system.posix_acl_access"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFiles:
    """A candidate beside its destinations. `paths`: destination -> staged path."""

    config: RenderedConfig
    paths: Mapping[str, str]


def stage(config: RenderedConfig, only: tuple[str, ...]) -> StagedFiles:
    """Write `only` of the set, not synced yet. Raises WriteError, then nothing is left behind."""
    paths: dict[str, str] = {}
    try:
        for file in config.files:
            if file.destination in only:
                like = dest.replaceable(file.destination)
                paths[file.destination] = str(dest.staged_path(file.destination))
                write(file.destination, file.text, like, file.mode, sync=False)
    except BaseException:
        clear(paths.values())
        raise
    return StagedFiles(config=config, paths=paths)


def write(
    destination: str, text: str, like: dest.Meta | None, mode: int, *, sync: bool = True
) -> Path:
    """Write one candidate, as `like` or else with `mode`; returns its path. Raises WriteError."""
    path = Path(destination)
    staged = dest.staged_path(destination)
    data = dest.encode(text, path)
    try:
        staged.unlink(missing_ok=True)
        # private until it has its owner: it may hold passwords
        fd = os.open(staged, durable.EXCLUSIVE, 0o600)
    except OSError as error:
        raise _failed(path, staged, error) from error
    try:
        try:
            if like is None:
                os.fchmod(fd, mode)
            else:
                _dress(fd, path, like)
            durable.write_whole(fd, data, sync=sync)
        except OSError as error:
            raise _failed(path, staged, error) from error
        finally:
            os.close(fd)
    except BaseException:
        clear([str(staged)])
        raise
    return staged


def sync_staged(paths: Mapping[str, str]) -> None:
    """Have the disk confirm candidates (destination -> staged path). Raises WriteError."""
    for destination, staged in paths.items():
        with dest.errors_at(Path(destination)):
            durable.sync_file(Path(staged))


def rename(staged: Path, destination: str) -> None:
    """Put a candidate in place. Raises WriteError."""
    with dest.errors_at(Path(destination)):
        staged.replace(destination)


def ordered(destinations: Iterable[str], main: str) -> list[str]:
    """Order maps and error pages before HAProxy's main file, which names them."""
    return sorted(destinations, key=lambda d: d == main)


def put(wanted: Found, now: Found, main: str) -> tuple[str, ...]:
    """Make destinations as wanted, file by file; all are written before any is renamed.

    Returns which were not. Raises WriteError.
    """
    changed = [d for d in wanted if dest.digest_of(wanted[d]) != dest.digest_of(now[d])]
    staged: dict[str, Path] = {}
    try:
        for destination in changed:
            file = wanted[destination]
            if file is not None:
                staged[destination] = write(destination, file.text, file.meta, 0o644)
        for destination in ordered(staged, main):
            faults.point("promote-each")
            rename(staged[destination], destination)
        for destination in changed:
            if destination not in staged:
                with dest.errors_at(Path(destination)):
                    Path(destination).unlink(missing_ok=True)
        sync(changed)
    finally:
        clear(str(p) for p in staged.values())
    return tuple(changed)


def holding(destinations: Iterable[str]) -> ExitStack:
    """Keep the files of today from being freed until this is closed.

    Freeing a file's blocks takes ext4 longer than a millisecond (measured: 1.2 ms a rename over a
    file, 0.004 ms while somebody holds the old one), and a change would wait for it.
    """
    held = ExitStack()
    for destination in destinations:
        with suppress(OSError):
            held.callback(os.close, os.open(destination, os.O_PATH | os.O_CLOEXEC))
    return held


def sync(destinations: Iterable[str]) -> None:
    """Make renames and removals of destinations survive a power cut. Raises WriteError."""
    for folder, destination in {Path(d).parent: d for d in destinations}.items():
        with dest.errors_at(Path(destination)):
            durable.sync_folder(folder)


def clear(paths: Iterable[str]) -> None:
    """Remove staged files; what cannot be removed now is left to the next start."""
    for path in paths:
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)


def _failed(path: Path, staged: Path, error: OSError) -> WriteError:
    if staged.is_dir():
        return dest.refused(
            path, f"the folder {staged} stands where its candidate must be", f"remove {staged}"
        )
    return dest.failed(path, error)


def _dress(fd: int, path: Path, like: dest.Meta) -> None:
    now = os.fstat(fd)
    if (now.st_uid, now.st_gid) != (like.uid, like.gid):
        try:
            os.fchown(fd, like.uid, like.gid)
        except PermissionError as error:
            raise dest.refused(
                path,
                f"it belongs to user id {like.uid}, group id {like.gid}, "
                f"which user id {os.geteuid()} cannot give to a new file",
                f"run confsync as root, or give it the file: chown {os.geteuid()} {path}",
            ) from error
    wanted = dict(like.xattrs)
    try:
        has = set(os.listxattr(fd))
    except OSError:
        has = set()
    if _ACL in has and _ACL not in wanted:  # from the folder's default list, not the file's own
        os.removexattr(fd, _ACL)
    os.fchmod(fd, like.mode)
    for name, value in wanted.items():
        if name in has and os.getxattr(fd, name) == value:
            continue
        try:
            os.setxattr(fd, name, value)
        except PermissionError as error:
            raise dest.refused(
                path,
                f"user id {os.geteuid()} cannot give its extended attribute {name} to a new file",
                f"run confsync as root, or remove the attribute: setfattr -x {name} {path}",
            ) from error
