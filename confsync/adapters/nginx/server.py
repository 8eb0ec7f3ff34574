"""One nginx: its main configuration in a folder of confsync's, the operator's sites in theirs.

Who starts and watches it is the supervisor's; this says what to start, checks, and has it reload.
nginx answers a HUP with nothing: that it was obeyed shows in its workers, which are others then
(nginx.org, "Controlling nginx"); a refused one leaves the old ones as they are.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
from pathlib import Path

from confsync import errors
from confsync.adapters.process import child
from confsync.core import nginx

_USERS = ("www-data", "nginx", "nobody")
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_MOST = 20_000
"""Files whose changes are looked for."""
_LOOK = 0.01
_SHUTTING = b"worker process is shutting down"
_WORKER = b"nginx: worker process"


class Nginx:
    """`directory`: confsync's, `sites`: the operator's. `timeout`: seconds for a check, a reload."""

    def __init__(
        self, directory: str, sites: str, *, program: str = "nginx", timeout: float = 10.0
    ) -> None:
        self.directory = Path(directory)
        self.sites = Path(sites)
        self._program = program
        self._timeout = timeout

    @property
    def config(self) -> Path:
        """The main configuration."""
        return self.directory / "nginx.conf"

    def wanted(self) -> bool:
        """Tell whether there is a site at all."""
        with contextlib.suppress(OSError):
            return any(p.suffix == ".conf" for p in self.sites.iterdir())
        return False

    def command(self) -> tuple[str, ...]:
        """Give what to start: in the foreground, its words on standard error."""
        return (self._found(), *self._arguments())

    def write(self) -> None:
        """Write the main configuration. Raises WriteError."""
        user = ""
        if os.geteuid() == 0:
            user = next(filter(_exists, _USERS), "nobody")
        text = nginx.main(directory=str(self.directory), sites=str(self.sites), user=user)
        try:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            beside = self.directory / ".nginx.conf.confsync"
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.config)
        except OSError as error:
            raise errors.WriteError(
                f"cannot write {self.config}: {error.strerror}",
                remedy="see that the folder can be written",
            ) from error

    async def check(self) -> None:
        """Have nginx check its files. Raises CheckRejected, CheckUnavailable, WriteError."""
        self.write()
        argv = [self._found(), "-t", "-q", *self._arguments()]
        try:
            code, output = await child.run(argv, timeout=self._timeout)
        except TimeoutError as error:
            raise errors.CheckUnavailable(
                f"`nginx -t` was not done within {self._timeout:g} s",
                remedy="look for host names in its files that take long to resolve",
            ) from error
        except OSError as error:
            raise errors.CheckUnavailable(
                f"cannot run {argv[0]}: {error.strerror}", remedy="install nginx, set nginx.binary"
            ) from error
        if code:
            words = nginx.said(output)
            raise errors.CheckRejected(
                f"nginx refuses its files in {self.sites}: {words.partition(chr(10))[0]}",
                remedy="correct the file; what runs keeps serving",
                detail=words,
            )

    async def reload(self) -> None:
        """Have it load its files; returns when new workers serve. Raises TargetError."""
        master = self._master()
        before = _workers(master)
        try:
            os.kill(master, signal.SIGHUP)
        except OSError as error:
            raise errors.TargetDenied(f"nginx cannot be signalled: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._timeout):
                while not _replaced(before, _workers(master)):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(_LOOK)
        except TimeoutError as error:
            raise errors.ReloadFailed(
                f"nginx has not taken its files within {self._timeout:g} s: the old workers serve",
                remedy="see its lines in the log: an address in use, a file that only root may read",
            ) from error

    def digest(self) -> int:
        """Tell cheaply whether anything in the operator's folder has changed: stat only."""
        return hash(tuple(_stamps(self.sites)))

    def _arguments(self) -> tuple[str, ...]:
        # -e: before it has read where to write errors, it would try /var/log.
        return ("-c", str(self.config), "-p", str(self.directory), "-e", "stderr")

    def _found(self) -> str:
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
        if found := shutil.which(self._program, path=path):
            return found
        raise errors.CheckUnavailable(
            f"there is no program {self._program}, and {self.sites} has sites for it",
            remedy="install nginx, or set nginx.binary",
        )

    def _master(self) -> int:
        """Read its pid. The file of a dead one names nobody, or somebody else."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.directory / "nginx.pid").read_text(encoding="ascii"))
            if str(self.config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise errors.TargetUnavailable("nginx does not run", remedy="see its lines in the log")


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _workers(master: int) -> dict[int, bool]:
    """Name the workers of a master; True: it takes connections, and is not about to end."""
    found = {}
    with contextlib.suppress(OSError):
        for pid in map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()):
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{pid}/cmdline").read_bytes()
                if title.startswith(_WORKER):
                    found[pid] = _SHUTTING not in title
    return found


def _replaced(before: dict[int, bool], now: dict[int, bool]) -> bool:
    serving = {pid for pid, serves in now.items() if serves}
    return bool(serving) and not serving & before.keys()


def _stamps(folder: Path) -> list[tuple[str, int, int, int]]:
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        # A link to a folder is not followed; that it leads elsewhere by now is seen.
        links = [each for each in folders if os.path.islink(f"{place}/{each}")]  # noqa: PTH114
        for name in (*links, *sorted(names)):
            path = f"{place}/{name}"
            with contextlib.suppress(OSError):
                stat = os.stat(path)  # noqa: PTH116 - many
                found.append((path, stat.st_mtime_ns, stat.st_ino, stat.st_size))
            if len(found) >= _MOST:
                return found
    return found
