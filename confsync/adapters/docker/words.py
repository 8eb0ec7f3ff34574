"""What the engine's words and a container's mounts mean for files and environments. Pure."""

import posixpath
from collections.abc import Mapping

from confsync import errors
from confsync.adapters.docker import faults
from confsync.adapters.docker.container import Container, NoContainer

_ALWAYS_SET = ("PATH", "HOSTNAME", "TERM", "HOME")


def exactly(wanted: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """Write an environment as the engine takes it: a name without `=` is unset."""
    if "PATH" not in wanted and "PATH" in known:
        wanted = {**wanted, "PATH": known["PATH"]}
    unset = {*known, *_ALWAYS_SET} - {*wanted} - {"PATH"}
    return [*(f"{name}={value}" for name, value in wanted.items()), *sorted(unset)]


def program_missing(words: str) -> bool:
    """Tell whether a command could not be started because its program is not there."""
    return "executable file not found" in words or "no such file or directory" in words


def writable(container: Container, path: str) -> None:
    """Refuse what an engine would not put, or put where nobody sees it. Raises WriteError."""
    mount = container.mount_of(path)
    if mount is None:
        return
    where = f"{path} in the container {container.name}"
    if mount.destination == posixpath.normpath(path):
        raise errors.WriteError(
            f"{where} is mounted as a single file, which cannot be replaced",
            remedy=f"mount its folder {posixpath.dirname(path)} instead",
        )
    if mount.kind == "tmpfs":
        raise errors.WriteError(
            f"{where} lies on a tmpfs, which the engine cannot write to",
            remedy=f"mount a volume at {mount.destination}, and set target.directory",
        )
    if not mount.writable:
        raise errors.WriteError(
            f"{where} lies on a volume that is mounted read-only",
            remedy="share that volume with confsync and set target.directory, or mount it writable",
        )


def unwritten(container: Container, folder: str, error: faults.Refusal) -> errors.ConfsyncError:
    """Say why files could not be put into a folder."""
    if "No such container" in error.words:
        return NoContainer(f"the container {container.name} is gone")
    if "read-only" in error.words:
        return errors.WriteError(
            f"the file system of the container {container.name} is read-only",
            remedy=f"mount a volume at {folder}, share it with confsync and set target.directory",
        )
    if error.status == 404 or "not a directory" in error.words:
        return errors.WriteError(
            f"there is no folder {folder} in the container {container.name}",
            remedy="create it in the image, or mount a volume there",
        )
    return errors.WriteError(
        f"files cannot be put into {folder} of the container {container.name}: {error.words}"
    )
