"""The check in a container in memory; in real ones: tests/integration/docker/test_check.py."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from confsync import errors
from confsync.adapters.docker.agreement import Agreement, NotShared
from confsync.adapters.docker.check import Checker, CheckOptions
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.master import Masters
from confsync.core import placement
from confsync.domain.rendered import RenderedConfig, RenderedFile
from tests.unit.adapters.docker.box import FakeEngine, mount
from tests.unit.adapters.docker.test_master import process

ETC = "/usr/local/etc/haproxy"
MAIN = f"{ETC}/haproxy.cfg"
MAP = f"{ETC}/hosts.map"
STARTED = ("haproxy", "-W", "-L", "lb1", "-f", MAIN)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FakeStaged:
    config: RenderedConfig
    paths: Mapping[str, str]


class Site:
    def __init__(self, folder: Path, *, mirrored: bool, **fields: Any) -> None:
        self.folder = folder
        self.place = (
            placement.mirrored(str(folder))
            if mirrored
            else placement.shared(str(folder / "haproxy.cfg"), ETC)
        )
        self.main, self.map = self.path("haproxy.cfg"), self.path("hosts.map")
        Path(self.main).parent.mkdir(parents=True, exist_ok=True)
        shared = () if mirrored else (mount("bind", str(folder), ETC),)
        self.engine = FakeEngine(**{"argv": STARTED, "mounts": shared} | fields)
        self.engine.answers["sh"] = (0, process(8, STARTED, uid=99).encode())
        self.engine.answers["/usr/sbin/haproxy"] = (0, b"")
        self.inside = Inside(self.engine)
        self.staged_inside = True

    def path(self, name: str) -> str:
        if self.place.mirrored:
            return self.place.local(f"{ETC}/{name}")
        return str(self.folder / name)

    def config(self, **texts: str) -> RenderedConfig:
        files = []
        for name, text in texts.items():
            path = self.path(name.replace("_", "."))
            seen = self.place.seen(path)
            files.append(RenderedFile(destination=path, text=text, template="t", seen_as=seen))
        return RenderedConfig(files=tuple(files), secrets=("hush",))

    def staged(self, folder: Path | None = None, **texts: str) -> FakeStaged:
        """Stage beside the destinations, or in another folder as a dry run does."""
        config = self.config(**texts)
        paths = {}
        for file in config.files:
            path = (folder or Path(file.destination).parent) / f".{Path(file.destination).name}.new"
            path.write_text(file.text)
            paths[file.destination] = str(path)
            if folder is None:
                self.engine.have(self.place.seen(str(path)), file.text)
        return FakeStaged(config=config, paths=paths)

    def checker(self, **options: Any) -> Checker:
        return Checker(
            dataclasses.replace(CheckOptions(placement=self.place), **options),
            self.inside,
            Masters(self.inside),
            staged_inside=lambda _: self.staged_inside,
        )

    async def check(self, staged: FakeStaged | None, **options: Any) -> tuple[str, ...]:
        return await self.checker(**options).check(self.engine.container, self.main, staged)

    def argv(self) -> tuple[str, tuple[str, ...]]:
        return next(each for each in self.engine.ran if "-c" in each[1] and "-W" in each[1])


@pytest.fixture
def shared(tmp_path: Path) -> Site:
    site = Site(tmp_path / "etc", mirrored=False)
    Path(site.main).write_text("live\n")
    site.engine.have(MAIN, "live\n")
    return site


@pytest.fixture
def mirror(tmp_path: Path) -> Site:
    return Site(tmp_path / "state", mirrored=True)


async def test_it_runs_as_the_master_with_its_arguments_and_environment(shared: Site) -> None:
    assert await shared.check(shared.staged(haproxy_cfg="new\n")) == ()
    new = f"{ETC}/.haproxy.cfg.new"
    assert shared.argv() == (
        "99:99",
        ("/usr/sbin/haproxy", "-c", "-W", "-L", "lb1", "-f", new),
    )
    assert shared.engine.environment == {"WEB": "x"}


async def test_a_copy_in_a_shared_folder_is_written_here_and_removed(shared: Site) -> None:
    seen: list[str] = []
    copy = Path(shared.main).with_name(".haproxy.cfg.check.confsync")
    staged = shared.staged(haproxy_cfg=f"map {MAP}\n", hosts_map="a b\n")
    shared.engine.answers.pop("/usr/sbin/haproxy")

    def obeyed(argv: list[str]) -> tuple[int, bytes]:
        if argv[0] != "/usr/sbin/haproxy":
            return FakeEngine.obeyed(shared.engine, argv)
        seen.append(copy.read_text())
        assert copy.stat().st_mode == Path(shared.main).stat().st_mode
        return 0, b""

    shared.engine.obeyed = obeyed  # type: ignore[method-assign]
    assert await shared.check(staged) == ()
    assert seen == [f"map {ETC}/.hosts.map.new\n"]
    assert not copy.exists()
    assert shared.engine.put_files == []


async def test_a_folder_that_haproxy_loads_is_read_inside(mirror: Site) -> None:
    folder = ("haproxy", "-W", "-f", ETC)
    mirror.engine.answers["sh"] = (0, process(8, folder).encode())
    mirror.engine.have(f"{ETC}/a.cfg", f"map {MAP}\n")
    mirror.engine.have(MAIN, "live\n")
    assert await mirror.check(mirror.staged(hosts_map="a b\n")) == ()
    assert mirror.argv()[1][3:] == (
        *("-f", f"{ETC}/.a.cfg.check.confsync"),
        *("-f", MAIN),
    )
    (copy,) = mirror.engine.put_files
    assert (copy.path, copy.data) == (f"{ETC}/.a.cfg.check.confsync", b"map " + _new(MAP) + b"\n")
    assert (copy.mode, copy.uid) == (0o600, 0)
    assert copy.path not in mirror.engine.files


async def test_a_dry_run_has_a_folder_of_its_own_inside(mirror: Site, tmp_path: Path) -> None:
    mirror.engine.have(MAIN, "live\n")
    staged = mirror.staged(tmp_path, haproxy_cfg=f"map {MAP}\n", hosts_map="a b\n")
    assert await mirror.check(staged) == ()
    paths = [each.path for each in mirror.engine.put_files]
    folder = paths[0].rpartition("/")[0]
    assert folder.startswith("/tmp/confsync-")
    assert all(path.startswith(f"{folder}/") for path in paths)
    assert {each.uid for each in mirror.engine.put_files} == {99}
    assert mirror.engine.texts() == {MAIN: "live\n"}
    assert ("99:99", ("rm", "-rf", folder)) in mirror.engine.ran


@pytest.mark.parametrize(
    "fields", [{"read_only": True}, {"mounts": (mount("tmpfs", "", "/tmp"),)}, {"argv": ("x",)}]
)
async def test_where_nothing_can_be_put_beside_it_another_container_checks(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    site = Site(tmp_path / "state", mirrored=True, **fields)
    if "argv" in fields:
        site.engine.answers["mkdir"] = (1, b"denied")
    (note,) = await site.check(site.staged(tmp_path, haproxy_cfg="new\n"))
    assert "since its files are read-only" in note
    (made,) = site.engine.one_offs
    assert made["argv"][-2:] == ("-f", "/.0.haproxy.cfg.confsync")
    assert made["environment"] == {"WEB": "x"}


async def test_what_does_not_run_is_given_all_its_files(tmp_path: Path) -> None:
    site = Site(tmp_path / "state", mirrored=True, state="exited", environment={"A": "1"})
    staged = site.staged(haproxy_cfg=f"map {MAP}\n", hosts_map="a b\n")
    unchanged = dataclasses.replace(staged, paths={site.main: staged.paths[site.main]})
    checker = site.checker()
    (note,) = await checker.check(site.engine.container, site.main, unchanged)
    assert note == "checked in a container made of the image of lb, since it is exited"
    (made,) = site.engine.one_offs
    assert made["argv"] == (
        *("haproxy", "-c", "-W", "-L", "lb1"),
        *("-f", "/.haproxy.cfg.check.confsync"),
    )
    assert {each.path: each.data for each in made["files"]} == {
        "/.0.haproxy.cfg.confsync": f"map {MAP}\n".encode(),
        "/.1.hosts.map.confsync": b"a b\n",
        "/.haproxy.cfg.check.confsync": b"map /.1.hosts.map.confsync\n",
    }
    assert made["environment"] == {"A": "1"}
    assert made["network"] == "none"
    # the files that are there, when the live ones are checked
    site.engine.have(MAIN, "live\n")
    await checker.check(site.engine.container, site.main, None)
    files = {each.path: each.data for each in site.engine.one_offs[-1]["files"]}
    assert files == {"/.0.haproxy.cfg.confsync": b"live\n"}


async def test_names_that_only_its_network_knows_are_resolved_there(tmp_path: Path) -> None:
    site = Site(tmp_path / "state", mirrored=True, state="created", network="lan")
    site.engine.answers["one-off"] = (1, b"[ALERT] (1) : could not resolve address 'db'")
    with pytest.raises(errors.CheckRejected):
        await site.check(site.staged(haproxy_cfg="new\n"))
    assert [made["network"] for made in site.engine.one_offs] == ["none", "lan"]


async def test_a_refusal_of_a_container_that_was_restarted_meanwhile_is_none(shared: Site) -> None:
    shared.engine.answers["/usr/sbin/haproxy"] = (1, b"cannot open the file")
    staged = shared.staged(haproxy_cfg="new\n")
    before, shared.engine.container = (
        shared.engine.container,
        dataclasses.replace(shared.engine.container, started=2.0),
    )
    with pytest.raises(errors.CheckUnavailable, match="lb was restarted while it checked"):
        await shared.checker().check(before, shared.main, staged)


async def test_what_the_container_does_not_see_is_no_refusal(shared: Site) -> None:
    staged = shared.staged(haproxy_cfg="new\n")
    del shared.engine.files[f"{ETC}/.haproxy.cfg.new"]
    for code in (0, 1):  # whatever it said, it was about other files
        shared.engine.answers["/usr/sbin/haproxy"] = (code, b"")
        with pytest.raises(NotShared, match=r"haproxy\.cfg\.new is not there"):
            await shared.check(staged)


async def test_a_folder_that_was_seen_is_compared_again_only_when_in_doubt(shared: Site) -> None:
    checker = shared.checker()
    staged = shared.staged(haproxy_cfg="new\n")
    for _ in range(2):
        assert await checker.check(shared.engine.container, shared.main, staged) == ()
    assert [argv[0] for _, argv in shared.engine.ran].count("sha256sum") == 1
    shared.engine.answers["/usr/sbin/haproxy"] = (1, b"[ALERT] (1) : no")
    with pytest.raises(errors.CheckRejected):
        await checker.check(shared.engine.container, shared.main, staged)
    assert [argv[0] for _, argv in shared.engine.ran].count("sha256sum") == 2


async def test_how_a_check_can_fail_to_judge(shared: Site) -> None:
    answers = shared.engine.answers
    answers["/usr/sbin/haproxy"] = (127, b"no such file hush")
    with pytest.raises(errors.CheckUnavailable, match="cannot be run in the container lb"):
        await shared.check(None)
    answers["/usr/sbin/haproxy"] = TimeoutError()
    with pytest.raises(errors.CheckUnavailable, match="was not done within 20 s"):
        await shared.check(None)
    answers["/usr/sbin/haproxy"] = errors.WriteError("no folder", remedy="make it")
    with pytest.raises(errors.CheckUnavailable, match="cannot prepare the check: no folder"):
        await shared.check(None)
    answers["/usr/sbin/haproxy"] = (139, b"")
    with pytest.raises(errors.CheckUnavailable, match="signal 11"):
        await shared.check(None)
    shared.engine.container = dataclasses.replace(shared.engine.container, state="paused")
    with pytest.raises(errors.TargetUnavailable, match="the container lb is paused"):
        await shared.check(None)


async def test_an_unknown_or_replaced_start_is_told(shared: Site) -> None:
    shared.engine.answers["sh"] = (127, b"")
    shared.engine.answers["haproxy"] = (0, b"")
    (note,) = await shared.check(None)
    assert note.endswith(f"only {MAIN} was checked, with the container's own environment")
    exe = "/usr/sbin/haproxy (deleted)"
    shared.engine.answers["sh"] = (0, process(8, STARTED, exe=exe).encode())
    (note,) = await shared.check(None)
    assert note == "/usr/sbin/haproxy was replaced inside: the next reload loads the new one"
    shared.engine.answers["/opt/haproxy"] = (0, b"")
    await shared.check(None, binary="/opt/haproxy")
    assert shared.engine.ran[-1][1][0] in {"/opt/haproxy", "sha256sum"}


@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        (("bind", "{folder}", ETC), "is another one than when it started"),
        (("volume", "", ETC), f"a volume is mounted at {ETC}, and haproxy.cfg differs there"),
        (("bind", "/x", MAIN), "as a single file"),
        (("bind", "{folder}", "/srv"), 'set target.directory = "/srv"'),
        (("bind", "/x", "/y"), "nothing is mounted there, and haproxy.cfg differs there"),
    ],
)
async def test_the_mount_that_is_wrong_is_named(
    shared: Site, mounts: tuple[str, str, str], words: str
) -> None:
    kind, source, destination = mounts
    wrong = mount(kind, source.format(folder=shared.folder), destination)
    shared.engine.container = dataclasses.replace(shared.engine.container, mounts=(wrong,))
    agreement = Agreement(shared.inside, shared.place, [shared.main])
    if destination != MAIN:
        await agreement.verify(shared.engine.container)
    shared.engine.have(MAIN, "other\n")
    shared.engine.container = dataclasses.replace(shared.engine.container, started=2.0)
    with pytest.raises(NotShared) as caught:
        await agreement.verify(shared.engine.container)
    assert words in str(caught.value)
    assert agreement.notes == (str(caught.value),)


async def test_a_run_of_a_container_that_agrees_is_asked_once(shared: Site) -> None:
    agreement = Agreement(shared.inside, shared.place, [shared.main])
    await agreement.verify(shared.engine.container)
    await agreement.verify(shared.engine.container)
    assert len(shared.engine.ran) == 1
    later = dataclasses.replace(shared.engine.container, started=2.0)
    shared.engine.have(MAIN, "other\n")
    with pytest.raises(NotShared):
        await agreement.verify(later)
    shared.engine.have(MAIN, "live\n")
    await agreement.verify(later)
    assert agreement.notes == ()


def _new(path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.new".encode()
