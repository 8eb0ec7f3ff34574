"""What is on its way to disk and not yet confirmed to run: one small file, read after a crash.

It is there from before the first rename until the engine has seen the new worker.
"""

import errno
import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from confsync.adapters.files import destination as dest
from confsync.adapters.files import durable
from confsync.adapters.files.looking import Found
from confsync.domain.rendered import digest
from confsync.ports import Staged

_PIECE = 4096
"""Bytes that a kill does not divide on their way to a file: a page, the smallest there is."""


class Phase(StrEnum):
    """Which way the files go."""

    PROMOTING = "promoting"
    RESTORING = "restoring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One destination with the digests before and after (None: absent)."""

    destination: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """All destinations of a set, also those that do not change."""

    phase: Phase
    entries: tuple[Entry, ...]

    def new(self) -> dict[str, str]:
        """Destination -> digest of the text that this journal puts there."""
        return {e.destination: e.new for e in self.entries if e.new is not None}

    def edited(self, now: Found) -> bool:
        """Tell whether a destination is neither as the promotion found it nor as it left it."""
        return any(
            dest.digest_of(now.get(e.destination)) not in {e.old, e.new} for e in self.entries
        )


def promoting(staged: Staged, now: Found) -> Journal:
    """Write down a promotion of what is staged over what is there."""
    new = {
        f.destination: digest(f.text) for f in staged.config.files if f.destination in staged.paths
    }
    there = {f.destination: dest.digest_of(now[f.destination]) for f in staged.config.files}
    entries = (Entry(destination=d, old=old, new=new.get(d, old)) for d, old in there.items())
    return Journal(phase=Phase.PROMOTING, entries=tuple(entries))


def restoring(wanted: Found, now: Found) -> Journal:
    """Write down that what is there becomes what is wanted again."""
    entries = (
        Entry(destination=d, old=dest.digest_of(now[d]), new=dest.digest_of(file))
        for d, file in wanted.items()
    )
    return Journal(phase=Phase.RESTORING, entries=tuple(entries))


class JournalFile:
    """STATE/journal.json, at `path`."""

    def __init__(self, state: Path) -> None:
        self.path = state / "journal.json"

    def save(self, journal: Journal, *, sync: bool = True) -> None:
        """Write it and, with `sync`, have the disk confirm it. Raises OSError.

        A full disk takes one that is no longer than the one that is there. Without `sync`, one that
        is there is written over where it has the room, in one piece that no kill divides and no full
        disk cuts: a rename over a file takes ext4 a millisecond, and a change would wait for it.
        """
        value = {
            "phase": journal.phase,
            "files": [
                {"destination": e.destination, "old": e.old, "new": e.new} for e in journal.entries
            ],
        }
        data = json.dumps(value).encode()
        if not sync and self._over(data, sync=False):
            return
        try:
            durable.replace(self.path, data, sync=sync)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            if not full or not self._over(data, sync=sync):
                raise

    def _over(self, data: bytes, *, sync: bool) -> bool:
        """Write over the file that is there, blanks up to its end; False when that is not safe."""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            size = os.fstat(fd).st_size
            if not len(data) <= size <= _PIECE:
                return False
            if os.write(fd, data.ljust(size)) != size:
                return False  # replaced as a whole
            if sync:
                os.fsync(fd)
            return True
        finally:
            os.close(fd)

    def load(self) -> Journal | None:
        """Read it (None: there is none). Raises OSError, ValueError when it is no journal."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            value = json.loads(data)
            return Journal(
                phase=Phase(value["phase"]),
                entries=tuple(
                    Entry(destination=e["destination"], old=e["old"], new=e["new"])
                    for e in value["files"]
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a journal: {error!r}") from error

    def remove(self) -> None:
        """End it. Raises OSError."""
        # not synced: after a power cut it may be there again, and then says what is true
        self.path.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Keep an unreadable one for reading. Raises OSError."""
        return self.path.replace(self.path.with_name("journal.json.corrupt"))
