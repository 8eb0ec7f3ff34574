"""Sets and single files that are kept in the state directory for the way back, or for reading.

STATE/previous/   the set before the last promotion, with manifest.json
STATE/rejected/   the last set that was refused, with why.txt
STATE/foreign/    edits by others that were replaced
STATE/original/   what was there before confsync (adoption)
"""

import base64
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from confsync.adapters.files import destination as dest
from confsync.adapters.files import durable
from confsync.domain.rendered import RenderedConfig, digest

# "+" for the slash: readable, one component, and unambiguous once "+" itself is escaped
_ESCAPES = (("%", "%25"), ("+", "%2B"), ("~", "%7E"), ("/", "+"))
_GENERATIONS = 5
_LONGEST = 200


def file_name(destination: str) -> str:
    """Name a destination as one file name, distinct for each path: `etc+haproxy+haproxy.cfg`."""
    name = destination.removeprefix("/")
    for char, code in _ESCAPES:
        name = name.replace(char, code)
    if len(os.fsencode(name)) > _LONGEST:
        name = f"{digest(destination)[:32]}~{name[-40:]}"
    return name


class Previous:
    """The set to go back to. Files first, the manifest last: without one there is no set."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "previous"
        self._manifest = self._folder / "manifest.json"

    def paths(self, files: Mapping[str, dest.Present | None]) -> list[str]:
        """Name what `save` may replace."""
        return [str(self._manifest), *(str(self._folder / file_name(d)) for d in files)]

    def save(
        self, files: Mapping[str, dest.Present | None], *, keep: bool, sync: bool = True
    ) -> None:
        """Keep a set (None: absent). With `keep`, what is kept already stays. Raises OSError."""
        durable.make_private(self._folder)
        if not keep and self._holds(files):
            return
        before = self._read_manifest() if keep else None
        entries: dict[str, Any] = {}
        if before is None:
            self._manifest.unlink(missing_ok=True)
        else:
            entries = before
            if entries.keys() >= files.keys():
                return
        for destination, file in files.items():
            if destination not in entries:
                kept = None if file is None else self._keep(destination, file, sync=sync)
                entries[destination] = kept
        durable.replace(self._manifest, json.dumps({"files": entries}).encode(), sync=sync)

    def _holds(self, files: Mapping[str, dest.Present | None]) -> bool:
        """Tell whether this very set is kept already: then there is nothing to wait for."""
        wanted = {d: None if f is None else _entry(f) for d, f in files.items()}
        return self._read_manifest() == wanted and all(
            f is None or _read(self._folder / file_name(d)) == dest.encode(f.text, Path(d))
            for d, f in files.items()
        )

    def load(self) -> dict[str, dest.Present | None] | None:
        """Read the set (None: there is none, or it is damaged). Raises OSError."""
        entries = self._read_manifest()
        if entries is None:
            return None
        try:
            return {d: None if e is None else self._load(d, e) for d, e in entries.items()}
        except (FileNotFoundError, KeyError, ValueError, TypeError, AttributeError):
            return None

    def _keep(self, destination: str, file: dest.Present, *, sync: bool) -> dict[str, object]:
        path = self._folder / file_name(destination)
        data = dest.encode(file.text, path)
        # most sets differ in one file: an error page is not written anew, and synced, each time
        if _read(path) != data:
            durable.replace(path, data, sync=sync)
        return _entry(file)

    def _load(self, destination: str, entry: dict[str, Any]) -> dest.Present:
        text = dest.decode((self._folder / file_name(destination)).read_bytes())
        if digest(text) != entry["digest"]:
            raise ValueError(destination)
        meta = dest.Meta(
            mode=int(entry["mode"]),
            uid=int(entry["uid"]),
            gid=int(entry["gid"]),
            xattrs=tuple((n, base64.b64decode(v)) for n, v in entry["xattrs"].items()),
        )
        return dest.Present(text=text, meta=meta)

    def _read_manifest(self) -> dict[str, Any] | None:
        data = _read(self._manifest)
        try:
            entries = None if data is None else json.loads(data)["files"]
        except (ValueError, KeyError, TypeError):
            return None
        return entries if isinstance(entries, dict) else None


def _entry(file: dest.Present) -> dict[str, object]:
    return {
        "digest": digest(file.text),
        "mode": file.meta.mode,
        "uid": file.meta.uid,
        "gid": file.meta.gid,
        "xattrs": {n: base64.b64encode(v).decode() for n, v in file.meta.xattrs},
    }


def keep_rejected(state: Path, config: RenderedConfig, why: str) -> None:
    """Keep a refused set in place of the one before. Raises OSError."""
    folder = state / "rejected"
    durable.make_private(folder)
    for old in folder.iterdir():
        old.unlink()
    for file in config.files:
        path = folder / file_name(file.destination)
        durable.write_private(path, dest.encode(file.text, path))
    durable.write_private(folder / "why.txt", (why.rstrip("\n") + "\n").encode("utf-8", "replace"))


def keep_text(folder: Path, destination: str, text: str) -> Path:
    """Keep a text as folder/NAME, those before as NAME~1 (newer) to NAME~5. Raises OSError."""
    durable.make_private(folder)
    name = file_name(destination)
    path = folder / name
    data = dest.encode(text, path)
    before = _read(path)
    if before == data:
        return path
    if before is not None:
        for generation in range(_GENERATIONS - 1, 0, -1):
            with suppress(FileNotFoundError):
                (folder / f"{name}~{generation}").replace(folder / f"{name}~{generation + 1}")
        path.replace(folder / f"{name}~1")
    durable.replace(path, data)
    return path


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
