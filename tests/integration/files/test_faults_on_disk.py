"""What a real kernel refuses: each is one clear error, nothing is left behind, nothing is lost.

Root is needed to make these faults; nobody's rights are tried in a process of nobody's.
"""

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from confsync.adapters.files.state import StateDirectory
from confsync.domain.catalog import Catalog, Instance, Service
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.errors import StateError, WriteError
from tests.unit.adapters.files.place import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and chattr need root")

NOBODY = 65534
Mount = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "haproxy").mkdir()
    (tmp_path / "state").mkdir(0o700)
    return Site(folder=tmp_path / "haproxy", state=tmp_path / "state")


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount things that are unmounted after the test, the last first."""
    mounted: list[Path] = []

    def call(*argv: str, at: Path) -> None:
        subprocess.run(["mount", *argv, str(at)], check=True)
        mounted.append(at)

    yield call
    for path in reversed(mounted):
        subprocess.run(["umount", str(path)], check=True)


def refused(site: Site, word: str = "new") -> WriteError:
    """Stage and promote in vain; what was there is there, and nothing beside it."""
    before = site.words()
    store = site.store()
    with pytest.raises(WriteError) as caught:
        store.promote(store.stage(site.config(word), site.destinations))
    assert site.words() == before
    assert site.strays() == []
    assert caught.value.remedy
    return caught.value


def refused_at_once(site: Site) -> WriteError:
    """Stage in vain: known before HAProxy is asked, not only when a rename fails."""
    with pytest.raises(WriteError) as caught:
        site.store().stage(site.config("new"), site.destinations)
    assert site.strays() == []
    return caught.value


def as_nobody(work: Callable[[], object]) -> str:
    """Run in a forked process of nobody's; returns the error that it met."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                work()
                said = "nothing was refused"
            except (WriteError, StateError) as error:
                said = str(error)
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_a_full_disk(site: Site, mount: Mount) -> None:
    mount("-t", "tmpfs", "-o", "size=64k", "none", at=site.folder)
    site.promote(site.store(), "old")
    big = RenderedConfig(
        files=tuple(
            RenderedFile(destination=d, text="x" * 40_000, template="t") for d in site.destinations
        )
    )
    with pytest.raises(WriteError, match=r"hosts\.map: the disk is full") as caught:
        site.store().stage(big, site.destinations)
    assert caught.value.remedy == f"free space or inodes: df {site.folder}; df -i {site.folder}"
    assert site.strays() == []
    assert site.words() == ["old"] * 3
    site.promote(site.store(), "new")
    assert site.words() == ["new"] * 3


def test_no_inodes_left(site: Site, mount: Mount) -> None:
    mount("-t", "tmpfs", "-o", "nr_inodes=5", "none", at=site.folder)
    for destination in site.destinations:
        Path(destination).write_text("old\n")
    assert "the disk is full" in refused(site).what


def test_a_full_state_directory(site: Site, mount: Mount) -> None:
    mount("-t", "tmpfs", "-o", "size=48k", "none", at=site.state)
    with StateDirectory(site.state):
        site.promote(site.store(), "old")
    (site.state / "ballast").write_bytes(b"x" * 16384)
    for destination in site.destinations:
        Path(destination).write_text(f"old {'y' * 5000}\n")
    error = refused(site)
    assert "the disk is full" in error.what
    assert f"df {site.state}" in error.remedy
    with suppress(OSError), (site.state / "ballast").open("ab", 0) as ballast:
        while True:
            ballast.write(b"x" * 4096)
    with StateDirectory(site.state) as state:  # an agent starts all the same
        with pytest.raises(StateError, match="the disk is full"):
            state.save("holds", "x")
        (site.state / "ballast").unlink()
        state.save("holds", "x")
        assert state.load("holds") == "x"
    site.promote(site.store(), "new")
    assert site.words() == ["new"] * 3


@pytest.mark.parametrize("quick", [False, True])
def test_a_full_state_directory_takes_a_change_whose_way_back_is_kept(
    site: Site, mount: Mount, quick: bool
) -> None:
    mount("-t", "tmpfs", "-o", "size=48k", "none", at=site.state)
    site.promote(site.store(), "old")
    site.promote(site.store(), "new", settle=False)
    with suppress(OSError), (site.state / "ballast").open("ab", 0) as ballast:
        while True:
            ballast.write(b"x" * 4096)
    store = site.store()
    assert store.recover().unconfirmed
    staged = store.stage(site.config("third"), site.destinations)
    store.prepare(staged)
    store.promote(staged, quick=quick)
    assert site.words() == ["third"] * 3
    assert site.store().recover().promoted == site.config("third").digests()
    assert sorted(store.restore()) == sorted(site.destinations)
    assert site.words() == ["old"] * 3
    assert site.store().recover().notes == ()


def test_a_full_disk_keeps_the_last_good_catalog(site: Site, mount: Mount) -> None:
    mount("-t", "tmpfs", "-o", "size=32k", "none", at=site.state)
    small = Catalog(services=(Service(name="web", instances=()),))
    row = Instance(id="i" * 40_000, address="10.0.0.1", port=80)
    with StateDirectory(site.state) as state:
        state.save_catalog(small)
        with pytest.raises(StateError, match="the disk is full"):
            state.save_catalog(Catalog(services=(Service(name="web", instances=(row,)),)))
    assert StateDirectory(site.state).load_catalog() == small
    assert not [p for p in site.state.iterdir() if p.name.endswith(".new")]


def test_a_read_only_file_system(site: Site, mount: Mount) -> None:
    site.promote(site.store(), "old")
    mount("--bind", str(site.folder), at=site.folder)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(site.folder)], check=True)
    error = refused(site)
    assert "the file system is read-only" in error.what
    assert f"ReadWritePaths={site.folder}" in error.remedy


def test_a_read_only_state_directory(site: Site, mount: Mount) -> None:
    site.promote(site.store(), "old")
    mount("--bind", str(site.state), at=site.state)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(site.state)], check=True)
    assert "read-only" in refused(site).what
    with pytest.raises(StateError, match="read-only"):
        StateDirectory(site.state).claim()
    StateDirectory(site.state).inspect()


def test_a_file_mounted_alone(site: Site, mount: Mount) -> None:
    site.promote(site.store(), "old")
    outside = site.folder.parent / "outside.cfg"
    outside.write_text("mounted\n")
    mount("--bind", str(outside), at=site.folder / "haproxy.cfg")
    error = refused_at_once(site)
    assert "haproxy.cfg: it is a mount point by itself" in error.what
    assert error.remedy == f"mount its folder {site.folder} instead of the file"
    assert outside.read_text() == "mounted\n"


def test_a_file_mounted_alone_from_another_file_system(site: Site, mount: Mount) -> None:
    site.promote(site.store(), "old")
    other = site.folder.parent / "other"
    other.mkdir()
    mount("-t", "tmpfs", "none", at=other)
    (other / "x").write_text("mounted\n")
    mount("--bind", str(other / "x"), at=site.folder / "hosts.map")
    assert "hosts.map: it is a mount point by itself" in refused_at_once(site).what


def test_a_file_mounted_alone_in_a_folder_with_an_odd_name(site: Site, mount: Mount) -> None:
    folder = site.folder / "a b\tc\\d"
    folder.mkdir()
    odd = Site(folder=folder, state=site.state)
    for destination in odd.destinations:
        Path(destination).write_text("old\n")
    mount("--bind", odd.destinations[0], at=Path(odd.destinations[0]))
    assert "mount point by itself" in refused_at_once(odd).what


def test_a_mount_that_came_after_staging_is_taken_back_as_a_whole(site: Site, mount: Mount) -> None:
    store = site.store()
    site.promote(store, "old")
    staged = store.stage(site.config("new"), site.destinations)
    outside = site.folder.parent / "outside.cfg"
    outside.write_text("mounted\n")
    mount("--bind", str(outside), at=site.folder / "haproxy.cfg")
    with pytest.raises(WriteError, match="mount point by itself"):
        store.promote(staged)
    assert site.words() == ["mounted", "old", "old"]
    assert site.strays() == []


@pytest.mark.parametrize(("flag", "kind"), [("i", "immutable"), ("a", "append-only")])
def test_a_file_that_even_root_may_not_replace(site: Site, flag: str, kind: str) -> None:
    site.promote(site.store(), "old")
    path = site.folder / "haproxy.cfg"
    if subprocess.run(["chattr", f"+{flag}", str(path)], check=False).returncode:
        pytest.skip("this file system has no such attribute")
    try:
        error = refused(site)
    finally:
        subprocess.run(["chattr", f"-{flag}", str(path)], check=True)
    assert f"it is {kind} (chattr +{flag})" in error.what
    assert error.remedy == f"chattr -{flag} {path}"


def test_a_folder_that_even_root_may_not_change(site: Site) -> None:
    site.promote(site.store(), "old")
    if subprocess.run(["chattr", "+i", str(site.folder)], check=False).returncode:
        pytest.skip("this file system has no such attribute")
    try:
        error = refused(site)
    finally:
        subprocess.run(["chattr", "-i", str(site.folder)], check=True)
    assert f"the folder {site.folder} is immutable" in error.what


def open_to_nobody(path: Path) -> None:
    """Let nobody pass through the folders that pytest made private."""
    for folder in path.parents:
        if folder != Path(folder.root) and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)


def test_no_permission(site: Site) -> None:
    open_to_nobody(site.folder / "x")
    site.promote(site.store(), "old")
    said = as_nobody(lambda: site.store().stage(site.config("new"), site.destinations))
    assert f"no permission for user id {NOBODY}" in said
    assert f"give this one write access to {site.folder}" in said
    site.folder.chmod(0)
    assert "no permission" in as_nobody(lambda: site.store().read(site.destinations))
    assert "no permission" in as_nobody(StateDirectory(site.state).claim)


def test_an_owner_that_cannot_be_kept(site: Site) -> None:
    open_to_nobody(site.folder / "x")
    site.promote(site.store(), "old")
    site.folder.chmod(0o777)
    said = as_nobody(lambda: site.store().stage(site.config("new"), site.destinations))
    assert "it belongs to user id 0, group id 0" in said
    assert f"chown {NOBODY}" in said
    assert site.strays() == []
    assert site.words() == ["old"] * 3


def test_owner_mode_and_attributes_are_kept(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    path = site.folder / "haproxy.cfg"
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    os.setxattr(path, "user.origin", b"x")
    os.setxattr(path, "trusted.origin", b"y")
    site.promote(store, "new", settle=False)
    for word in ("new", "old"):
        assert site.words() == [word] * 3
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 4321, 0o640)
        assert os.getxattr(path, "user.origin") == b"x"
        assert os.getxattr(path, "trusted.origin") == b"y"
        if word == "new":
            store.restore()
    assert site.words() == ["old"] * 3


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """Make the value of an ACL attribute (linux/posix_acl_xattr.h): tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANYONE = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
LIST = access_list(
    (USER_OBJ, 6, ANYONE),
    (USER, 4, 1234),
    (GROUP_OBJ, 4, ANYONE),
    (MASK, 4, ANYONE),
    (OTHER, 0, ANYONE),
)


def test_the_access_list_is_the_files_own_not_the_folders(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    plain, listed, _ = map(Path, site.destinations)
    try:
        os.setxattr(site.folder, "system.posix_acl_default", LIST)
    except OSError:
        pytest.skip("this file system has no access lists")
    os.setxattr(listed, "system.posix_acl_access", LIST)
    site.promote(store, "new")
    assert "system.posix_acl_access" not in os.listxattr(plain)
    assert plain.stat().st_mode & 0o777 == 0o644
    assert os.getxattr(listed, "system.posix_acl_access") == LIST
    assert listed.stat().st_mode & 0o777 == 0o640
