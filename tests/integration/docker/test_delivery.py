"""Files put into real containers over the engine's API."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker import delivery
from confsync.adapters.docker.check import Checker, CheckOptions
from confsync.adapters.docker.delivery import DeliveredStore
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.files.recovery import Recovery
from confsync.adapters.files.scratch import ScratchStore
from confsync.adapters.files.state import StateDirectory
from confsync.adapters.files.store import FileStore, StoreOptions
from confsync.core import placement
from confsync.domain.rendered import RenderedConfig, RenderedFile
from tests.integration.docker.box import CONFIG, ETC, MAIN, Box, Hands, hands
from tests.support.containers import docker

IDLE = ("sleep", "600")
MAP = f"{ETC}/hosts.map"
STATE = "%a %u:%g"


class Site:
    """One box, and a store as an agent has it; `again` makes it anew, as a start does."""

    def __init__(self, box: Box, hand: Hands, state: Path) -> None:
        self.box = box
        self.hand = hand
        self.state = state
        self.place = placement.mirrored(str(state))
        self.main, self.map = self.place.local(MAIN), self.place.local(MAP)
        self.store = self.again()

    def again(self, inside: Inside | None = None, container: str = "") -> DeliveredStore[Recovery]:
        everything = (self.main, self.map)
        options = StoreOptions(state=self.state, main=self.main, destinations=everything)
        self.store = DeliveredStore(
            FileStore(options),
            inside or self.hand.inside,
            StateDirectory(self.state),
            container=container or self.box.name,
            placement=self.place,
            main=self.main,
        )
        return self.store

    def config(self, main: str, hosts: str = "a b\n", mode: int = 0o644) -> RenderedConfig:
        files = ((self.main, main), (self.map, hosts))
        return RenderedConfig(
            files=tuple(
                RenderedFile(
                    destination=d, text=t, template="t", seen_as=self.place.seen(d), mode=mode
                )
                for d, t in files
            )
        )

    async def read(self) -> list[str | None]:
        found = await asyncio.to_thread(self.store.read, (self.main, self.map))
        return [found[self.main], found[self.map]]

    async def prints(self) -> object:
        return await asyncio.to_thread(self.store.fingerprint, (self.main, self.map))

    async def promote(self, config: RenderedConfig) -> None:
        """Write whatever differs, as a turn does."""
        found = await asyncio.to_thread(self.store.read, (self.main, self.map))
        only = tuple(f.destination for f in config.files if found[f.destination] != f.text)
        staged = await asyncio.to_thread(self.store.stage, config, only)
        await asyncio.to_thread(self.store.prepare, staged)
        await asyncio.to_thread(self.store.promote, staged)

    def inside(self) -> list[str]:
        return [self.box.read(MAIN), self.box.read(MAP)]

    def mirror(self) -> list[str | None]:
        return [Path(p).read_text() if Path(p).exists() else None for p in (self.main, self.map)]

    def kept(self) -> dict[str, list[str]]:
        return {
            kind: [p.read_text() for p in sorted((self.state / kind).glob("*"))]
            for kind in ("foreign", "original")
            if (self.state / kind).exists()
        }


@pytest.fixture
def box() -> Iterator[Box]:
    """A box of 3.2 that has not been made yet."""
    one = Box("stock-3.2")
    try:
        yield one
    finally:
        one.remove()


@pytest.fixture(params=[True, False], ids=["bridge", "exec"])
async def site(request: pytest.FixtureRequest, box: Box, tmp_path: Path) -> AsyncIterator[Site]:
    with hands(box, bridged=request.param) as hand:
        yield Site(box, hand, tmp_path / "state")


@pytest.fixture
async def one(box: Box, tmp_path: Path) -> AsyncIterator[Site]:
    with hands(box) as hand:
        yield Site(box, hand, tmp_path / "state")


async def test_files_are_checked_inside_then_renamed_into_place_with_their_owner(
    site: Site,
) -> None:
    site.box.create()
    site.box.put(MAIN, CONFIG)
    site.box.start()
    site.box.wait()
    site.box.sh(f"chown 99:0 {MAIN}; chmod 640 {MAIN}")
    before = site.box.sh(f"stat -c %i {MAIN}")
    config = site.config(f"{CONFIG}    use_backend %[path,map({MAP},n)]\nbackend n\n")
    assert await site.read() == [CONFIG, None]
    store = site.store
    staged = await asyncio.to_thread(store.stage, config, (site.main, site.map))
    assert site.box.files() == [".haproxy.cfg.confsync", ".hosts.map.confsync", "haproxy.cfg"]
    container = await site.hand.container()
    checker = Checker(
        CheckOptions(placement=site.place),
        site.hand.inside,
        site.hand.masters,
        staged_inside=store.staged_inside,
    )
    assert await checker.check(container, site.main, staged) == ()
    assert ".haproxy.cfg.check.confsync" not in site.box.files()
    await asyncio.to_thread(store.prepare, staged)
    await asyncio.to_thread(store.promote, staged)
    await store.verify(container)
    assert site.box.files() == ["haproxy.cfg", "hosts.map"]
    assert site.inside() == site.mirror() == [f.text for f in config.files]
    assert site.box.sh(f"stat -c '{STATE}' {MAIN} {MAP}").split("\n") == ["640 99:0", "644 0:0"]
    assert site.box.sh(f"stat -c %i {MAIN}") != before  # renamed, not written in place
    assert store.notes == ()
    assert await site.read() == [f.text for f in config.files]
    await site.hand.reload()
    assert await checker.check(container, site.main, None) == ()


async def test_what_is_refused_is_gone_inside_too(one: Site) -> None:
    one.box.create()
    one.box.put(MAIN, CONFIG)
    one.box.start()
    one.box.wait()
    await one.read()
    staged = await asyncio.to_thread(one.store.stage, one.config(f"{CONFIG} wibble\n"), (one.main,))
    checker = Checker(
        CheckOptions(placement=one.place),
        one.hand.inside,
        one.hand.masters,
        staged_inside=one.store.staged_inside,
    )
    container = await one.hand.container()
    with pytest.raises(errors.CheckRejected, match=f"{MAIN}:10: unknown keyword 'wibble'"):
        await checker.check(container, one.main, staged)
    await asyncio.to_thread(one.store.discard, staged, "refused")
    assert one.box.files() == ["haproxy.cfg"]
    # a dry run puts nothing beside it, and neither reads nor keeps anything here
    scratch, there = ScratchStore(anywhere=True), sorted(one.state.rglob("*"))
    dry = scratch.stage(one.config(f"{CONFIG} wibble\n"), (one.main, one.map))
    with pytest.raises(errors.CheckRejected, match=f"{MAIN}:10: unknown keyword 'wibble'"):
        await checker.check(container, one.main, dry)
    scratch.discard(dry)
    assert await one.read() == [CONFIG, None]
    assert one.box.files() == ["haproxy.cfg"]
    assert one.box.files("/tmp") == ["admin.sock", "master.sock"]
    assert sorted(one.state.rglob("*")) == there


async def test_an_adopted_file_comes_back_when_the_reload_fails(site: Site) -> None:
    site.box.create(*IDLE)
    site.box.put(MAIN, "by hand\n")
    site.box.start()
    site.box.sh(f"chown 99:99 {MAIN}; chmod 600 {MAIN}")
    assert await site.read() == ["by hand\n", None]
    assert site.mirror() == [None, None]
    await site.promote(site.config("ours\n"))
    assert site.inside() == ["ours\n", "a b\n"]
    assert await asyncio.to_thread(site.store.restore) == (site.main, site.map)
    assert site.box.files() == ["haproxy.cfg"]
    assert site.box.read(MAIN) == "by hand\n"
    assert site.box.sh(f"stat -c '{STATE}' {MAIN}") == "600 99:99"
    assert await site.read() == ["by hand\n", None]


async def test_an_edit_inside_is_noticed_and_what_a_restore_puts_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.box.create(*IDLE)
    site.box.start()
    await site.promote(site.config("one\n"))
    site.store.settle()
    monkeypatch.setattr(delivery, "_LOOK", 0.0)
    before = await site.prints()
    assert await site.prints() == before
    site.box.sh(f"echo edited >{MAIN}; rm {MAP}")
    assert await site.prints() != before
    assert await site.read() == ["edited\n", None]
    await site.promote(site.config("two\n"))
    assert site.inside() == ["two\n", "a b\n"]
    await asyncio.to_thread(site.store.restore)
    assert site.inside() == ["edited\n", "a b\n"]


async def test_a_container_made_anew_is_given_its_files_again(one: Site) -> None:
    one.box.create(*IDLE)
    one.box.start()
    await one.promote(one.config("ours\n"))
    one.store.settle()
    docker("restart", "-t", "0", one.box.name)
    assert await one.read() == ["ours\n", "a b\n"]  # the same one keeps them
    one.box.remove()
    assert await one.read() == ["ours\n", "a b\n"]  # nobody to compare with
    one.box.create(*IDLE)
    one.box.put(MAIN, "of the image\n")
    one.box.start()
    one.again()
    assert await one.read() == [None, None]
    await one.promote(one.config("ours\n"))
    assert one.inside() == ["ours\n", "a b\n"]
    (note,) = one.store.notes
    assert note.startswith(f"what the new container had as {MAIN} is kept as {one.state}/foreign/")
    assert one.kept()["foreign"] == ["of the image\n"]
    # another container than the one that was meant before is not ours
    one.again(container=(await one.hand.container()).id)
    one.box.sh(f"echo theirs >{MAIN}")
    assert await one.read() == ["theirs\n", "a b\n"]


async def test_a_container_that_does_not_run_is_written_to_and_starts_with_it(one: Site) -> None:
    one.box.create()
    checker = Checker(
        CheckOptions(placement=one.place),
        one.hand.inside,
        one.hand.masters,
        staged_inside=one.store.staged_inside,
    )
    container = await one.hand.container()
    text = f"{CONFIG}    use_backend %[path,map({MAP},n)]\nbackend n\n"
    for main, hosts in ((text, "a n\n"), (f"{text}# more\n", "a n\n")):  # then the map is unchanged
        config = one.config(main, hosts)
        found = await one.read()
        assert found[0] is None or found[1] == "a n\n"
        only = (one.main, one.map) if found[0] is None else (one.main,)
        staged = await asyncio.to_thread(one.store.stage, config, only)
        (note,) = await checker.check(container, one.main, staged)
        assert "since it is created" in note
        await asyncio.to_thread(one.store.promote, staged)
    (note,) = await checker.check(container, one.main, None)
    bad = await asyncio.to_thread(one.store.stage, one.config("wibble\n"), (one.main,))
    with pytest.raises(errors.CheckRejected):
        await checker.check(container, one.main, bad)
    await asyncio.to_thread(one.store.discard, bad, "")
    assert one.store.notes == ()
    one.box.start()
    one.box.wait()
    assert one.inside() == [f"{text}# more\n", "a n\n"]
    assert one.box.files() == ["haproxy.cfg", "hosts.map"]
    assert one.box.one_offs() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--read-only",), "the file system of the container .* is read-only"),
        (("--tmpfs", ETC), "in the container .* lies on a tmpfs"),
        (("-v", f"{{file}}:{MAIN}"), f"{MAIN} in the container .* is mounted as a single file"),
        (("-v", f"{{folder}}:{ETC}:ro"), "mounted read-only"),
    ],
)
async def test_what_cannot_be_put_is_one_clear_error_and_changes_nothing(
    one: Site, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    file = tmp_path / "folder" / "one.cfg"
    file.parent.mkdir()
    file.write_text("mounted\n")
    one.box.create(
        *IDLE, options=tuple(each.format(file=file, folder=file.parent) for each in options)
    )
    one.box.start()
    before = one.box.files()
    with pytest.raises(errors.WriteError, match=words) as caught:
        await asyncio.to_thread(one.store.stage, one.config("ours\n"), (one.main, one.map))
    assert "target.directory" in caught.value.remedy or "mount its folder" in caught.value.remedy
    assert one.mirror() == [None, None]
    assert one.box.files() == before
    assert not [p for p in one.state.rglob("*") if p.name.endswith(".confsync")]


async def test_without_a_way_to_rename_it_is_put_in_place_and_told(one: Site) -> None:
    one.box.create(*IDLE)
    one.box.start()
    one.box.sh("rm /usr/bin/mv")
    await one.promote(one.config("ours\n"))
    assert one.inside() == ["ours\n", "a b\n"]
    assert one.box.files() == ["haproxy.cfg", "hosts.map"]
    (note,) = one.store.notes
    assert note.startswith(f"nothing can be renamed in the container {one.box.name}")


async def test_a_delivery_that_fails_takes_the_mirror_back(one: Site) -> None:
    one.box.create(*IDLE)
    one.box.start()
    await one.promote(one.config("one\n"))
    one.store.settle()
    await one.read()
    staged = await asyncio.to_thread(one.store.stage, one.config("two\n"), (one.main,))
    one.box.sh(f"rm -r {ETC}")
    with pytest.raises(errors.WriteError, match=f"there is no folder {ETC}") as caught:
        await asyncio.to_thread(one.store.promote, staged)
    assert "not taken back" in caught.value.detail  # inside: the folder is still away
    assert one.mirror() == ["one\n", "a b\n"]
    one.box.sh(f"mkdir {ETC}")
    assert await one.read() == [None, None]
    await one.promote(one.config("two\n"))
    assert one.inside() == one.mirror() == ["two\n", "a b\n"]


async def test_a_crash_before_the_delivery_is_no_edit_by_others(one: Site) -> None:
    one.box.create(*IDLE)
    one.box.start()
    await one.promote(one.config("one\n"))
    one.store.settle()
    crashed = one.again(inside=Inside(Engine(DockerOptions(container="none"))), container="none")
    staged = await asyncio.to_thread(crashed.stage, one.config("two\n"), (one.main,))
    await asyncio.to_thread(crashed.promote, staged)  # the mirror alone
    one.box.sh(f"echo left >{ETC}/.haproxy.cfg.confsync")
    one.again()
    assert one.store.recover().unconfirmed
    assert await one.read() == [None, "a b\n"]
    await one.promote(one.config("two\n"))
    assert one.inside() == ["two\n", "a b\n"]
    assert one.box.files() == ["haproxy.cfg", "hosts.map"]
    assert one.kept() == {}


async def test_without_an_engine_nothing_changes(one: Site) -> None:
    gone = Engine(
        DockerOptions(container=one.box.name), environment={"DOCKER_HOST": "unix:///nowhere.sock"}
    )
    one.again(inside=Inside(gone))
    with pytest.raises(errors.TargetUnavailable, match="no Docker engine at"):
        await one.read()
    with pytest.raises(errors.WriteError, match="no Docker engine at"):
        await asyncio.to_thread(one.store.stage, one.config("ours\n"), (one.main,))
    assert await one.prints() == (None, None)
    assert one.mirror() == [None, None]


async def test_a_private_new_file_is_haproxys_own(one: Site) -> None:
    one.box.create(*IDLE)
    one.box.start()
    await one.promote(one.config("password\n", mode=0o640))
    assert one.box.sh(f"stat -c '{STATE}' {MAIN}") == "640 99:99"
    one.box.sh(f"echo x >{MAIN}")
    with pytest.raises(errors.TargetUnavailable, match=f"{MAIN} .* is not what confsync put there"):
        await one.store.verify(await one.hand.container())
