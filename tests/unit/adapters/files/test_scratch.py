import stat
from pathlib import Path

import pytest

from confsync.adapters.files.scratch import ScratchStore
from confsync.errors import WriteError
from tests.unit.adapters.files.place import Site


def test_a_dry_run_touches_neither_destinations_nor_state(site: Site, tmp_path: Path) -> None:
    within = tmp_path / "scratch"
    within.mkdir()
    scratch = ScratchStore(within)
    staged = scratch.stage(site.config("new"), site.destinations[:2])
    assert list(staged.paths) == list(site.destinations[:2])
    for destination, path in staged.paths.items():
        assert Path(path).name == Path(destination).name
        assert Path(path).read_text() == f"new {Path(path).name}\n"
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert {stat.S_IMODE(p.stat().st_mode) for p in within.rglob("*") if p.is_dir()} == {0o700}
    assert list(site.folder.iterdir()) == []
    scratch.discard(staged, "why")
    scratch.discard(staged)
    assert list(within.iterdir()) == []
    assert list(site.state.iterdir()) == []


def test_nothing_to_stage_leaves_nothing(site: Site, tmp_path: Path) -> None:
    within = tmp_path / "scratch"
    within.mkdir()
    scratch = ScratchStore(within)
    scratch.discard(scratch.stage(site.config("new"), ()))
    assert list(within.iterdir()) == []


def test_a_destination_that_cannot_be_replaced_is_told(site: Site, tmp_path: Path) -> None:
    (site.folder / "hosts.map").symlink_to("x")
    with pytest.raises(WriteError, match="symlink"):
        ScratchStore(tmp_path).stage(site.config("new"), site.destinations)


def test_a_scratch_folder_that_cannot_be_made_is_told(site: Site, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="does not exist"):
        ScratchStore(tmp_path / "gone").stage(site.config("new"), site.destinations)
