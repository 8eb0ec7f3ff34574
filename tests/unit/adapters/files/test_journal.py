"""The journal that is written over: whole, whatever the disk still takes."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from confsync.adapters.files.journal import Entry, Journal, JournalFile, Phase


def of(count: int, word: str = "old") -> Journal:
    """Make a journal of so many destinations, of some 100 bytes each."""
    entries = (
        Entry(destination=f"/{n}/{'x' * 40}.map", old=word, new=word * 8) for n in range(count)
    )
    return Journal(phase=Phase.PROMOTING, entries=tuple(entries))


@contextmanager
def files_of(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: what goes beyond is a short write, then an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("after", [1, 3, 12, 200])
def test_it_is_written_over_by_any_other(tmp_path: Path, after: int) -> None:
    file = JournalFile(tmp_path)
    file.save(of(12))
    file.save(of(after, "new"), sync=False)
    assert file.load() == of(after, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["journal.json"]


def test_one_of_the_same_size_takes_no_new_file(tmp_path: Path) -> None:
    file = JournalFile(tmp_path)
    file.save(of(12))
    before = file.path.stat().st_ino
    file.save(of(12, "new"), sync=False)
    assert file.path.stat().st_ino == before


@pytest.mark.parametrize(("before", "after"), [(12, 60), (60, 61)])
def test_one_that_the_disk_does_not_take_whole_leaves_the_one_before(
    tmp_path: Path, before: int, after: int
) -> None:
    file = JournalFile(tmp_path)
    file.save(of(before))
    with files_of(4096), pytest.raises(OSError):
        file.save(of(after), sync=False)
    assert file.load() == of(before)
    assert [p.name for p in tmp_path.iterdir()] == ["journal.json"]
