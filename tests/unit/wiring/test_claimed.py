"""What a start knows of a promotion that a crash cut short, also when its state can keep nothing."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from confsync.adapters.files.state import StateDirectory
from confsync.domain.running import Record
from confsync.engine.outlook import SENDING
from confsync.wiring import assembly
from tests.unit.adapters.files.place import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "haproxy").mkdir()
    made = Site(folder=tmp_path / "haproxy", state=tmp_path / "state")
    with StateDirectory(made.state) as state:
        made.promote(made.store(), "old")
        old = made.config("old").digests()
        state.save_record(Record(files=old, promoted=old, worker_pid=7))
    return made


def started(site: Site) -> tuple[Record | None, bool, tuple[str, ...]]:
    """Start as an agent does; returns the record, whether steps are in doubt, and the words."""
    parts = SimpleNamespace(state=StateDirectory(site.state), store=site.store())
    with assembly.claimed(cast(assembly.Parts, parts)) as notes:
        return parts.state.load_record(), bool(parts.state.load(SENDING)), notes


@pytest.mark.parametrize("full", [False, True])
def test_a_promoted_set_is_ours_and_its_steps_are_in_doubt(site: Site, full: bool) -> None:
    site.promote(site.store(), "new", settle=False)
    if full:
        for name in ("record", "sending"):
            (site.state / f".{name}.json.new").mkdir()  # nothing can be written beside it
    record, unsure, notes = started(site)
    assert record is not None
    assert (record.promoted, record.worker_pid) == (site.config("new").digests(), 7)
    assert unsure
    assert any("not kept for a restart" in note for note in notes) == full
    kept = StateDirectory(site.state)
    again = kept.load_record()
    assert again is not None
    assert bool(kept.load(SENDING)) == (not full)
    assert again.promoted == site.config("old" if full else "new").digests()
    assert started(site)[:2] == (record, True)  # the journal stays


def test_what_was_put_back_is_ours_and_steps_are_in_doubt(site: Site) -> None:
    store = site.store()
    site.promote(store, "doubtful", settle=False)
    with StateDirectory(site.state) as state:
        state.save_record(Record(promoted=site.config("doubtful").digests(), worker_pid=7))
    site.promote(store, "third", settle=False)
    (site.folder / "hosts.map").write_text("doubtful hosts.map\n")
    record, unsure, _ = started(site)
    assert record is not None
    assert record.promoted == site.config("old").digests()
    assert unsure


def test_a_clean_start_has_no_doubt(site: Site) -> None:
    record, unsure, notes = started(site)
    assert record is not None
    assert (record.promoted, unsure, notes) == (site.config("old").digests(), False, ())
