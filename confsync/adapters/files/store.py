"""The destinations on disk: staged, promoted all or none, put back, and mended after a crash.

Decides nothing: what to write, and whether it may replace what is there, is the engine's.

A promotion keeps the set before it and writes the journal before the first rename; the journal
ends when the engine has confirmed (settle) or taken back (restore) what was promoted. While it
stands, the kept set stays too: it is the last one that was confirmed, however many promotions
follow. At any moment each destination is wholly old or wholly new, and `recover` knows which.
"""

import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from confsync import faults
from confsync.adapters.files import destination as dest
from confsync.adapters.files import journal as journals
from confsync.adapters.files import kept, looking, reasons, recovery, staging
from confsync.adapters.files.journal import Journal, JournalFile, Phase
from confsync.adapters.files.looking import Fingerprint, Found, Looking
from confsync.adapters.files.recovery import Recovery
from confsync.adapters.files.staging import StagedFiles
from confsync.domain.rendered import RenderedConfig
from confsync.errors import WriteError
from confsync.ports import Staged

_MOST_HELD = 32
"""Promotions that follow one another without a settlement, until their old files are freed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """`state`: the state directory. `main`: HAProxy's main file, promoted last.

    `destinations`: those of the settings, whose leftovers a start removes.
    """

    state: Path
    main: str
    destinations: tuple[str, ...] = ()


class FileStore:
    """A ConfigStore. Blocking, and for one caller at a time."""

    near = True

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._journal = JournalFile(options.state)
        self._previous = kept.Previous(options.state)
        self._prepared: Staged | None = None
        self._ahead: Journal | None = None
        """What `prepare` has written down already, and has not begun."""
        self._looking = Looking()
        self._renamed: tuple[str, ...] = ()
        """Promoted, and the disk has not been asked to confirm the new names yet."""
        self._unsynced: tuple[str, ...] = ()
        """Promoted in haste: nor has it been asked to confirm what is in them."""
        self._replaced = ExitStack()
        self._promotions = 0
        """Whose replaced files are held in there."""

    @property
    def destinations(self) -> tuple[str, ...]:
        """All that it may write, HAProxy's main file too when it is one of them."""
        return self._options.destinations

    def read(self, destinations: tuple[str, ...]) -> dict[str, str | None]:
        """Read what is there now (None: absent). Raises WriteError when it may not be read."""
        return self._looking.read(destinations)

    def fingerprint(self, destinations: tuple[str, ...]) -> Fingerprint:
        """Tell cheaply whether something changed: stat only (None: absent or not to be seen)."""
        return looking.fingerprint(destinations)

    def stage(self, config: RenderedConfig, only: tuple[str, ...]) -> StagedFiles:
        """Write `only` of the set beside their destinations. Raises WriteError; leaves nothing."""
        staged = staging.stage(config, only)
        self._looking.expect({f.destination: f.text for f in config.files if f.destination in only})
        return staged

    def discard(self, staged: Staged, why: str = "") -> str:
        """Remove the staged files; with `why`, keep the set as rejected; returns where, in words."""
        staging.clear(staged.paths.values())
        if self._ahead:
            self._ahead = None
            with suppress(OSError):  # else the next start finds that nothing was begun
                self._journal.remove()
        self._prepared = None
        if not why:
            return ""
        folder = self._options.state / "rejected"
        try:
            kept.keep_rejected(self._options.state, staged.config, why)
        except OSError as error:
            return f"the rejected set could not be kept: {reasons.explain(error, folder).what}"
        return f"the rejected set is kept in {folder}"

    def prepare(self, staged: Staged) -> None:
        """Do ahead, while the set is checked, what a promotion must wait for the disk for.

        The candidates are synced, the set to go back to is kept, the journal is written: all but the
        renames. While an earlier promotion is not confirmed, its journal stays as it is. Raises
        WriteError; `discard` takes it back.
        """
        staging.sync_staged(staged.paths)
        if self._load_journal() is None:
            now = self._looking.present(f.destination for f in staged.config.files)
            ahead = journals.promoting(staged, now)
            with dest.errors_at(self._journal.path):
                self._previous.save(now, keep=False)
                self._journal.save(ahead)
            self._ahead = ahead
        self._prepared = staged

    def promote(self, staged: Staged, *, quick: bool = False) -> None:
        """Make the staged files live: all or, on an error, none. Keeps the previous set.

        Also without any staged file: `restore` then finds nothing to put back. Raises WriteError,
        also for a file that another hand has changed since it was read; the staged files are gone
        either way. `quick`: the disk confirms it all in `settle`; until then a power cut may leave
        any of it old, and one ends HAProxy too.
        """
        try:
            if self._prepared is not staged and not quick:
                staging.sync_staged(staged.paths)
            self._promote(staged, sync=not quick)
            if quick:
                self._unsynced = tuple(dict.fromkeys((*self._unsynced, *staged.paths)))
        except BaseException:
            staging.clear(staged.paths.values())  # else each has been renamed
            raise
        finally:
            self._prepared, self._ahead = None, None
            self._looking.decided()

    def settle(self) -> None:
        """End the journal: what was promoted is confirmed. Raises WriteError.

        Only here does the disk confirm the renames: a power cut before ends HAProxy too, and leaves
        each destination wholly old or wholly new, with the journal that says which.
        """
        self._replaced.close()
        staging.sync_staged({d: d for d in self._unsynced if _is_file(Path(d))})
        self._unsynced = ()
        staging.sync(self._renamed)
        self._renamed = ()
        with dest.errors_at(self._journal.path):
            self._journal.remove()

    def restore(self) -> tuple[str, ...]:
        """Put the previous set back; returns what changed on disk. Raises WriteError.

        Also where no promotion is open: what is kept then is older than the last that was confirmed.
        """
        with dest.errors_at(self._journal.path):
            previous = self._previous.load()
        if previous is None:
            raise WriteError(
                f"{self._options.state / 'previous'}: no whole previous set is kept there",
                remedy="put the files right by hand",
            )
        if not self._journal.path.exists():
            raise WriteError(
                "nothing was promoted that could be taken back",
                remedy="put the files right by hand",
            )
        now = self._looking.present(previous)
        journal = self._load_journal()
        with dest.errors_at(self._journal.path):
            if journal is not None:
                self._keep_foreign_edits(now, journal, previous)
            self._journal.save(journals.restoring(previous, now))
        changed = staging.put(previous, now, self._options.main)
        self.settle()
        return changed

    def recover(self) -> Recovery:
        """Mend what a crash left behind; called once at start. Raises WriteError."""
        notes: list[str] = []
        journal = self._recover_journal(notes)
        damaged = bool(notes)
        known = {self._options.main, *self._options.destinations}
        if journal is not None:
            known.update(e.destination for e in journal.entries)
        notes += recovery.swept(known)
        if journal is None:
            return Recovery(notes=tuple(notes), unsure=damaged)
        return self._resume(journal, notes)

    def keep_foreign(self, destination: str, text: str) -> str:
        """Keep an edit by others before it is replaced; returns where. Raises WriteError."""
        return self._keep_text("foreign", destination, text)

    def keep_original(self, destination: str, text: str) -> str:
        """Keep what was there before an adoption; returns where. Raises WriteError."""
        return self._keep_text("original", destination, text)

    def _keep_text(self, kind: str, destination: str, text: str) -> str:
        folder = self._options.state / kind
        with dest.errors_at(folder / kept.file_name(destination)):
            return str(kept.keep_text(folder, destination, text))

    def _promote(self, staged: Staged, *, sync: bool) -> None:
        now = self._looking.present(f.destination for f in staged.config.files)
        self._refuse_unseen(staged, now)
        journal = journals.promoting(staged, now)
        before = None if self._ahead else self._load_journal()
        if self._ahead != journal:
            # not prepared, or somebody has written there since
            with dest.errors_at(self._journal.path):
                if before is not None and before.edited(now):
                    self._keep_foreign_edits(now, before, self._previous.load() or {})
                if before is None and not sync:
                    self._replaced.push(staging.holding(self._previous.paths(now)))
                self._previous.save(now, keep=before is not None, sync=sync)
                self._journal.save(journal, sync=sync)
        faults.point("after-journal")
        done: list[str] = []
        self._promotions += 1
        if sync:
            self._replaced.close()
            self._promotions = 0
        elif self._promotions >= _MOST_HELD:
            replaced, self._replaced, self._promotions = self._replaced, ExitStack(), 0
            # Beside the change, which would wait for it.
            threading.Thread(target=replaced.close, name="confsync-free", daemon=True).start()
        self._replaced.push(staging.holding(staged.paths))
        try:
            for destination in staging.ordered(staged.paths, self._options.main):
                faults.point("promote-each")
                staging.rename(Path(staged.paths[destination]), destination)
                done.append(destination)
        except WriteError as error:
            self._take_back(done, now, before, error)
            raise
        self._renamed = tuple(dict.fromkeys((*self._renamed, *done)))
        faults.point("after-promote")

    def _refuse_unseen(self, staged: Staged, now: Found) -> None:
        """Refuse to replace what nobody has looked at: it would be lost without a word."""
        if unseen := self._looking.unseen(staged.paths, now):
            if self._ahead:
                with dest.errors_at(self._journal.path):
                    self._journal.remove()
            raise dest.refused(
                Path(unseen),
                "another hand changed it while its replacement was checked",
                "the next try looks at the change first",
            )

    def _take_back(
        self,
        done: list[str],
        before: Found,
        journal: Journal | None,
        error: WriteError,
    ) -> None:
        """Undo the renames that were made; the journal becomes what it was before."""
        try:
            wanted = {d: before[d] for d in done}
            staging.put(wanted, self._looking.present(done), self._options.main)
            with dest.errors_at(self._journal.path):
                if journal is None:
                    self._journal.remove()
                else:
                    self._journal.save(journal)
        except WriteError as second:
            raise WriteError(
                f"{error.what}; then taking back {', '.join(done)} failed too: {second.what}",
                remedy="the next start of confsync tries again",
                detail="\n".join(filter(None, (error.remedy, second.remedy))),
            ) from error

    def _keep_foreign_edits(self, now: Found, journal: Journal, previous: Found) -> None:
        """Lose no edit that somebody made while a promotion was not yet confirmed."""
        for entry in journal.entries:
            file = now.get(entry.destination)
            known = {entry.old, entry.new, dest.digest_of(previous.get(entry.destination))}
            if file is not None and dest.digest_of(file) not in known:
                kept.keep_text(self._options.state / "foreign", entry.destination, file.text)

    def _load_journal(self) -> Journal | None:
        with dest.errors_at(self._journal.path):
            try:
                return self._journal.load()
            except ValueError:
                self._journal.set_aside()
                return None

    def _recover_journal(self, notes: list[str]) -> Journal | None:
        with dest.errors_at(self._journal.path):
            try:
                return self._journal.load()
            except ValueError as error:
                aside = self._journal.set_aside()
                notes.append(f"the journal was damaged ({error}); it is kept as {aside}")
                return None

    def _resume(self, journal: Journal, notes: list[str]) -> Recovery:
        now = self._looking.present(e.destination for e in journal.entries)
        with dest.errors_at(self._journal.path):
            previous = self._previous.load()
        back = {e.destination: (previous or {}).get(e.destination) for e in journal.entries}
        found = recovery.judged(journal, now, back)
        undone = previous is not None and found.undone
        if found.whole and not undone and journal.phase is Phase.PROMOTING:
            notes.append("a set was promoted and its load not confirmed")
            self._renamed = tuple(e.destination for e in journal.entries if e.new is not None)
            self._unsynced = self._renamed
            return Recovery(notes=tuple(notes), unconfirmed=True, promoted=journal.new())
        if previous is None:
            self.settle()
            notes.append(
                "a promotion was cut short and no previous set is kept; files are as they are"
            )
            return Recovery(notes=tuple(notes), unsure=True)
        if undone:
            self.settle()
            notes.append(
                "a promotion was cut short before it changed anything"
                if journal.phase is Phase.PROMOTING
                else "the previous set had been put back"
            )
        else:
            try:
                # the journal as it is tells the truth until the last of them is back
                wanted = {d: back[d] for d in found.ours}
                changed = staging.put(wanted, now, self._options.main)
            except WriteError as error:
                notes.append(f"a promotion was cut short and cannot be put back yet: {error}")
                promoted = recovery.known(found.ours)
                return Recovery(notes=tuple(notes), unsure=True, promoted=promoted)
            self.settle()
            notes.append(f"a promotion was cut short; put back: {', '.join(changed)}")
        if not found.unsure:
            return Recovery(notes=tuple(notes))
        promoted = recovery.known({d: dest.digest_of(back[d]) for d in found.ours})
        return Recovery(notes=tuple(notes), unsure=True, promoted=promoted)


def _is_file(path: Path) -> bool:
    """Tell whether a file stands there itself, which no other hand has removed or put elsewhere."""
    return path.is_file() and not path.is_symlink()
