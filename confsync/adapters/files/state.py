"""The state directory: what must survive a restart, each value a small file written whole.

    STATE/version        the format of this directory
    STATE/lock           held while an agent runs; has its pid
    STATE/catalog.json   the last good catalog
    STATE/record.json    what was confirmed to run
    STATE/NAME.json      small values of the engine (holds, ids, paused)

store.py keeps the journal and the sets of files beside them. A damaged file costs what it held,
never the start: it is kept as NAME.json.corrupt and told in `notes`.
"""

import fcntl
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from confsync.adapters.files import durable, reasons, records
from confsync.domain.catalog import Catalog
from confsync.domain.running import Record
from confsync.errors import Locked, StateError

Migration = Callable[[Path], None]
Stamp = tuple[int, int, int]

# _MIGRATIONS[0] turns a directory of format 1 into one of format 2, and so on
_MIGRATIONS: tuple[Migration, ...] = ()
_OWN_NAMES = frozenset({"catalog", "record", "journal"})


class StateDirectory:
    """A StateStore. `notes`: what could not be read, and why; the caller may empty it.

    Loading changes nothing on disk until `claim`, so that a dry run leaves no trace. What could not
    be kept is an error, and all the same what is loaded from then on.
    """

    def __init__(self, path: Path, migrations: tuple[Migration, ...] = _MIGRATIONS) -> None:
        self.path = path
        self.notes: list[str] = []
        self._migrations = migrations
        self._lock: int | None = None
        self._catalog: Catalog | None = None
        self._written = records.Written()
        self._unkept: dict[str, str] = {}
        self._catalog_stamp: Stamp | None = None

    def __enter__(self) -> Self:
        self.claim()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def inspect(self) -> None:
        """Look only, for a dry run: an absent directory is empty. Raises StateError when newer."""
        self._read_format()

    def claim(self) -> None:
        """Create the directory, lock it, bring it to this format. Raises StateError, Locked."""
        try:
            durable.make_private(self.path)
        except OSError as error:
            raise self._failed(self.path, error) from error
        self._take_lock()
        try:
            self._migrate()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load_catalog(self) -> Catalog | None:
        """Read the last good catalog (None: there is none, or it is damaged)."""
        value = self._read("catalog")
        if value is None:
            return None
        try:
            catalog = records.to_catalog(value)
        except ValueError as error:
            self._set_aside("catalog", error)
            return None
        self._catalog, self._catalog_stamp = catalog, _stamp(self._file("catalog"))
        return catalog

    def save_catalog(self, catalog: Catalog) -> None:
        """Keep the last good catalog; writes nothing when an equal one is kept. Raises StateError.

        Ages and indexes take no part in the comparison (domain.catalog).
        """
        path = self._file("catalog")
        if (
            catalog == self._catalog
            and self._catalog_stamp is not None
            and self._catalog_stamp == _stamp(path)
        ):
            return
        self._put("catalog", self._written.text(catalog))
        self._catalog, self._catalog_stamp = catalog, _stamp(path)

    def load_record(self) -> Record | None:
        """Read what was confirmed to run (None: there is no record, or it is damaged)."""
        value = self._read("record")
        try:
            return None if value is None else records.to_record(value)
        except ValueError as error:
            self._set_aside("record", error)
            return None

    def save_record(self, record: Record) -> None:
        """Keep what was confirmed to run. Raises StateError."""
        self._write("record", records.from_record(record))

    def load(self, name: str) -> object:
        """Read a small JSON value; None when absent or unreadable."""
        return self._read(_checked(name))

    def save(self, name: str, value: object) -> None:
        """Keep a small JSON value. Raises StateError."""
        self._write(_checked(name), value)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _read(self, name: str) -> object:
        path = self._file(name)
        if name in self._unkept:
            value: object = json.loads(self._unkept[name])
            return value
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.notes.append(f"{path}: taken as absent: {reasons.explain(error, path).what}")
            return None
        try:
            # any text must come back as it was, also with lone surrogates
            value = json.loads(data.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            self._set_aside(name, error)
            return None
        return value

    def _write(self, name: str, value: object) -> None:
        self._put(name, records.dump(value))

    def _put(self, name: str, text: str) -> None:
        path = self._file(name)
        try:
            durable.replace(path, text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            self._unkept[name] = text
            raise self._failed(path, error) from error
        self._unkept.pop(name, None)

    def _set_aside(self, name: str, error: Exception) -> None:
        path = self._file(name)
        aside = path.with_name(f"{path.name}.corrupt")
        note = f"{path}: damaged ({error}), taken as absent"
        if self._lock is not None:
            try:
                path.replace(aside)
                note += f", kept as {aside}"
            except OSError as second:
                note += f"; it cannot be moved aside: {reasons.explain(second, path).what}"
        self.notes.append(note)

    def _take_lock(self) -> None:
        path = self.path / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._failed(path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # a full disk costs the words for the next one, not the start
                os.pwrite(fd, b"%-19d\n" % os.getpid(), 0)
        except BlockingIOError as error:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise Locked(
                f"{self.path} is held by another confsync"
                + (f", process {holder}" if holder.isdigit() else ""),
                remedy="stop that one, or give this one a state.directory of its own",
            ) from error
        except OSError as error:
            os.close(fd)
            raise self._failed(path, error) from error
        self._lock = fd

    def _read_format(self) -> int | None:
        path = self.path / "version"
        try:
            text = path.read_text("ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed(path, error) from error
        except UnicodeDecodeError:
            text = ""
        if not text.isdigit():
            self.notes.append(f"{path}: damaged, taken as this version's")
            return None
        newest = 1 + len(self._migrations)
        if int(text) > newest:
            raise StateError(
                f"{self.path} was written by a newer confsync (format {text}, this one knows "
                f"{newest})",
                remedy="install that version again, or choose another state.directory",
            )
        return int(text)

    def _migrate(self) -> None:
        newest = 1 + len(self._migrations)
        found = self._read_format()
        if found == newest:
            return
        try:
            for step in range(found or newest, newest):
                self._migrations[step - 1](self.path)
                durable.replace(self.path / "version", b"%d\n" % (step + 1))
            if found is None:
                durable.replace(self.path / "version", b"%d\n" % newest)
        except OSError as error:
            raise self._failed(self.path / "version", error) from error

    @staticmethod
    def _failed(path: Path, error: OSError) -> StateError:
        reason = reasons.explain(error, path)
        return StateError(
            f"the state directory cannot be used: {path}: {reason.what}", remedy=reason.remedy
        )


def _checked(name: str) -> str:
    if not name.isidentifier() or name in _OWN_NAMES:
        raise ValueError(f"no name for a value of the engine: {name!r}")
    return name


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
