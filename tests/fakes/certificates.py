"""Certificates without files, HAProxy or OpenSSL: for the engine that keeps them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from confsync.core.tls import Unfit
from confsync.domain.status import CycleReport
from confsync.domain.tls import Bundle, Certificate, Loaded
from confsync.errors import CertificateRefused, ConfsyncError, NeedsReload

SOURCE, COPIES, SELF = "/given", "/copies", "/copies/self.pem"


class Told:
    """Telemetry that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []

    def cycle(self, report: CycleReport, *, news: bool) -> None:
        raise AssertionError("no cycles here")

    def event(self, level: str, text: str, **fields: object) -> None:
        self.events.append((level, text, fields))

    def of(self, text: str) -> list[dict[str, object]]:
        """The fields of all events of one text."""
        return [fields for _, told, fields in self.events if told == text]


def bundle(name: str, *, chain: int = 0) -> Bundle:
    """Make one; its name is everything about it."""
    return Bundle(pem=name, fingerprint=f"F-{name}", digest=f"D-{name}-{chain}", chain=chain)


@dataclass
class Files:
    """Two folders of names; a file is a bundle, or an Unfit."""

    given: dict[str, Bundle | Unfit] = field(default_factory=dict)
    copies: dict[str, Bundle] = field(default_factory=dict)
    elsewhere: dict[str, Bundle | Unfit] = field(default_factory=dict)
    error: ConfsyncError | None = None
    reads: int = 0

    def names(self, folder: str = "") -> tuple[str, ...]:
        if folder in {"", SOURCE}:
            return tuple(sorted(self.given))
        if folder == COPIES:
            return tuple(sorted(self.copies))
        return tuple(
            sorted(p.rpartition("/")[2] for p in self.elsewhere if p.startswith(f"{folder}/"))
        )

    def copied(self) -> tuple[str, ...]:
        return self.names(COPIES)

    def origin(self, path: str) -> str:
        if path == SELF:
            return ""
        return path.replace(f"{COPIES}/", f"{SOURCE}/")

    def copy_of(self, name: str) -> str:
        return f"{COPIES}/{name}"

    def stamps(self, origins: tuple[str, ...]) -> tuple[object, ...]:
        return tuple((origin, id(self._file(origin))) for origin in origins)

    def _file(self, origin: str) -> Bundle | Unfit | None:
        name = origin.rpartition("/")[2]
        return (self.given if origin.startswith(f"{SOURCE}/") else self.elsewhere).get(
            name if origin.startswith(f"{SOURCE}/") else origin
        )

    def read(self, origin: str) -> Bundle:
        self.reads += 1
        found = self._file(origin)
        if found is None:
            raise FileNotFoundError(origin)
        if isinstance(found, Unfit):
            raise found
        return found

    def same(self, path: str, bundle: Bundle) -> bool:
        name = path.rpartition("/")[2]
        return not path.startswith(COPIES) or self.copies.get(name) == bundle

    def put(self, path: str, bundle: Bundle) -> None:
        if self.error:
            raise self.error
        if path.startswith(COPIES):
            self.copies[path.rpartition("/")[2]] = bundle

    def drop(self, path: str) -> None:
        if path.startswith(COPIES):
            self.copies.pop(path.rpartition("/")[2], None)


@dataclass
class Served:
    """A HAProxy: what it serves by path, who its worker is, what it was told."""

    pid: int = 1
    has: dict[str, Certificate] = field(default_factory=dict)
    folders: tuple[str, ...] = (COPIES,)
    dates: dict[str, tuple[float, float]] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    error: ConfsyncError | None = None
    default: str = ""

    def load(self, files: Files) -> None:
        """Start, or reload: another worker with what is in the folder."""
        self.pid += 1
        self.has = {
            f"{COPIES}/{name}": self.made(f"{COPIES}/{name}", b) for name, b in files.copies.items()
        }
        self.default = min(self.has, default="")

    def made(self, path: str, bundle: Bundle) -> Certificate:
        begins, ends = self.dates.get(bundle.pem, (0.0, 1e9))
        return Certificate(
            path=path,
            names=self.names.get(bundle.pem, ("a.test",)),
            begins=begins,
            ends=ends,
            fingerprint=bundle.fingerprint,
            chain=bundle.chain,
        )

    async def worker(self) -> int:
        if self.error:
            raise self.error
        return self.pid

    async def loaded(self) -> Loaded:
        return Loaded(worker=self.pid, certificates=dict(self.has), folders=self.folders)

    async def replace(
        self, path: str, bundle: Bundle, judge: Callable[[Certificate], str], worker: int
    ) -> Certificate:
        assert path in self.has
        return self._set(f"replace {path}", path, bundle, judge, worker)

    async def add(
        self,
        folder: str,
        path: str,
        bundle: Bundle,
        judge: Callable[[Certificate], str],
        worker: int,
    ) -> Certificate:
        assert path not in self.has
        assert path.startswith(f"{folder}/")
        return self._set(f"add {path}", path, bundle, judge, worker)

    def _set(
        self,
        what: str,
        path: str,
        bundle: Bundle,
        judge: Callable[[Certificate], str],
        worker: int,
    ) -> Certificate:
        assert worker == self.pid
        self.told.append(what)
        if "long" in bundle.pem:
            raise NeedsReload(f"{path} is too long")
        made = self.made(path, bundle)
        if why := judge(made):
            raise CertificateRefused(why)
        self.has[path] = made
        return replace(made)

    async def remove(self, folder: str, path: str, worker: int) -> None:
        assert worker == self.pid
        self.told.append(f"remove {path}")
        if path == self.default:
            raise NeedsReload(f"{path} is the default")
        del self.has[path]


@dataclass
class Maker:
    """Who makes a certificate where none is given."""

    asked: int = 0

    async def bundle(self) -> tuple[Bundle, bool]:
        self.asked += 1
        return bundle("self"), self.asked == 1
