"""The watch on a real folder: what is published and told, in order."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from confsync.adapters.files.services import ServicesFile
from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog
from confsync.domain.status import SourceState
from confsync.errors import Unavailable

DEADLINE = 10  # seconds


def text(*names: str) -> str:
    return json.dumps(
        {
            "services": [
                {"name": n, "instances": [{"id": n, "address": "10.0.0.1", "port": 80}]}
                for n in names
            ]
        }
    )


def replace(path: Path, content: str) -> None:
    """Write as careful programs do."""
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_text(content)
    beside.replace(path)


class Heard:
    """What a watch said, with a wait for it."""

    def __init__(self) -> None:
        self.catalogs: list[Catalog] = []
        self.states: list[SourceState] = []
        self._changed = asyncio.Event()

    def publish(self, catalog: Catalog) -> None:
        self.catalogs.append(catalog)
        self._changed.set()

    def tell(self, state: SourceState) -> None:
        self.states.append(state)
        self._changed.set()

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.catalogs[-1].services] if self.catalogs else []

    @property
    def error(self) -> str:
        return self.states[-1].error if self.states else ""

    async def until(self, what: str, *, error: str = "") -> None:
        """Wait until the last catalog has these names and the last state this error."""
        async with asyncio.timeout(DEADLINE):
            while not (
                self.states
                and " ".join(self.names) == what
                and (error in self.error if error else not self.error)
            ):
                await self._changed.wait()
                self._changed.clear()


@asynccontextmanager
async def watching(
    path: Path, selection: Selection | None = None, *, look_again: float = 60
) -> AsyncIterator[Heard]:
    """Watch; with the default only an event can be what woke it."""
    heard = Heard()
    source = ServicesFile(path, selection or Selection(), look_again=look_again)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(source.watch(heard.publish, heard.tell))
        yield heard
        task.cancel()
    await source.close()


async def test_each_way_of_writing_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text(text("a"))
    async with watching(path) as heard:
        await heard.until("a")
        replace(path, text("b"))
        await heard.until("b")
        path.write_text(text("c"))
        await heard.until("c")
        replace(path, text("d"))
        await heard.until("d")
    assert heard.states[0].up
    assert "by inotify" in heard.states[0].notes[0]
    assert all(state.up for state in heard.states)


async def test_only_other_content_is_published(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text(text("a"))
    async with watching(path) as heard:
        await heard.until("a")
        replace(path, text("a") + "\n")
        path.touch()
        (tmp_path / "other").write_text("x")
        replace(path, text("b"))
        await heard.until("b")
    assert [[s.name for s in c.services] for c in heard.catalogs] == [["a"], ["b"]]
    assert len(heard.states) == 1


async def test_a_missing_file_is_waited_for_and_told(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    async with watching(path) as heard:
        await heard.until("", error="services.json: it does not exist")
        assert heard.catalogs == []
        path.write_text(text("a"))
        await heard.until("a")
    assert [s.up for s in heard.states] == [False, True]


async def test_a_missing_folder_is_waited_for_and_then_watched(tmp_path: Path) -> None:
    path = tmp_path / "later" / "services.json"
    async with watching(path, look_again=0.02) as heard:
        await heard.until("", error="the folder")
        assert "without inotify" in heard.states[0].notes[0]
        path.parent.mkdir()
        path.write_text(text("a"))
        await heard.until("a")
        replace(path, text("b"))
        await heard.until("b")
    assert "by inotify" in heard.states[-1].notes[0]


async def test_a_bad_file_keeps_the_last_good_services_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text(text("a"))
    async with watching(path) as heard:
        await heard.until("a")
        replace(path, text("a")[:-5])
        await heard.until("a", error=str(path))
        replace(path, '{"services": [{"name": 1}]}')
        await heard.until("a", error="services[0].name = 1")
        path.unlink()
        await heard.until("a", error="does not exist")
        replace(path, text("a"))
        await heard.until("a")
    assert len(heard.catalogs) == 1
    down = [s.since for s in heard.states if not s.up]
    assert len(set(down)) == 1  # since it went down, whatever the reasons after


async def test_a_swapped_link_as_kubernetes_does_is_noticed(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}" / "services.json").write_text(text(name))
    (tmp_path / "..data").symlink_to("..a")
    path = tmp_path / "services.json"
    path.symlink_to("..data/services.json")
    async with watching(path) as heard:
        await heard.until("a")
        (tmp_path / "..tmp").symlink_to("..b")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        await heard.until("b")


async def test_a_link_to_another_folder_is_looked_at_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    real = tmp_path / "elsewhere" / "real.json"
    real.write_text(text("a"))
    path = tmp_path / "here" / "services.json"
    path.symlink_to(real)
    async with watching(path, look_again=0.02) as heard:
        await heard.until("a")
        replace(real, text("b"))
        await heard.until("b")


async def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    path = folder / "services.json"
    path.write_text(text("a"))
    async with watching(path, look_again=0.02) as heard:
        await heard.until("a")
        folder.rename(tmp_path / "old")
        folder.mkdir()
        path.write_text(text("b"))
        await heard.until("b")
        replace(path, text("c"))
        await heard.until("c")


async def test_the_selection_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text(text("web-1", "web-2", "db", "consul"))
    selection = Selection(services=("web-*",), exclude=("web-2",))
    async with watching(path, selection) as heard:
        await heard.until("web-1")
    source = ServicesFile(path, selection)
    assert [s.name for s in (await source.fetch()).services] == ["web-1"]
    assert (await source.confirm("db")).instances == ()


async def test_confirm_reads_anew(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text(text("a"))
    source = ServicesFile(path, Selection(), now=lambda: 7.0)
    assert len((await source.confirm("a")).instances) == 1
    path.write_text(text("b"))
    gone = await source.confirm("a")
    assert (gone.name, gone.instances, gone.seen) == ("a", (), 7.0)


async def test_what_is_no_services_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "s.ini").write_text("x")
    (tmp_path / "d.json").mkdir()
    os.mkfifo(tmp_path / "p.json")
    (tmp_path / "bad.toml").write_text("=")
    for name, said in {
        "s.ini": "unknown kind of file '.ini'",
        "d.json": "not a regular file",
        "p.json": "not a regular file",
        "bad.toml": "line 1",
        "none.yaml": "it does not exist",
    }.items():
        with pytest.raises(Unavailable, match=said) as caught:
            await ServicesFile(tmp_path / name, Selection()).fetch()
        assert str(tmp_path / name) in caught.value.what
        assert caught.value.remedy
