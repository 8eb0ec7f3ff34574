"""What is inside a container: its HAProxy's master, its files, their digests; commands run in it.

Commands go over the bridge where there is one (a millisecond), else by the engine (some twenty); files
are read as the engine's archives, which also show a container that does not run.
"""

import contextlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, TypeVar

from confsync import errors
from confsync.adapters.docker import faults
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.client import Client
from confsync.adapters.docker.container import Container

T = TypeVar("T")

ROOT = "0:0"
LIMIT = 64 * 1024 * 1024
"""Bytes of one file, or of one folder, that are read."""

_SECONDS = 10.0
_WHO = "echo $(id -u):$(id -g)"
_SYMLINK = 1 << 27  # Go's os.ModeSymlink
_LINKS = 5


class Engine(Protocol):
    """What is asked of the engine; see engine.py."""

    async def run(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        user: str = "",
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command in a running container."""

    async def put(self, container: str, files: Sequence[File]) -> None:
        """Put files into a container, running or not."""

    async def find(self, selector: str) -> Container:
        """Find the container that is meant."""

    async def inspect(self, container: str) -> Container:
        """Look at a container again."""

    async def call(self, work: Callable[[Client], T], *, whole: bool = False) -> T:
        """Ask the client in a thread."""

    async def one_off(
        self,
        container: Container,
        argv: Sequence[str],
        *,
        files: Sequence[File] = (),
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        network: str = "none",
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command in a container of the same image, made for it."""


class Bridge(Protocol):
    """What is asked of the bridge; see bridge.py."""

    @property
    def available(self) -> bool:
        """False: this run of the container cannot have one."""

    def use(self, container: Container) -> None:
        """Lead to this container from now on."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command as whoever the bridge is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file in a container."""

    data: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int

    @property
    def digest(self) -> str:
        """Name its content (SHA-256, hex)."""
        return sha256(self.data).hexdigest()


class Inside:
    """The inside of whatever container is given."""

    def __init__(
        self, engine: Engine, bridge: Bridge | None = None, root: Bridge | None = None
    ) -> None:
        """`bridge`: with the rights of the container's user; `root`: one of root's."""
        self.engine = engine
        self._bridge = bridge
        self._root = root
        self._bridged: tuple[tuple[str, float], str] | None = None

    async def run(
        self,
        container: Container,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        user: str = "",
        timeout: float = _SECONDS,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command; return its exit code (negative: a signal's) and all it said.

        `user`: UID:GID; "": whoever, but root where no bridge is. Raises TargetError, TimeoutError.
        """
        # What a bridge cannot do, an exec may; it has its own words where not.
        with contextlib.suppress(errors.TargetUnavailable):
            bridge = await self._bridged_as(container, user)
            if bridge is not None:
                return await bridge.run(
                    argv, environment=environment, directory=directory, timeout=timeout
                )
        code, output = await self.engine.run(
            container.id,
            argv,
            environment=environment,
            directory=directory,
            user=user or ROOT,
            timeout=timeout,
        )
        return signalled(code), output

    async def told(
        self, container: Container, argv: Sequence[str], user: str = ""
    ) -> tuple[int, bytes]:
        """Run a command and hear its standard output alone.

        An exec's two outputs come in any order, even in the middle of a line.
        """
        return await self.run(container, ["sh", "-c", '"$@" 2>/dev/null', "sh", *argv], user=user)

    async def change(self, container: Container, argv: Sequence[str]) -> bool:
        """Run a command that changes files, as root; tell whether it could.

        Root without capabilities may not write where the container's own user may.
        """
        for user in dict.fromkeys((ROOT, container.user or ROOT)):
            try:
                code, _ = await self.run(container, argv, user=user)
            except (errors.TargetError, TimeoutError):
                return False
            if code == 0:
                return True
        return False

    async def _bridged_as(self, container: Container, user: str) -> Bridge | None:
        """Find a bridge with this user's rights ("": whoever's)."""
        bridge, root = self._bridge, self._root
        if bridge is not None and bridge.available:
            bridge.use(container)
            if not user or await self._user(container, bridge) == user:
                return bridge
        if user == ROOT and root is not None and root.available:
            root.use(container)
            return root
        return None

    async def _user(self, container: Container, bridge: Bridge) -> str:
        if self._bridged is None or self._bridged[0] != container.life:
            code, output = await bridge.run(["sh", "-c", _WHO], timeout=_SECONDS)
            who = output.decode("ascii", "replace").strip() if code == 0 else "unknown"
            self._bridged = (container.life, who)
        return self._bridged[1]

    async def _is_root(self, container: Container) -> bool:
        """Tell whether commands of no certain user are root's."""
        if self._bridge is None or not self._bridge.available:
            return True
        try:
            return await self._user(container, self._bridge) == ROOT
        except errors.TargetUnavailable:
            return True

    async def files(self, container: Container, path: str) -> dict[str, Found] | Found | None:
        """Read a file, or what lies directly in a folder by name; None: there is nothing.

        Raises TargetUnavailable for what the engine cannot show: a tmpfs, more than LIMIT bytes.
        """
        for _ in range(_LINKS):
            mount = container.mount_of(path)
            if mount is not None and mount.kind == "tmpfs":
                raise errors.TargetUnavailable(
                    f"{path} lies on a tmpfs of the container {container.name}, which the engine "
                    "cannot show"
                )
            try:
                stat, packed = await self.engine.call(
                    lambda c, p=path: c.get(container.id, p, LIMIT)  # type: ignore[misc]
                )
            except faults.Refusal as error:
                if error.status == 404 and "no such container" not in error.words.lower():
                    return None
                raise
            if not int(stat.get("mode", 0)) & _SYMLINK:
                return _unpacked(path, packed)
            path = posixpath.join(posixpath.dirname(path), str(stat.get("linkTarget", "")))
        raise errors.TargetUnavailable(f"{path} in the container is a symlink without an end")

    async def file(self, container: Container, path: str) -> Found | None:
        """Read one plain file. Raises TargetUnavailable, also for a folder."""
        found = await self.files(container, path)
        if isinstance(found, dict):
            raise errors.TargetUnavailable(f"{path} in the container is a folder")
        return found

    async def digests(self, container: Container, paths: Sequence[str]) -> dict[str, str | None]:
        """Name the content of files (SHA-256, hex; None: absent or no plain file)."""
        if not paths:
            return {}
        if container.runs:
            code, output = await self.told(container, ["sha256sum", *paths])
            found = _sums(output)
            missing = [path for path in paths if path not in found]
            if missing and code in {0, 1} and not await self._is_root(container):
                # Who bridges may be kept from what root may read.
                code, output = await self.told(container, ["sha256sum", *missing], ROOT)
                found |= _sums(output)
            if code in {0, 1}:
                return {path: found.get(path) for path in paths}
        files = {path: await self.file(container, path) for path in paths}
        return {path: each.digest if each else None for path, each in files.items()}


def _unpacked(path: str, packed: bytes) -> dict[str, Found] | Found:
    found: dict[str, Found] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            first = tar.next()
            if first is not None and first.isreg():
                return _entry(tar, first)
            if first is None or not first.isdir():
                raise errors.TargetUnavailable(f"{path} in the container is no plain file")
            while (entry := tar.next()) is not None:
                folder, _, name = entry.name.rstrip("/").rpartition("/")
                if entry.isreg() and "/" not in folder.strip("/"):
                    found[name] = _entry(tar, entry)
    except tarfile.TarError as error:
        raise errors.TargetUnavailable(
            f"{path} in the container has more than {LIMIT} bytes, or cannot be read"
        ) from error
    return found


def _entry(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Found:
    file = tar.extractfile(entry)
    assert file is not None
    data = file.read()
    if len(data) != entry.size:
        raise tarfile.ReadError("cut off")
    return Found(data=data, mode=entry.mode & 0o7777, uid=entry.uid, gid=entry.gid)


def _sums(output: bytes) -> dict[str, str]:
    """Read what sha256sum says; an error is a line of another shape."""
    found: dict[str, str] = {}
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        digest, _, path = line.partition("  ")
        if len(digest) == 64:
            found[path] = digest
    return found


def signalled(code: int) -> int:
    """Tell a signal as subprocess does, from what the engine and shells make of it."""
    return 128 - code if 128 < code < 128 + 65 else code
