"""kill -9 between any two steps on disk: what the next start finds, and makes of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.adapters.files.place import Site

PROGRAM = """
import sys
from pathlib import Path
from tests.unit.adapters.files.place import Site

site = Site(folder=Path(sys.argv[1]), state=Path(sys.argv[2]))
store = site.store()
for step in sys.argv[3:]:
    if step == "restore":
        store.restore()
    elif step == "recover":
        store.recover()
    else:
        site.promote(store, step, settle=False)
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "haproxy").mkdir()
    (tmp_path / "state").mkdir(0o700)
    made = Site(folder=tmp_path / "haproxy", state=tmp_path / "state")
    made.promote(made.store(), "old")
    (made.folder / "503.http").unlink()  # one destination that is new
    return made


OLD = ["old", "old", None]


def run(site: Site, fault: str, *steps: str) -> None:
    """Take the steps in a process that dies at the fault point."""
    argv = [sys.executable, "-c", PROGRAM, str(site.folder), str(site.state), *steps]
    environment = {**os.environ, "CONFSYNC_FAULT": fault}
    done = subprocess.run(argv, cwd=ROOT, env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, "the fault point was never passed"


@pytest.mark.parametrize(
    ("fault", "left", "then"),
    [
        ("after-journal", OLD, OLD),
        ("promote-each:1", OLD, OLD),
        ("promote-each:2", ["old", "new", None], OLD),
        ("promote-each:3", ["old", "new", "new"], OLD),
        ("after-promote", ["new"] * 3, ["new"] * 3),
    ],
)
def test_each_file_is_old_or_new_and_the_next_start_makes_the_set_whole(
    site: Site, fault: str, left: list[str | None], then: list[str | None]
) -> None:
    run(site, fault, "new")
    assert site.words() == left  # words() would not know a half-written file
    store = site.store()
    found = store.recover()
    assert site.words() == then
    assert site.strays() == []
    assert found.notes
    assert found.unconfirmed == (then == ["new"] * 3)
    assert found.promoted == (site.config("new").digests() if found.unconfirmed else {})
    again = site.store().recover()
    assert again.unconfirmed == found.unconfirmed
    assert site.words() == then
    site.promote(store, "next", settle=False)
    store.restore()
    assert site.words() == OLD


@pytest.mark.parametrize("number", [4, 5])
def test_a_restore_that_was_cut_short_is_finished(site: Site, number: int) -> None:
    run(site, f"promote-each:{number}", "new", "restore")
    site.store().recover()
    assert site.words() == OLD
    assert site.strays() == []
    assert site.store().recover().notes == ()


@pytest.mark.parametrize("number", [1, 2])
def test_a_recovery_that_was_cut_short_is_finished(site: Site, number: int) -> None:
    run(site, "promote-each:3", "new")
    (site.folder / "haproxy.cfg").write_text("new haproxy.cfg\n")
    (site.folder / "503.http").unlink()  # mixed: the main file and the map are to be put back
    run(site, f"promote-each:{number}", "recover")
    site.store().recover()
    assert site.words() == OLD
    assert site.store().recover().notes == ()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_crash_on_top_of_an_unconfirmed_set_goes_back_to_the_last_good_one(
    site: Site, number: int
) -> None:
    run(site, f"promote-each:{3 + number}", "doubtful", "third")
    found = site.store().recover()
    assert not found.unconfirmed
    assert site.words() == OLD
