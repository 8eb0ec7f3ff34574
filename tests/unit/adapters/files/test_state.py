import stat
from pathlib import Path

import pytest

from confsync.adapters.files.state import StateDirectory
from confsync.domain.catalog import Catalog, Instance, Service
from confsync.domain.running import Record
from confsync.errors import Locked, StateError

CATALOG = Catalog(
    services=(
        Service(
            name="web",
            instances=(Instance(id="web-1", address="10.0.0.1", port=80, modify_index=7),),
            seen=12.5,
        ),
    )
)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "var" / "state")


def test_a_claim_makes_a_private_directory_of_this_format(state: StateDirectory) -> None:
    with state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
        assert (state.path / "version").read_text() == "1\n"
        state.save("holds", {"a": 1})
        modes = {stat.S_IMODE(p.stat().st_mode) for p in state.path.iterdir()}
        assert modes == {0o600}


def test_what_was_saved_is_loaded_by_the_next_start(state: StateDirectory) -> None:
    record = Record(files={"/a": "1"}, text={"/a": "x\n"}, promoted={"/a": "2"}, worker_pid=5)
    with state:
        state.save_catalog(CATALOG)
        state.save_record(record)
        state.save("ids", {"web": [1, None, True, 2.5]})
    again = StateDirectory(state.path)
    loaded = again.load_catalog()
    assert loaded == CATALOG
    assert loaded is not None
    assert loaded.services[0].seen == 12.5
    assert loaded.services[0].instances[0].modify_index == 7
    assert again.load_record() == record
    assert again.load("ids") == {"web": [1, None, True, 2.5]}
    assert again.notes == []


def test_any_text_of_a_registry_survives(state: StateDirectory) -> None:
    hostile = "\ud83d\ude00 \udcff \0 \n \u2028"
    row = Instance(id=hostile, address=hostile, port=1, tags=(hostile,), meta=((hostile, hostile),))
    catalog = Catalog(services=(Service(name=hostile, instances=(row,)),))
    with state:
        state.save_catalog(catalog)
        state.save("holds", {hostile: hostile})
    again = StateDirectory(state.path)
    assert again.load_catalog() == catalog
    assert again.load("holds") == {hostile: hostile}


def test_looking_leaves_no_trace(state: StateDirectory) -> None:
    state.inspect()
    assert state.load_catalog() is None
    assert state.load_record() is None
    assert state.load("holds") is None
    assert not state.path.parent.exists()
    assert state.notes == []


def test_an_equal_catalog_is_not_written_again(state: StateDirectory) -> None:
    with state:
        state.save_catalog(CATALOG)
        path = state.path / "catalog.json"
        before = path.stat().st_ino
        state.save_catalog(Catalog(services=CATALOG.services, index_fell=True))
        assert path.stat().st_ino == before
        state.save_catalog(Catalog())
        assert path.stat().st_ino != before
    again = StateDirectory(state.path)
    with again:
        before = path.stat().st_ino
        again.save_catalog(again.load_catalog() or CATALOG)
        assert path.stat().st_ino == before


def test_a_catalog_that_vanished_is_written_again(state: StateDirectory) -> None:
    with state:
        state.save_catalog(CATALOG)
        (state.path / "catalog.json").unlink()
        state.save_catalog(CATALOG)
        assert StateDirectory(state.path).load_catalog() == CATALOG


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b'{"services": 1}', b"[" * 100_000])
def test_damage_is_taken_as_absent_told_and_kept(state: StateDirectory, damage: bytes) -> None:
    with state:
        for name in ("catalog", "record"):
            (state.path / f"{name}.json").write_bytes(damage)
        assert state.load_catalog() is None
        assert state.load_record() is None
        assert len(state.notes) == 2
        assert (state.path / "catalog.json.corrupt").read_bytes() == damage
        assert not (state.path / "record.json").exists()
        state.save_catalog(CATALOG)
        assert state.load_catalog() == CATALOG


def test_a_dry_run_leaves_damage_where_it_is(state: StateDirectory) -> None:
    state.path.mkdir(parents=True)
    (state.path / "holds.json").write_text("{")
    assert state.load("holds") is None
    assert (state.path / "holds.json").read_text() == "{"
    assert "damaged" in state.notes[0]


def test_unreadable_is_taken_as_absent_and_told(state: StateDirectory) -> None:
    (state.path / "holds.json").mkdir(parents=True)
    assert state.load("holds") is None
    assert "taken as absent" in state.notes[0]


def test_a_newer_format_is_refused_with_a_way_out(state: StateDirectory) -> None:
    state.path.mkdir(parents=True)
    (state.path / "version").write_text("9\n")
    for use in (state.inspect, state.claim):
        with pytest.raises(StateError, match="newer confsync") as caught:
            use()
        assert "install that version" in caught.value.remedy
    (state.path / "version").write_text("1\n")
    with state:  # the refused claim kept no lock
        pass


def test_an_older_format_is_migrated_once_step_by_step(state: StateDirectory) -> None:
    with state:
        state.save("holds", "old")
    done: list[str] = []

    def first(path: Path) -> None:
        done.append(f"first {(path / 'version').read_text().strip()}")

    def second(path: Path) -> None:
        done.append(f"second {(path / 'version').read_text().strip()}")

    for _ in range(2):
        with StateDirectory(state.path, (first, second)) as newer:
            assert newer.load("holds") == "old"
    assert done == ["first 1", "second 2"]
    assert (state.path / "version").read_text() == "3\n"


def test_a_fresh_directory_needs_no_migration(tmp_path: Path) -> None:
    def never(path: Path) -> None:
        raise AssertionError(path)

    with StateDirectory(tmp_path / "s", (never,)) as fresh:
        assert (fresh.path / "version").read_text() == "2\n"


def test_a_damaged_version_is_told_and_mended(state: StateDirectory) -> None:
    state.path.mkdir(parents=True)
    (state.path / "version").write_bytes(b"\xff?")
    with state:
        assert "version: damaged" in state.notes[0]
        assert (state.path / "version").read_text() == "1\n"


def test_the_lock_is_given_back(state: StateDirectory) -> None:
    with state, pytest.raises(Locked):
        StateDirectory(state.path).claim()
    with StateDirectory(state.path):
        pass


def test_a_path_that_cannot_be_a_directory_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match="the state directory cannot be used"):
            StateDirectory(path).claim()


def test_what_cannot_be_kept_is_known_until_the_end_of_this_process(state: StateDirectory) -> None:
    with state:
        state.save("holds", "old")
        blocking = state.path / ".holds.json.new"
        blocking.mkdir()
        with pytest.raises(StateError):
            state.save("holds", "new")
        assert state.load("holds") == "new"
        assert StateDirectory(state.path).load("holds") == "old"
        blocking.rmdir()
        state.save("holds", "newer")
        assert state.load("holds") == StateDirectory(state.path).load("holds") == "newer"


@pytest.mark.parametrize("name", ["catalog", "record", "journal", "../x", "a/b", ""])
def test_values_of_the_engine_have_names_of_their_own(state: StateDirectory, name: str) -> None:
    with state, pytest.raises(ValueError, match="no name"):
        state.save(name, 1)
