"""What a crash left of a promotion, judged; and what it left lying about, removed.

What becomes of the destinations is the store's (store.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confsync.adapters.files import destination as dest
from confsync.adapters.files import reasons
from confsync.adapters.files.journal import Journal, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a start found on disk, in words.

    `unconfirmed`: a promoted set stands whose load nobody confirmed. `promoted`: destination ->
    digest of what stands there and perhaps no record knows: confsync's own, not a foreign edit.
    `unsure`: steps to a set that stands no more may have been sent.
    """

    notes: tuple[str, ...] = ()
    unconfirmed: bool = False
    unsure: bool = False
    promoted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the destinations of an open journal hold. Digests, None where nothing is.

    `ours`: destination -> what is there, of those with a text that is confsync's own; others were
    edited since. `undone`: each is as it was before. `whole`: each is as it was to be. `unsure`: the
    promotion was one upon a set that was not confirmed, or it was being taken back.
    """

    ours: Mapping[str, str | None]
    undone: bool
    whole: bool
    unsure: bool


def judged(
    journal: Journal,
    now: Mapping[str, dest.Present | None],
    back: Mapping[str, dest.Present | None],
) -> Findings:
    """Compare destinations with a journal. `back`: what a restore would put there."""
    ours = {}
    for entry in journal.entries:
        found = dest.digest_of(now[entry.destination])
        if found in {entry.old, entry.new, dest.digest_of(back[entry.destination])}:
            ours[entry.destination] = found
    return Findings(
        ours=ours,
        undone=all(found == dest.digest_of(back[d]) for d, found in ours.items()),
        whole=all(ours[e.destination] == e.new for e in journal.entries if e.destination in ours),
        unsure=journal.phase is Phase.RESTORING
        or any(e.old != dest.digest_of(back[e.destination]) for e in journal.entries),
    )


def known(digests: Mapping[str, str | None]) -> dict[str, str]:
    """Leave out what is absent."""
    return {d: found for d, found in digests.items() if found is not None}


def swept(destinations: Iterable[str]) -> list[str]:
    """Remove what earlier runs staged beside destinations; returns what happened, in words."""
    notes = []
    for destination in sorted(destinations):
        for leftover in (dest.staged_path(destination), dest.check_path(destination)):
            try:
                leftover.unlink()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                what = reasons.explain(error, leftover).what
                notes.append(f"{leftover}: left behind, and cannot be removed: {what}")
            else:
                notes.append(f"removed {leftover}, left behind by an earlier run")
    return notes
