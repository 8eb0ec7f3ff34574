import os
import stat
from pathlib import Path

import pytest

from confsync.adapters.files import durable
from confsync.adapters.files.scratch import ScratchStore
from confsync.adapters.files.store import FileStore, StoreOptions
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.errors import WriteError
from tests.unit.adapters.files.place import NAMES, Site

MAIN, MAP, PAGE = NAMES


def test_a_set_is_staged_beside_its_destinations_and_promoted(site: Site) -> None:
    store = site.store()
    staged = store.stage(site.config("new"), site.destinations)
    assert site.words() == [None, None, None]
    assert staged.paths == {
        str(site.folder / n): str(site.folder / f".{n}.confsync") for n in NAMES
    }
    assert Path(staged.paths[site.destinations[1]]).read_text() == f"new {MAP}\n"
    store.promote(staged)
    assert site.words() == ["new", "new", "new"]
    assert site.strays() == []


def test_only_what_was_asked_for_is_staged(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    staged = store.stage(site.config("new"), (site.destinations[1],))
    assert list(staged.paths) == [site.destinations[1]]
    store.promote(staged)
    assert site.words() == ["old", "new", "old"]


def test_a_new_file_has_the_mode_of_its_template_whatever_the_umask(site: Site) -> None:
    path = site.folder / MAIN
    file = RenderedFile(destination=str(path), text="x\n", template="t", mode=0o640)
    before = os.umask(0o077)
    try:
        store = site.store()
        store.promote(store.stage(RenderedConfig(files=(file,)), (str(path),)))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_existing_file_keeps_its_mode(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    (site.folder / MAIN).chmod(0o604)
    site.promote(store, "new")
    assert stat.S_IMODE((site.folder / MAIN).stat().st_mode) == 0o604


def test_what_is_as_it_was_is_the_very_same_text(site: Site) -> None:
    """Nothing of a large file is decoded or digested again; what another hand wrote is seen."""
    store = site.store()
    staged = store.stage(site.config("new"), site.destinations)
    store.promote(staged)
    main = site.destinations[0]
    (text,) = store.read((main,)).values()
    assert text is staged.config.files[0].text
    Path(main).write_bytes(b"new \xff.cfg\n")
    (edited,) = store.read((main,)).values()
    assert edited == "new \udcff.cfg\n"
    assert store.read((main,))[main] is edited
    Path(main).unlink()
    assert store.read((main,)) == {main: None}
    store.stage(site.config("next"), site.destinations)
    Path(main).write_text(str(text))
    assert store.read((main,)) == {main: text}


def test_bytes_that_are_no_utf8_survive(site: Site) -> None:
    path = site.folder / MAIN
    path.write_bytes(b"\xff\xfe foreign \x80\r\n")
    text = site.store().read((str(path),))[str(path)]
    assert text is not None
    where = site.store().keep_foreign(str(path), text)
    assert Path(where).read_bytes() == b"\xff\xfe foreign \x80\r\n"


def test_text_that_no_file_can_hold_is_refused(site: Site) -> None:
    file = RenderedFile(destination=site.destinations[0], text="a\ud800", template="t")
    with pytest.raises(WriteError, match="character 1"):
        site.store().stage(RenderedConfig(files=(file,)), site.destinations)
    assert site.strays() == []


def test_absent_destinations_read_as_none(site: Site) -> None:
    gone = str(site.folder / "no" / "such")
    assert site.store().read((gone, site.destinations[0])) == {
        gone: None,
        site.destinations[0]: None,
    }


def test_restore_puts_the_set_before_back_and_removes_what_was_absent(site: Site) -> None:
    (site.folder / MAIN).write_text("old main\n")
    (site.folder / MAIN).chmod(0o600)
    store = site.store()
    site.promote(store, "new", settle=False)
    assert sorted(store.restore()) == sorted(site.destinations)
    assert site.words() == ["old", None, None]
    assert stat.S_IMODE((site.folder / MAIN).stat().st_mode) == 0o600
    assert site.strays() == []
    assert store.recover().notes == ()


def test_restore_after_a_promotion_without_changes_changes_nothing(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new")
    store.promote(store.stage(site.config("new"), ()))
    assert store.restore() == ()
    assert site.words() == ["new", "new", "new"]


def test_an_unconfirmed_promotion_does_not_become_the_way_back(site: Site) -> None:
    store = site.store()
    site.promote(store, "good")
    site.promote(store, "doubtful", settle=False)
    site.promote(store, "third", settle=False)
    store.restore()
    assert site.words() == ["good", "good", "good"]


def test_a_confirmed_promotion_is_the_way_back(site: Site) -> None:
    store = site.store()
    site.promote(store, "first")
    site.promote(store, "second")
    site.promote(store, "third", settle=False)
    store.restore()
    assert site.words() == ["second", "second", "second"]


def test_a_confirmed_promotion_is_not_taken_back(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new")
    with pytest.raises(WriteError, match="nothing was promoted"):
        store.restore()
    assert site.words() == ["new", "new", "new"]


def test_restore_without_a_previous_set_is_one_clear_error(site: Site) -> None:
    with pytest.raises(WriteError, match="no whole previous set"):
        site.store().restore()


def test_a_damaged_previous_set_is_not_put_back(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    kept = next(p for p in (site.state / "previous").iterdir() if p.name.endswith(MAIN))
    kept.write_text("garbage\n")
    with pytest.raises(WriteError, match="no whole previous set"):
        store.restore()
    assert site.words() == ["new", "new", "new"]


def test_an_edit_between_promotion_and_restore_is_kept(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.folder / MAIN).write_text("by hand\n")
    store.restore()
    assert site.words() == ["old", "old", "old"]
    assert [p.read_text() for p in (site.state / "foreign").iterdir()] == ["by hand\n"]


def test_an_edit_between_two_unconfirmed_promotions_is_kept(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.folder / MAIN).write_text("by hand\n")
    site.promote(store, "third", settle=False)
    assert [p.read_text() for p in (site.state / "foreign").iterdir()] == ["by hand\n"]


def test_a_failure_in_the_middle_takes_back_what_was_renamed(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    (site.folder / PAGE).unlink()
    staged = store.stage(site.config("new"), site.destinations)
    Path(staged.paths[site.destinations[0]]).unlink()  # the main file's, which goes last
    with pytest.raises(WriteError, match=MAIN):
        store.promote(staged)
    assert site.words() == ["old", "old", None]
    assert site.strays() == []
    assert store.recover().notes == ()


def test_a_failure_in_the_middle_keeps_the_journal_of_the_promotion_before(site: Site) -> None:
    store = site.store()
    site.promote(store, "good")
    site.promote(store, "doubtful", settle=False)
    staged = store.stage(site.config("third"), site.destinations)
    Path(staged.paths[site.destinations[0]]).unlink()
    with pytest.raises(WriteError):
        store.promote(staged)
    assert site.words() == ["doubtful"] * 3
    assert store.recover().unconfirmed
    store.restore()
    assert site.words() == ["good"] * 3


def test_discard_removes_the_staged_and_keeps_a_rejected_set(site: Site) -> None:
    store = site.store()
    store.discard(store.stage(site.config("first"), site.destinations), "no\nsuch keyword")
    store.discard(store.stage(site.config("second", names=(MAIN,)), site.destinations), "again")
    assert site.strays() == []
    rejected = {
        p.name.rpartition("+")[2]: p.read_text() for p in (site.state / "rejected").iterdir()
    }
    assert rejected == {MAIN: f"second {MAIN}\n", "why.txt": "again\n"}


def test_discard_without_a_reason_keeps_nothing(site: Site) -> None:
    store = site.store()
    staged = store.stage(site.config("new"), site.destinations)
    store.discard(staged)
    store.discard(staged)
    assert site.strays() == []
    assert list(site.state.iterdir()) == []


def test_a_rejected_set_that_cannot_be_kept_is_noted(site: Site) -> None:
    (site.state / "rejected").write_text("a file in the way")
    store = site.store()
    said = store.discard(store.stage(site.config("new"), site.destinations), "why")
    assert "could not be kept" in said
    assert site.strays() == []


def test_what_is_kept_is_private(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    store.discard(store.stage(site.config("bad"), site.destinations), "why")
    store.keep_foreign(site.destinations[0], "x")
    store.keep_original(site.destinations[0], "x")
    modes = (
        {stat.S_IMODE(p.stat().st_mode) for p in site.state.rglob("*") if not p.is_dir()},
        {stat.S_IMODE(p.stat().st_mode) for p in site.state.rglob("*") if p.is_dir()},
    )
    assert modes == ({0o600}, {0o700})


def test_the_fingerprint_changes_with_the_file_only(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    before = store.fingerprint(site.destinations)
    assert store.fingerprint(site.destinations) == before
    text = (site.folder / MAP).read_text()
    (site.folder / MAP).write_text(text.upper())
    after = store.fingerprint(site.destinations)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    (site.folder / MAP).unlink()
    assert store.fingerprint(site.destinations)[1] is None


def test_recover_finds_nothing_on_a_clean_start(site: Site, tmp_path: Path) -> None:
    store = site.store()
    site.promote(store, "old")
    assert store.recover().notes == ()
    nowhere = FileStore(StoreOptions(state=tmp_path / "none", main="/none/haproxy.cfg"))
    assert nowhere.recover().notes == ()


def test_recover_removes_leftovers_and_says_so(site: Site) -> None:
    for name in (f".{MAIN}.confsync", f".{MAIN}.check.confsync", f".{PAGE}.confsync", ".other"):
        (site.folder / name).write_text("x")
    notes = site.store().recover().notes
    assert site.strays() == [".other"]
    assert len(notes) == 3
    assert all(note.startswith("removed ") for note in notes)


def test_a_leftover_that_cannot_be_removed_is_told_and_does_not_stop_the_start(site: Site) -> None:
    (site.folder / f".{MAIN}.confsync").mkdir()
    (note,) = site.store().recover().notes
    assert "cannot be removed" in note
    with pytest.raises(WriteError, match="stands where its candidate must be"):
        site.store().stage(site.config("new"), site.destinations)


def test_recover_leaves_a_whole_promotion_and_names_its_texts(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    found = site.store().recover()
    assert found.unconfirmed
    assert found.promoted == site.config("new").digests()
    assert site.words() == ["new"] * 3


@pytest.mark.parametrize("done", [(1,), (1, 2), (0,)])
def test_recover_rolls_a_mixed_set_back(site: Site, done: tuple[int, ...]) -> None:
    store = site.store()
    site.promote(store, "old")
    (site.folder / PAGE).unlink()
    site.promote(store, "new", settle=False)
    for number, name in enumerate(NAMES):
        if number not in done:
            path = site.folder / name
            path.unlink() if name == PAGE else path.write_text(f"old {name}\n")
    found = site.store().recover()
    assert not found.unconfirmed
    assert "put back" in found.notes[0]
    assert site.words() == ["old", "old", None]
    assert found.promoted == {}
    assert site.store().recover().notes == ()


def test_recover_never_overwrites_an_edit_made_after_the_crash(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.folder / MAP).write_text(f"old {MAP}\n")  # mixed
    (site.folder / MAIN).write_text("by hand\n")
    site.store().recover()
    assert site.words() == ["by", "old", "old"]


def test_an_edit_after_the_crash_makes_no_mixed_set(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.folder / MAIN).write_text("by hand\n")
    assert site.store().recover().unconfirmed
    assert site.words() == ["by", "new", "new"]


@pytest.mark.parametrize("left", ["doubtful", "third"])
def test_a_crash_upon_an_unconfirmed_set_leaves_it_open_what_runs(site: Site, left: str) -> None:
    """Steps to the doubtful set may have been sent; the files that are put back are confsync's."""
    store = site.store()
    site.promote(store, "good")
    site.promote(store, "doubtful", settle=False)
    site.promote(store, "third", settle=False)
    (site.folder / MAP).write_text(f"{left} {MAP}\n")
    (site.folder / MAIN).write_text(f"doubtful {MAIN}\n")
    found = site.store().recover()
    assert site.words() == ["good"] * 3
    assert found.unsure
    assert found.promoted == site.config("good").digests()


def test_a_restore_that_was_cut_short_leaves_it_open_what_runs(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    journal = (site.state / "journal.json").read_text()
    store.restore()
    (site.state / "journal.json").write_text(journal.replace("promoting", "restoring"))
    found = site.store().recover()
    assert site.words() == ["old"] * 3
    assert found.unsure
    assert found.promoted == site.config("old").digests()


def test_a_recovery_needs_no_room_in_the_state_directory(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.folder / MAP).write_text(f"old {MAP}\n")  # mixed
    (site.state / ".journal.json.new").mkdir()  # nothing new can be written beside it
    found = site.store().recover()
    assert "put back" in found.notes[0]
    assert site.words() == ["old"] * 3


def test_a_set_that_cannot_be_put_back_yet_is_told_and_left_to_the_next_promotion(
    site: Site,
) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.folder / MAP).write_text(f"old {MAP}\n")  # mixed
    blocking = site.folder / f".{MAIN}.confsync"
    blocking.mkdir()
    (blocking / "x").touch()
    store = site.store()
    found = store.recover()
    assert "cannot be put back yet" in found.notes[-1]
    assert found.unsure
    assert found.promoted == site.config("new").digests() | {
        site.destinations[1]: site.config("old").digests()[site.destinations[1]]
    }
    (blocking / "x").unlink()
    blocking.rmdir()
    site.promote(store, "third", settle=False)
    store.restore()
    assert site.words() == ["old"] * 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase": "odd", "files": []}', '{"phase": 1}'])
def test_a_damaged_journal_is_set_aside_and_changes_nothing(site: Site, text: str) -> None:
    store = site.store()
    site.promote(store, "old")
    (site.state / "journal.json").write_text(text)
    found = site.store().recover()
    (note,) = found.notes
    assert "damaged" in note
    assert found.unsure  # it may have told of steps that were sent
    assert (site.state / "journal.json.corrupt").read_text() == text
    assert site.words() == ["old"] * 3
    assert site.store().recover().notes == ()


def test_a_journal_without_its_previous_set_changes_nothing(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.state / "previous" / "manifest.json").unlink()
    (site.folder / MAP).write_text(f"old {MAP}\n")
    found = site.store().recover()
    (note,) = found.notes
    assert "no previous set" in note
    assert found.unsure
    assert site.words() == ["new", "old", "new"]


def test_a_whole_promotion_needs_no_previous_set(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    site.promote(store, "new", settle=False)
    (site.state / "previous" / "manifest.json").unlink()
    found = site.store().recover()
    assert found.unconfirmed
    assert found.promoted == site.config("new").digests()


def test_kept_texts_are_distinct_and_older_ones_move_up(site: Site) -> None:
    store = site.store()
    first = store.keep_foreign("/a/x.cfg", "1")
    assert store.keep_foreign("/b/x.cfg", "2") != first
    assert store.keep_foreign("/a/x.cfg", "1") == first
    for word in "3456789":
        store.keep_foreign("/a/x.cfg", word)
    folder = site.state / "foreign"
    assert {p.name: p.read_text() for p in folder.iterdir() if p.name.startswith("a+")} == {
        "a+x.cfg": "9",
        **{f"a+x.cfg~{n}": str(9 - n) for n in range(1, 6)},
    }


def test_a_full_state_directory_leaves_everything_as_it_was(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    (site.state / "previous" / "manifest.json").unlink()
    (site.state / "previous" / "manifest.json").mkdir()
    staged = store.stage(site.config("new"), site.destinations)
    with pytest.raises(WriteError):
        store.promote(staged)
    assert site.words() == ["old"] * 3
    assert site.strays() == []


def test_a_promotion_prepared_ahead_is_the_same(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    staged = store.stage(site.config("new"), site.destinations)
    store.prepare(staged)
    assert site.words() == ["old", "old", "old"]
    found = site.store().recover()  # as after a crash here: nothing was begun
    assert "before it changed anything" in found.notes[-1]
    assert not (site.state / "journal.json").exists()
    staged = store.stage(site.config("new"), site.destinations)
    store.prepare(staged)
    store.promote(staged)
    assert site.words() == ["new", "new", "new"]
    assert store.restore()
    assert site.words() == ["old", "old", "old"]


def test_what_was_prepared_and_refused_leaves_no_journal(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    staged = store.stage(site.config("new"), site.destinations)
    store.prepare(staged)
    store.discard(staged, "refused")
    assert not (site.state / "journal.json").exists()
    assert site.words() == ["old", "old", "old"]
    store.promote(store.stage(site.config("newer"), site.destinations))
    assert store.restore()
    assert site.words() == ["old", "old", "old"]


def test_an_edit_after_the_preparation_is_what_a_restore_puts_back(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    staged = store.stage(site.config("new"), site.destinations)
    store.prepare(staged)
    (site.folder / MAIN).write_text("by hand\n")
    store.promote(staged)
    store.restore()
    assert (site.folder / MAIN).read_text() == "by hand\n"


@pytest.mark.parametrize("ahead", [True, False])
def test_an_edit_since_it_was_read_is_not_replaced(site: Site, ahead: bool) -> None:
    store = site.store()
    site.promote(store, "old")
    store.read(site.destinations)
    staged = store.stage(site.config("new"), site.destinations)
    if ahead:
        store.prepare(staged)
    (site.folder / MAIN).write_text("by hand\n")
    with pytest.raises(WriteError, match="another hand changed it"):
        store.promote(staged)
    assert site.words() == ["by", "old", "old"]
    assert site.strays() == []
    assert not (site.state / "journal.json").exists()
    store.read(site.destinations)
    site.promote(store, "new")
    assert site.words() == ["new", "new", "new"]


def test_preparing_on_top_of_an_unconfirmed_promotion_keeps_the_way_back(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    store.promote(store.stage(site.config("unconfirmed"), site.destinations))
    staged = store.stage(site.config("new"), site.destinations)
    store.prepare(staged)
    store.discard(staged, "refused")
    assert (site.state / "journal.json").exists()
    staged = store.stage(site.config("new"), site.destinations)
    store.prepare(staged)
    store.promote(staged)
    store.restore()
    assert site.words() == ["old", "old", "old"]


def test_a_check_elsewhere_needs_no_folder_of_the_destination(site: Site) -> None:
    gone = str(site.folder / "no" / "such" / MAIN)
    config = RenderedConfig(files=(RenderedFile(destination=gone, text="x\n", template="t"),))
    with pytest.raises(WriteError, match="does not exist"):
        ScratchStore().stage(config, (gone,))
    store = ScratchStore(anywhere=True)
    staged = store.stage(config, (gone,))
    assert Path(staged.paths[gone]).read_text() == "x\n"
    store.discard(staged)
    assert not Path(staged.paths[gone]).exists()


def test_a_quick_promotion_is_taken_back_and_recovered_like_any_other(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    for word in ("one", "two", *map(str, range(40))):
        store.promote(store.stage(site.config(word), site.destinations), quick=True)
    assert site.words() == ["39", "39", "39"]
    found = site.store().recover()
    assert found.unconfirmed
    assert site.words() == ["39", "39", "39"]
    again = site.store()
    again.restore()
    assert site.words() == ["old", "old", "old"]
    again.promote(again.stage(site.config("new"), site.destinations), quick=True)
    again.settle()
    assert not site.store().recover().unconfirmed
    assert site.words() == ["new", "new", "new"]
    assert site.strays() == []


def test_what_a_killed_agent_promoted_in_haste_is_confirmed_by_the_disk(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = site.store()
    site.promote(store, "old")
    store.promote(store.stage(site.config("new"), site.destinations), quick=True)
    store = site.store()
    assert store.recover().unconfirmed
    synced: list[str] = []
    monkeypatch.setattr(durable, "sync_file", lambda path: synced.append(str(path)))
    store.settle()
    assert sorted(synced) == sorted(site.destinations)


def test_a_file_that_became_a_link_meanwhile_does_not_keep_a_journal_open(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    store.promote(store.stage(site.config("new"), site.destinations), quick=True)
    main = site.folder / MAIN
    main.rename(site.folder / "real.cfg")
    main.symlink_to("real.cfg")
    store.settle()
    assert site.store().recover().notes == ()
