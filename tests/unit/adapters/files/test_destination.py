import os
from pathlib import Path

import pytest

from confsync.domain.rendered import RenderedConfig
from confsync.errors import WriteError
from tests.unit.adapters.files.place import Site


def refused(site: Site, *, config: RenderedConfig | None = None) -> WriteError:
    """Stage a set that cannot be staged as a whole; nothing may be left of it."""
    with pytest.raises(WriteError) as caught:
        site.store().stage(config or site.config("new"), site.destinations)
    assert site.strays() == []
    assert caught.value.remedy
    return caught.value


def test_a_symlink_is_refused_and_its_target_named(site: Site) -> None:
    real = site.folder.parent / "real.map"
    real.write_text("x")
    (site.folder / "hosts.map").symlink_to("../real.map")
    error = refused(site)
    assert "hosts.map: it is a symlink to" in error.what
    assert str(real) in error.remedy
    assert real.read_text() == "x"


def test_a_dangling_symlink_is_refused_as_well(site: Site) -> None:
    (site.folder / "hosts.map").symlink_to("nowhere")
    assert "symlink" in refused(site).what


def test_a_folder_is_refused(site: Site) -> None:
    (site.folder / "503.http").mkdir()
    error = refused(site)
    assert "503.http: it is a folder" in error.what
    with pytest.raises(WriteError, match="not a regular file"):
        site.store().read(site.destinations)


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(site: Site) -> None:
    os.mkfifo(site.folder / "503.http")
    assert "not a regular file" in refused(site).what
    with pytest.raises(WriteError, match="not a regular file"):
        site.store().read(site.destinations)


def test_a_missing_folder_is_named(site: Site) -> None:
    gone = Site(folder=site.folder / "gone", state=site.state)
    with pytest.raises(WriteError) as caught:
        gone.store().stage(gone.config("new"), gone.destinations)
    assert f"the folder {gone.folder} does not exist" in caught.value.what
    assert caught.value.remedy == f"create it: mkdir -p {gone.folder}"


def test_a_file_in_place_of_the_folder_is_named(site: Site) -> None:
    (site.folder / "sub").write_text("x")
    gone = Site(folder=site.folder / "sub", state=site.state)
    with pytest.raises(WriteError, match="is a file, not a folder"):
        gone.store().stage(gone.config("new"), gone.destinations)


def test_a_loop_of_symlinks_is_an_error_not_an_absent_file(site: Site) -> None:
    (site.folder / "haproxy.cfg").symlink_to("haproxy.cfg")
    with pytest.raises(WriteError, match="loop"):
        site.store().read(site.destinations)


def test_the_staged_path_is_never_followed(site: Site) -> None:
    victim = site.folder.parent / "victim"
    victim.write_text("mine")
    (site.folder / ".haproxy.cfg.confsync").symlink_to(victim)
    site.promote(site.store(), "new")
    assert victim.read_text() == "mine"
    assert not Path(site.destinations[0]).is_symlink()


def test_extended_attributes_are_kept(site: Site) -> None:
    store = site.store()
    site.promote(store, "old")
    path = Path(site.destinations[0])
    try:
        os.setxattr(path, "user.origin", b"\x00\xff")
    except OSError:
        pytest.skip("this file system has no user.* attributes")
    site.promote(store, "new", settle=False)
    assert os.getxattr(path, "user.origin") == b"\x00\xff"
    os.removexattr(path, "user.origin")
    store.restore()
    assert os.getxattr(path, "user.origin") == b"\x00\xff"
