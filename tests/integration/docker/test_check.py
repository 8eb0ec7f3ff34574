"""The check inside real containers, with their own HAProxy."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker.agreement import NotShared
from confsync.adapters.docker.check import Checker, CheckOptions
from confsync.adapters.files import staging
from confsync.adapters.files.scratch import ScratchStore
from confsync.adapters.files.state import StateDirectory
from confsync.adapters.files.store import FileStore, StoreOptions
from confsync.adapters.haproxy.options import SocketOptions
from confsync.core import placement
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.ports import Staged
from confsync.settings.model import DockerTarget, Runtime
from confsync.wiring import containers
from tests.integration.docker.box import CONFIG, ETC, MAIN, Box, Hands, hands
from tests.support.containers import docker
from tests.support.process import wait_until

VERSIONS = ("stock-2.6", "stock-3.2")
MAPPED = f"{CONFIG}    use_backend %[req.hdr(host),map({ETC}/hosts.map,none)]\nbackend none\n"
BAD = f"{CONFIG}    wibble\n"


class Shared:
    """A box whose folder confsync shares."""

    def __init__(self, box: Box, folder: Path) -> None:
        self.box = box
        self.folder = folder
        self.main = str(folder / "haproxy.cfg")
        self.place = placement.shared(self.main, ETC)

    def config(self, **texts: str) -> RenderedConfig:
        """Make a set of NAME_EXT=text."""
        files = []
        for name, text in texts.items():
            file = name.replace("_", ".")
            files.append(
                RenderedFile(
                    destination=str(self.folder / file),
                    text=text,
                    template=f"{file}.j2",
                    seen_as=f"{ETC}/{file}",
                )
            )
        return RenderedConfig(files=tuple(files), secrets=("hush",))

    def staged(self, **texts: str) -> Staged:
        config = self.config(**texts)
        return staging.stage(config, tuple(f.destination for f in config.files))

    def checker(self, hand: Hands, **options: object) -> Checker:
        base = CheckOptions(placement=self.place)
        changed = dataclasses.replace(base, **options)  # type: ignore[arg-type]
        return Checker(changed, hand.inside, hand.masters)

    async def check(
        self, hand: Hands, staged: Staged | None, *, master: int = 0, checker: Checker | None = None
    ) -> tuple[str, ...]:
        try:
            return await (checker or self.checker(hand)).check(
                await hand.container(), self.main, staged, master=master
            )
        finally:
            if isinstance(staged, staging.StagedFiles):
                staging.clear(staged.paths.values())

    def left(self) -> list[str]:
        return [p.name for p in self.folder.iterdir() if p.name.startswith(".")]


def made(image: str, folder: Path) -> Shared:
    folder.mkdir()
    (folder / "haproxy.cfg").write_text(CONFIG)
    return Shared(Box(image, folder), folder)


@pytest.fixture(scope="module", params=VERSIONS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    one = made(request.param, tmp_path_factory.mktemp("shared") / "etc")
    try:
        one.box.run()
        yield one
    finally:
        one.box.remove()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Shared]:
    """A box of 3.2 that has not been made yet."""
    one = made("stock-3.2", tmp_path / "etc")
    try:
        yield one
    finally:
        one.box.remove()


def refused(caught: pytest.ExceptionInfo[errors.CheckRejected], main: str = MAIN) -> None:
    line = len(CONFIG.splitlines()) + 1
    start = f"HAProxy refuses the configuration: {main}:{line}: unknown keyword 'wibble'"
    assert str(caught.value).startswith(start)
    assert caught.value.detail.splitlines()[1:] == [
        f"  {line:5d} |     wibble",
        "        | (rendered from haproxy.cfg.j2)",
    ]


@pytest.mark.parametrize("bridged", [True, False])
async def test_good_passes_and_bad_is_refused_also_after_a_reload(
    shared: Shared, bridged: bool
) -> None:
    with hands(shared.box, bridged=bridged) as hand:
        checker = shared.checker(hand)
        for _ in range(2):
            assert await shared.check(hand, None, checker=checker) == ()
            good = shared.staged(haproxy_cfg=f"{CONFIG}# more\n")
            assert await shared.check(hand, good, checker=checker) == ()
            with pytest.raises(errors.CheckRejected) as caught:
                await shared.check(hand, shared.staged(haproxy_cfg=BAD), checker=checker)
            refused(caught)
            await hand.reload()

        def trapped() -> bool:
            return "HAPROXY_MWORKER_REEXEC" in docker(
                "exec", shared.box.name, "cat", "/proc/1/environ"
            )

        wait_until(trapped, "the environment of a master that has reloaded")
    assert shared.left() == []


async def test_a_new_map_is_checked_by_its_staged_content(shared: Shared) -> None:
    with hands(shared.box) as hand:
        assert (
            await shared.check(hand, shared.staged(haproxy_cfg=MAPPED, hosts_map="a none\n")) == ()
        )
        with pytest.raises(errors.CheckRejected):  # the map is not there
            await shared.check(hand, shared.staged(haproxy_cfg=MAPPED))
    assert shared.left() == []


async def test_a_dry_run_writes_nothing_beside_the_live_files(shared: Shared) -> None:
    before = sorted(shared.folder.iterdir())
    inside = shared.box.files("/tmp")
    scratch = ScratchStore()
    config = shared.config(haproxy_cfg=MAPPED, hosts_map="a none\n")
    everything = tuple(f.destination for f in config.files)
    staged = scratch.stage(config, everything)
    with hands(shared.box) as hand:
        assert await shared.check(hand, staged) == ()
        scratch.discard(staged)
        bad = scratch.stage(shared.config(haproxy_cfg=BAD), (shared.main,))
        with pytest.raises(errors.CheckRejected) as caught:
            await shared.check(hand, bad)
        refused(caught)
        scratch.discard(bad)
    assert sorted(shared.folder.iterdir()) == before
    assert shared.box.files("/tmp") == inside


async def test_secrets_are_hidden_and_the_program_may_be_named(shared: Shared) -> None:
    with hands(shared.box) as hand:
        with pytest.raises(errors.CheckRejected) as caught:
            await shared.check(hand, shared.staged(haproxy_cfg=f"{CONFIG}    hush\n"))
        assert "hush" not in str(caught.value) + caught.value.detail
        checker = shared.checker(hand, binary="/nowhere/haproxy")
        with pytest.raises(errors.CheckUnavailable, match="/nowhere/haproxy cannot be run"):
            await shared.check(hand, None, checker=checker)


async def test_a_master_under_a_script_gives_its_arguments_environment_and_user(
    tmp_path: Path,
) -> None:
    one = made("systemd", tmp_path / "etc")
    text = (
        "global\n  stats socket /tmp/admin.sock\n"
        'peers mesh\n  peer "${WHO}" 127.0.0.1:9\n  peer lb2 127.0.0.2:9\n'
        "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n"
        "frontend front\n  bind 127.0.0.1:8080\n  acl a path -f words.lst\n"
    )
    (one.folder / "haproxy.cfg").write_text(text)
    (one.folder / "words.lst").write_text("/a\n")
    (one.folder / "first.cfg").write_text("global\n  maxconn 100\n")
    script = (
        "export WHO=lb1; unset OTHER; setpriv --reuid 65534 --regid 65534 --clear-groups "
        f"haproxy -W -db -S /tmp/master.sock -L lb1 -C {ETC} -f first.cfg -f haproxy.cfg & wait"
    )
    try:
        one.box.run("sh", "-c", script, options=("-e", "OTHER=x", "-e", "WHO=nobody"))
        for bridged in (True, False):
            with hands(one.box, bridged=bridged) as hand:
                # without the master's own -L and ${WHO} the peers section has no local peer
                staged = one.staged(haproxy_cfg=f"{text}  acl b path -m found\n")
                assert await one.check(hand, staged) == ()
                master = int(one.box.sh("pgrep -o haproxy"))
                assert master != 1
                staged = one.staged(haproxy_cfg=f'{text}  acl c path -f "${{WHO}}.lst"\n')
                with pytest.raises(errors.CheckRejected, match=r"lb1\.lst"):
                    await one.check(hand, staged, master=master)
                # a file that HAProxy's user may not read fails the check, as it would the reload
                secret = one.folder / "secret.lst"
                secret.write_text("/a\n")
                secret.chmod(0o600)
                staged = one.staged(haproxy_cfg=f"{text}  acl d path -f secret.lst\n")
                with pytest.raises(errors.CheckRejected, match=r"secret\.lst"):
                    await one.check(hand, staged)
    finally:
        one.box.remove()


async def test_what_does_not_run_is_checked_in_a_container_of_its_image(fresh: Shared) -> None:
    fresh.box.create()
    (fresh.folder / "haproxy.cfg").unlink()  # a first start: an empty volume
    with hands(fresh.box) as hand:
        staged = fresh.staged(haproxy_cfg=MAPPED, hosts_map="a none\n")
        (note,) = await fresh.check(hand, staged)
        assert note == (
            f"checked in a container made of the image of {fresh.box.name}, since it is created"
        )
        with pytest.raises(errors.CheckRejected) as caught:
            await fresh.check(hand, fresh.staged(haproxy_cfg=BAD))
        refused(caught)
        fresh.box.start()  # exits at once: it has no configuration
        fresh.box.ended()
        scratch = ScratchStore()
        bad = scratch.stage(fresh.config(haproxy_cfg=BAD), (fresh.main,))
        with pytest.raises(errors.CheckRejected) as caught:
            await fresh.check(hand, bad)
        refused(caught)
        scratch.discard(bad)
    assert fresh.box.one_offs() == []
    assert fresh.left() == []


async def test_a_container_that_is_paused_is_told(fresh: Shared) -> None:
    fresh.box.run()
    fresh.box.pause()
    with hands(fresh.box) as hand:
        with pytest.raises(errors.TargetUnavailable, match=f"{fresh.box.name} is paused") as caught:
            await fresh.check(hand, None)
        assert f"docker unpause {fresh.box.name}" in caught.value.remedy


async def test_a_dry_run_beside_a_read_only_root_uses_a_container_of_its_own(fresh: Shared) -> None:
    fresh.box.run(options=("--read-only", "--tmpfs", "/tmp:mode=1777"))
    scratch = ScratchStore()
    with hands(fresh.box) as hand:
        staged = scratch.stage(fresh.config(haproxy_cfg=f"{CONFIG}# more\n"), (fresh.main,))
        (note,) = await fresh.check(hand, staged)
        assert "its files are read-only" in note
        scratch.discard(staged)
        # what is not a dry run is seen through the shared folder
        assert await fresh.check(hand, fresh.staged(haproxy_cfg=f"{CONFIG}# more\n")) == ()
    assert fresh.box.one_offs() == []


@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        (("-v", "{folder}:/srv/lb"), 'but as /srv/lb: {it} is not there|directory = "/srv/lb"'),
        (("-v", "{other}:{etc}"), "{other} is mounted at {etc}, and {it} is not there"),
        (("-v", "{folder}/haproxy.cfg:{etc}/haproxy.cfg"), "as a single file|mount its folder"),
        (("-v", "{folder}/haproxy.cfg:/else"), "nothing is mounted there, and {it} is not there"),
    ],
)
async def test_what_the_container_does_not_see_is_explained(
    fresh: Shared, mounts: tuple[str, ...], words: str
) -> None:
    other = fresh.folder.parent / "other"
    other.mkdir()
    (other / "haproxy.cfg").write_text(CONFIG)
    names: Mapping[str, object] = {
        "folder": fresh.folder,
        "other": other,
        "etc": ETC,
        "it": ".haproxy.cfg.confsync",
    }
    box = fresh.box
    box.folder = None
    box.create(options=tuple(each.format(**names) for each in mounts))
    if "{etc}" not in "".join(mounts):
        box.put(MAIN, CONFIG)
    box.start()
    box.wait()
    with hands(box) as hand, pytest.raises(NotShared) as caught:
        await fresh.check(hand, fresh.staged(haproxy_cfg=f"{CONFIG}# more\n"))
    for part in words.format(**names).split("|"):
        assert part in str(caught.value)


async def test_a_start_tells_that_the_folder_is_another_one(fresh: Shared, tmp_path: Path) -> None:
    box = fresh.box
    box.folder = None
    box.create(options=("-v", f"{fresh.main}:{MAIN}"))
    box.start()
    box.wait()
    state = tmp_path / "state"
    chosen = DockerTarget(type="docker", container=box.name, directory=ETC, config=fresh.main)
    target = containers.made(
        chosen,
        SocketOptions(
            config=fresh.main, master_socket="/tmp/master.sock", stats_socket="/tmp/admin.sock"
        ),
        Runtime(),
        fresh.place,
        FileStore(StoreOptions(state=state, main=fresh.main, destinations=(fresh.main,))),
        StateDirectory(state),
    ).target
    try:
        seen = await target.observe()
        assert seen.master
        assert any("as a single file" in note for note in seen.notes)
        with pytest.raises(NotShared, match="as a single file"):
            await target.reload(seen)
    finally:
        target.close()
