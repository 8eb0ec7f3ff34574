"""Files for a check alone: inside, for HAProxy's user only; in a shared folder, like their like."""

import contextlib
import os
from collections.abc import Mapping

from confsync.adapters.docker.archive import File
from confsync.adapters.docker.master import Master


def files(texts: Mapping[str, str], master: Master | None) -> list[File]:
    """Make files that HAProxy's user can read, and where it is known nobody else."""
    uid, gid = map(int, master.user.split(":")) if master else (0, 0)
    return [
        File(
            path=path,
            data=text.encode("utf-8", "surrogateescape"),
            mode=0o600 if master else 0o644,
            uid=uid,
            gid=gid,
        )
        for path, text in texts.items()
    ]


def write(path: str, text: str, like: str, written: list[str]) -> None:
    """Write a check copy whose owner and mode are those of the file that it stands for."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - left by a kill -9
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    written.append(path)
    with os.fdopen(descriptor, "wb") as file:
        try:
            stat = os.stat(like)  # noqa: PTH116
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, stat.st_uid, stat.st_gid)
            os.fchmod(descriptor, stat.st_mode & 0o7777)
        except FileNotFoundError:
            os.fchmod(descriptor, 0o644)
        file.write(text.encode("utf-8", "surrogateescape"))
