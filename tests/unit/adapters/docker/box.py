"""A container in memory: files, a few commands, and what was done to it."""

import dataclasses
import io
import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from confsync import errors
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.client import Client
from confsync.adapters.docker.container import Container, Mount, NoContainer
from confsync.adapters.docker.inside import Found
from tests.unit.adapters.docker.fake import refusal

T = TypeVar("T")


def container(**fields: Any) -> Container:
    return dataclasses.replace(Container(id="c" * 64, name="lb", started=1.0), **fields)


class FakeEngine:
    """One container. `ran`: commands and their users; `answers`: program -> code and output."""

    def __init__(self, **fields: Any) -> None:
        self.container = container(**fields)
        self.files: dict[str, Found] = {}
        self.ran: list[tuple[str, tuple[str, ...]]] = []
        self.environment: Mapping[str, str] | None = None
        self.put_files: list[File] = []
        self.answers: dict[str, tuple[int, bytes] | Exception] = {}
        self.one_offs: list[dict[str, Any]] = []
        self.gone = False
        self.links: dict[str, str] = {}
        self.changed = 5
        """When the files changed (unix seconds), as `stat` says."""

    # As the engine

    async def find(self, selector: str) -> Container:
        if self.gone:
            raise NoContainer(f"no container is named {selector}")
        return self.container

    async def inspect(self, container: str) -> Container:
        return await self.find(container)

    async def run(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        user: str = "",
        timeout: float,
    ) -> tuple[int, bytes]:
        argv = _bare(argv)
        self.ran.append((user, tuple(argv)))
        answer = self.answers.get(argv[0])
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            self.environment = environment
            return answer
        return self.obeyed(list(argv))

    async def put(self, container: str, files: Sequence[File]) -> None:
        for each in files:
            self.put_files.append(each)
            self.files[each.path] = Found(
                data=each.data, mode=each.mode, uid=each.uid, gid=each.gid
            )

    async def call(self, work: Callable[[Client], T], *, whole: bool = False) -> T:
        return work(cast("Client", self))  # of a client only `get` is asked

    async def one_off(
        self, container: Container, argv: Sequence[str], **how: Any
    ) -> tuple[int, bytes]:
        self.one_offs.append({"argv": tuple(argv), **how})
        answer = self.answers.get("one-off", (0, b""))
        if isinstance(answer, Exception):
            raise answer
        return answer

    # As a client

    def get(self, container: str, path: str, limit: int) -> tuple[Mapping[str, Any], bytes]:
        if self.gone:
            raise refusal(404, f"No such container: {container}")
        if path in self.links:
            return {"mode": 1 << 27, "linkTarget": self.links[path]}, b""
        inside = {p: f for p, f in self.files.items() if posixpath.dirname(p) == path}
        if path not in self.files and not inside:
            raise refusal(404, f"Could not find the file {path} in container {container}")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            name = posixpath.basename(path)
            if path not in self.files:
                entry = tarfile.TarInfo(name)
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            for each, file in inside.items() if inside else [(path, self.files[path])]:
                place = f"{name}/{posixpath.basename(each)}" if inside else name
                entry = tarfile.TarInfo(place)
                entry.size, entry.mode = len(file.data), file.mode
                entry.uid, entry.gid = file.uid, file.gid
                tar.addfile(entry, io.BytesIO(file.data))
        return {}, packed.getvalue()[:limit]

    # Inside

    def obeyed(self, argv: list[str]) -> tuple[int, bytes]:
        match argv:
            case ["sha256sum", *paths]:
                lines = [f"{self.files[p].digest}  {p}" for p in paths if p in self.files]
                return int(len(lines) < len(paths)), "\n".join(lines).encode()
            case ["stat", "-c", _, *paths]:
                lines = [
                    f"{f.mode:o} {f.uid} {f.gid} {p}"
                    for p in paths
                    if (f := self.files.get(p)) is not None
                ]
                return 1, "\n".join(lines).encode()
            case ["rm", *options_and_paths]:
                for path in options_and_paths:
                    self.files = {
                        p: f for p, f in self.files.items() if p != path and f"{path}/" not in p
                    }
                return 0, b""
            case ["mkdir", *_]:
                return 0, b""
            case ["sh", "-c", script, "sh", *paths] if "stat -L" in script:
                return 0, "".join(self._told(path) for path in paths).encode()
            case ["sh", "-c", script, "sh", *pairs] if "mv -f" in script:
                for old, new in zip(pairs[::2], pairs[1::2], strict=True):
                    if old not in self.files:
                        return 1, b""
                    self.files[new] = self.files.pop(old)
                return 0, b""
        raise AssertionError(argv)

    def _told(self, path: str) -> str:
        """Say of a file, or of a folder and its files, what `stat` would."""
        if (file := self.files.get(path)) is not None:
            return f"{len(file.data)} 7 {self.changed} {self.changed} {path}\n"
        names = [p for p in self.files if posixpath.dirname(p) == path and p.endswith(".cfg")]
        return f"folder {path}\n" + "".join(map(self._told, names)) if names else ""

    def have(self, path: str, text: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        self.files[path] = Found(data=text.encode(), mode=mode, uid=uid, gid=gid)

    def texts(self) -> dict[str, str]:
        return {path: file.data.decode() for path, file in sorted(self.files.items())}


class FakeBridge:
    """A bridge into the same container, as another user."""

    def __init__(self, engine: FakeEngine, user: str = "99:99") -> None:
        self.engine = engine
        self.user = user
        self.available = True
        self.broken = False
        self.used: list[Container] = []
        self.ran: list[tuple[str, ...]] = []

    def use(self, container: Container) -> None:
        self.used.append(container)

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        timeout: float,
    ) -> tuple[int, bytes]:
        if self.broken:
            raise errors.TargetUnavailable("the way into lb broke")
        argv = _bare(argv)
        self.ran.append(tuple(argv))
        if "id -u" in argv[-1]:
            return 0, f"{self.user}\n".encode()
        answer = self.engine.answers.get(argv[0])
        assert not isinstance(answer, Exception)
        return answer if answer is not None else self.engine.obeyed(list(argv))


def _bare(argv: Sequence[str]) -> Sequence[str]:
    """Take off what keeps a command's errors, which may stand in the middle of a line, unheard."""
    if argv[2:3] == ['"$@" 2>/dev/null']:
        return argv[4:]
    assert argv[0] not in {"sha256sum", "stat"}, "its errors would be heard"
    return argv


def mount(kind: str, source: str, destination: str, *, writable: bool = True) -> Mount:
    return Mount(kind=kind, source=source, destination=destination, writable=writable)
