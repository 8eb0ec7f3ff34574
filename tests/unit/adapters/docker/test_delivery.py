"""The delivery into a container in memory; into real ones: tests/integration/docker."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from confsync import errors
from confsync.adapters.docker import delivery
from confsync.adapters.docker.delivery import DeliveredStore
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.putting import Putting, Text
from confsync.core import placement
from confsync.domain.rendered import RenderedConfig, RenderedFile
from tests.fakes import world
from tests.unit.adapters.docker.box import FakeEngine, mount

ETC = "/usr/local/etc/haproxy"
MAIN, MAP = f"{ETC}/haproxy.cfg", f"{ETC}/hosts.map"


class Local(world.Store):
    """A store of the mirror that has it on disk as well, as the real one."""

    def __init__(self, main: str, hosts: str) -> None:
        super().__init__()
        self.paths = (main, hosts)

    def put(self, name: str, text: str) -> None:
        super().put(name, text)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)

    def read(self, destinations: tuple[str, ...]) -> dict[str, str | None]:
        self.disk = {p: Path(p).read_text() for p in self.paths if Path(p).exists()}
        return super().read(destinations)

    def restore(self) -> tuple[str, ...]:
        changed = super().restore()
        for name in self.paths:
            if name not in self.disk:
                Path(name).unlink(missing_ok=True)
        return changed

    def recover(self) -> str:
        return "recovered"


class Site:
    def __init__(self, folder: Path, **fields: Any) -> None:
        self.place = placement.mirrored(str(folder))
        self.main, self.map = self.place.local(MAIN), self.place.local(MAP)
        self.local = Local(self.main, self.map)
        self.engine = FakeEngine(**fields)
        self.state = world.State()
        self.store = self.again()

    def again(self, container: str = "lb") -> DeliveredStore[str]:
        self.store = DeliveredStore(
            self.local,
            Inside(self.engine),
            self.state,
            container=container,
            placement=self.place,
            main=self.main,
        )
        return self.store

    def config(self, main: str, hosts: str = "a b\n", mode: int = 0o644) -> RenderedConfig:
        return RenderedConfig(
            files=tuple(
                RenderedFile(destination=d, text=t, template="t", mode=mode)
                for d, t in ((self.main, main), (self.map, hosts))
            )
        )

    async def read(self) -> list[str | None]:
        found = await asyncio.to_thread(self.store.read, (self.main, self.map))
        return [found[self.main], found[self.map]]

    async def promote(self, config: RenderedConfig) -> None:
        found = await asyncio.to_thread(self.store.read, (self.main, self.map))
        only = tuple(f.destination for f in config.files if found[f.destination] != f.text)
        staged = await asyncio.to_thread(self.store.stage, config, only)
        await asyncio.to_thread(self.store.promote, staged)

    def kept(self) -> dict[str, Any]:
        kept = self.state.load("delivered")
        assert isinstance(kept, dict)
        return kept


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_what_is_live_here_is_renamed_into_place_inside_the_main_file_last(
    site: Site,
) -> None:
    site.engine.have(MAIN, "before\n", 0o600, 99, 98)
    await site.promote(site.config("ours\n"))
    assert site.engine.texts() == {MAIN: "ours\n", MAP: "a b\n"}
    assert (site.engine.files[MAIN].mode, site.engine.files[MAIN].uid) == (0o600, 99)
    (moved,) = [argv[4:] for _, argv in site.engine.ran if argv[0] == "sh"]
    assert moved == (f"{ETC}/.hosts.map.confsync", MAP, f"{ETC}/.haproxy.cfg.confsync", MAIN)
    assert site.local.done == ["stage", "promote"]
    assert site.kept()["id"] == "c" * 64
    await site.store.verify(site.engine.container)
    assert await site.read() == ["ours\n", "a b\n"]


async def test_reading_keeps_and_writes_nothing(site: Site) -> None:
    site.engine.have(MAIN, "theirs\n")
    assert await site.read() == ["theirs\n", None]
    assert site.local.disk == {}
    assert site.state.load("delivered") is None
    assert site.engine.put_files == []


async def test_what_ours_or_lost_or_another_hands_is(site: Site) -> None:
    await site.promote(site.config("one\n"))
    delivered = site.kept()
    site.local.put(self_main := site.main, "two\n")  # promoted here, and then a crash
    assert await site.read() == [None, "a b\n"]
    site.local.put(self_main, "one\n")
    site.engine.have(MAP, "edited\n")
    assert await site.read() == ["one\n", "edited\n"]
    # the container was made anew: its own files are no edits, what lies on a volume may be one
    site.engine.container = dataclasses.replace(site.engine.container, id="d" * 64)
    site.engine.have(MAIN, "of the image\n")
    assert await site.read() == [None, None]
    etc = (mount("volume", "v", ETC),)
    site.engine.container = dataclasses.replace(site.engine.container, mounts=etc)
    assert await site.read() == ["of the image\n", "edited\n"]
    # another container is meant than before
    site.again("other")
    site.engine.container = dataclasses.replace(site.engine.container, mounts=())
    assert await site.read() == ["of the image\n", "edited\n"]
    assert site.kept() == delivered
    site.state.save("delivered", json.loads("[1]"))
    site.again()
    assert await site.read() == ["of the image\n", "edited\n"]


async def test_what_a_new_container_had_in_its_place_is_kept(site: Site) -> None:
    await site.promote(site.config("one\n"))
    site.engine.container = dataclasses.replace(site.engine.container, id="d" * 64)
    site.engine.files = {}
    site.engine.have(MAIN, "of the image\n")
    await site.promote(site.config("one\n"))
    assert site.engine.texts() == {MAIN: "one\n", MAP: "a b\n"}
    assert site.local.kept == {f"foreign{MAIN}": "of the image\n"}
    assert site.store.notes == (f"what the new container had as {MAIN} is kept as foreign{MAIN}",)
    assert site.kept()["id"] == "d" * 64


async def test_an_edit_inside_is_what_a_restore_puts_back(site: Site) -> None:
    await site.promote(site.config("one\n"))
    await asyncio.to_thread(site.store.settle)
    site.engine.have(MAIN, "edited\n", 0o640)
    await site.promote(site.config("two\n"))
    assert site.engine.texts()[MAIN] == "two\n"
    await asyncio.to_thread(site.store.restore)
    assert site.engine.texts() == {MAIN: "edited\n", MAP: "a b\n"}
    assert site.engine.files[MAIN].mode == 0o640
    assert f"{ETC}/.haproxy.cfg.confsync" not in site.engine.files


async def test_the_inode_tells_of_an_edit_inside_now_and_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (site.main, site.map)
    await site.promote(site.config("one\n"))
    first = site.store.fingerprint(both)
    site.engine.have(MAIN, "edited\n")
    assert await asyncio.to_thread(site.store.fingerprint, both) == first  # not looked again yet
    monkeypatch.setattr(delivery, "_LOOK", 0.0)
    second = await asyncio.to_thread(site.store.fingerprint, both)
    assert second != first
    assert second[1] == first[1]
    assert await asyncio.to_thread(site.store.fingerprint, both) == second
    site.engine.gone = True
    assert await asyncio.to_thread(site.store.fingerprint, both) == first


async def test_what_is_staged_lies_in_one_run_of_the_container(site: Site) -> None:
    staged = await asyncio.to_thread(site.store.stage, site.config("one\n"), (site.main,))
    now = site.engine.container
    assert site.store.staged_inside(now)
    assert not site.store.staged_inside(dataclasses.replace(now, started=2.0))
    assert list(site.engine.texts()) == [f"{ETC}/.haproxy.cfg.confsync"]
    await asyncio.to_thread(site.store.discard, staged, "refused")
    assert site.engine.texts() == {}
    assert site.local.rejected == "refused"
    assert not site.store.staged_inside(now)


async def test_a_restart_between_staging_and_promotion_is_no_harm(site: Site) -> None:
    staged = await asyncio.to_thread(site.store.stage, site.config("one\n"), (site.main,))
    site.engine.container = dataclasses.replace(site.engine.container, started=2.0)
    site.engine.files = {}
    await asyncio.to_thread(site.store.promote, staged)
    assert site.engine.texts() == {MAIN: "one\n"}


async def test_leftovers_of_a_kill_are_swept_once(site: Site) -> None:
    site.engine.have(f"{ETC}/.hosts.map.confsync", "left\n")
    site.engine.have(f"{ETC}/.haproxy.cfg.check.confsync", "left\n")
    await site.promote(site.config("one\n"))
    await site.promote(site.config("two\n"))
    assert site.engine.texts() == {MAIN: "two\n", MAP: "a b\n"}
    assert [argv[0] for _, argv in site.engine.ran].count("rm") == 1


async def test_without_a_container_the_mirror_waits_for_it(site: Site) -> None:
    site.engine.gone = True
    await site.promote(site.config("one\n"))
    assert await site.read() == ["one\n", "a b\n"]
    assert site.state.load("delivered") is None
    await asyncio.to_thread(site.store.restore)
    site.engine.gone = False
    assert await site.read() == [None, None]
    assert site.store.recover() == "recovered"


async def test_a_delivery_that_fails_is_taken_back(site: Site) -> None:
    await site.promote(site.config("one\n"))
    await asyncio.to_thread(site.store.settle)
    await site.read()
    staged = await asyncio.to_thread(site.store.stage, site.config("two\n"), (site.main,))
    site.engine.answers["sh"] = (1, b"")
    broken = mount("bind", "/x", MAIN)
    site.engine.container = dataclasses.replace(site.engine.container, mounts=(broken,))
    with pytest.raises(errors.WriteError, match="mounted as a single file"):
        await asyncio.to_thread(site.store.promote, staged)
    assert site.engine.texts()[MAIN] == "one\n"
    assert site.local.disk[site.main] == "one\n"
    assert site.local.done[-1] == "restore"


async def test_a_state_that_cannot_be_written_is_told_and_nothing_else(site: Site) -> None:
    def refuse(name: str, value: object) -> None:
        raise errors.StateError("full")

    site.state.save = refuse  # type: ignore[method-assign]
    await site.promote(site.config("one\n"))
    assert site.store.notes == ("what was put into lb cannot be remembered: full",)
    assert await site.read() == ["one\n", "a b\n"]


async def test_what_is_not_there_any_more_is_no_ground_for_a_reload(site: Site) -> None:
    await site.promote(site.config("one\n"))
    site.engine.have(MAIN, "edited\n")
    with pytest.raises(errors.TargetUnavailable, match=f"{MAIN} in the container lb is not what"):
        await site.store.verify(site.engine.container)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"read_only": True}, "the file system of the container lb is read-only"),
        ({"mounts": (mount("bind", "/x", MAIN),)}, "mounted as a single file"),
        ({"mounts": (mount("tmpfs", "", ETC),)}, "lies on a tmpfs"),
        ({"mounts": (mount("bind", "/x", ETC, writable=False),)}, "mounted read-only"),
    ],
)
async def test_a_place_that_nothing_can_be_put_to_is_refused_before_it_is_tried(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    for state in ("running", "exited"):
        site = Site(tmp_path, state=state, **fields)
        putting = Putting(Inside(site.engine))
        with pytest.raises(errors.WriteError, match=words):
            await putting.replace(site.engine.container, [Text(path=MAIN, data=b"x")])
        assert site.engine.put_files == []


async def test_what_does_not_run_is_written_in_place_with_its_owner(tmp_path: Path) -> None:
    site = Site(tmp_path, state="exited", user="99:98")
    site.engine.have(MAIN, "x\n", 0o640, 5, 6)
    putting = Putting(Inside(site.engine))
    texts = [Text(path=MAIN, data=b"y\n"), Text(path=MAP, data=b"", mode=0o640)]
    assert await putting.replace(site.engine.container, texts)
    assert [(f.path, f.mode, f.uid, f.gid) for f in site.engine.put_files] == [
        (MAIN, 0o640, 5, 6),
        (MAP, 0o640, 99, 98),
    ]
    assert site.engine.ran == []


async def test_where_nothing_can_be_renamed_files_are_put_in_place(site: Site) -> None:
    site.engine.answers["sh"] = (127, b"")
    await site.promote(site.config("one\n"))
    assert site.engine.texts() == {MAIN: "one\n", MAP: "a b\n"}
    assert site.store.notes == (
        (
            "nothing can be renamed in the container lb: its files were replaced in place, not at "
            "one blow"
        ),
    )
