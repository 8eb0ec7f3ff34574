import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from confsync.adapters.files.inotify import FolderWatch


async def woken(woke: asyncio.Event, change: Callable[[], object]) -> None:
    woke.clear()
    change()
    async with asyncio.timeout(10):
        await woke.wait()


async def test_every_kind_of_change_wakes(tmp_path: Path) -> None:
    folder, other = tmp_path / "f", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "x").write_text("x")
    woke = asyncio.Event()
    with FolderWatch(folder, woke.set) as watch:
        assert watch.working
        for change in (
            lambda: (other / "x").rename(folder / "x"),
            lambda: (folder / "x").chmod(0o600),
            lambda: (folder / "x").write_text("y"),
            lambda: (folder / "link").symlink_to("x"),
            lambda: (folder / "x").rename(other / "x"),
            (folder / "link").unlink,
        ):
            await woken(woke, change)


async def test_a_folder_that_is_replaced_or_comes_later_is_watched_once_armed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "f"
    woke = asyncio.Event()
    with FolderWatch(folder, woke.set) as watch:
        assert not watch.working
        for turn in range(3):
            folder.mkdir()
            watch.arm()
            watch.arm()
            assert watch.working
            await woken(woke, (folder / "x").touch)
            await woken(woke, lambda n=turn: folder.rename(tmp_path / str(n)))
            assert not watch.working


@pytest.mark.parametrize("kind", ["file", "nothing"])
async def test_what_is_no_folder_is_not_watched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("x")
    with FolderWatch(path, lambda: None) as watch:
        assert not watch.working
