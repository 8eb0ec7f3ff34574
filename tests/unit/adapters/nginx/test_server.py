"""What is looked for in the operator's folder, and whose workers are whose: without any nginx."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from confsync.adapters.nginx import server
from confsync.errors import CheckUnavailable, TargetUnavailable, WriteError


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    folder = tmp_path / "nginx.d"
    folder.mkdir()
    (folder / "web.conf").write_text("server {}\n")
    return folder


def made(sites: Path, program: str = "nginx") -> server.Nginx:
    return server.Nginx(str(sites.parent / "run"), str(sites), program=program)


class TestWanted:
    def test_with_a_site(self, sites: Path) -> None:
        assert made(sites).wanted()

    def test_not_without_a_site_or_folder(self, sites: Path) -> None:
        (sites / "web.conf").rename(sites / "web.conf.off")
        assert not made(sites).wanted()
        assert not made(sites / "nowhere").wanted()


def _rewritten(sites: Path) -> None:
    beside = sites / ".new"
    beside.write_text("server { }\n")
    beside.replace(sites / "web.conf")


def _page(sites: Path) -> None:
    (sites / "html" / "deep" / "b.html").write_text("b")


def _gone(sites: Path) -> None:
    (sites / "web.conf").unlink()


def _flipped(sites: Path) -> None:
    """As Kubernetes changes a volume: all at once, by one link."""
    _link(sites / "..data", "..second")


def _other_folder(sites: Path) -> None:
    _link(sites / "linked", str(sites.parent / "other"))


def _link(place: Path, to: str) -> None:
    beside = place.with_name("beside")
    beside.symlink_to(to)
    beside.replace(place)


class TestChanges:
    @pytest.mark.parametrize("change", [_rewritten, _page, _gone, _flipped, _other_folder])
    def test_are_seen(self, sites: Path, change: Callable[[Path], None]) -> None:
        (sites / "html" / "deep").mkdir(parents=True)
        for name in ("..first", "..second"):
            (sites / name).mkdir()
            (sites / name / "more.conf").write_text(name)
        _link(sites / "..data", "..first")
        (sites / "more.conf").symlink_to("..data/more.conf")
        for name in ("one", "other"):
            (sites.parent / name).mkdir()
        (sites / "linked").symlink_to(sites.parent / "one")
        (sites / "nowhere.conf").symlink_to("nothing")
        nginx = made(sites)
        before = nginx.digest()
        assert nginx.digest() == before
        change(sites)
        assert nginx.digest() != before


class TestReplaced:
    """A reload is done when others take connections; the old ones may serve on for long."""

    @pytest.mark.parametrize(
        ("before", "now", "done"),
        [
            ({10: True}, {10: True}, False),
            ({10: True}, {10: True, 11: True}, False),
            ({10: True}, {10: False, 11: True}, True),
            ({10: True}, {11: True}, True),
            ({10: True}, {10: False}, False),
            ({10: True}, {}, False),
            ({9: False, 10: True}, {9: False, 10: False, 11: True}, True),
        ],
    )
    def test_when(self, before: dict[int, bool], now: dict[int, bool], done: bool) -> None:
        assert server._replaced(before, now) is done


class TestMaster:
    async def test_a_number_that_is_anothers_by_now_is_not_signalled(self, sites: Path) -> None:
        nginx = made(sites)
        nginx.write()
        for left in (str(os.getpid()), "999999999", "", "x"):
            (nginx.directory / "nginx.pid").write_text(left)
            with pytest.raises(TargetUnavailable, match="nginx does not run"):
                await nginx.reload()


class TestFiles:
    def test_the_main_file_is_written_whole_and_alone(self, sites: Path) -> None:
        nginx = made(sites)
        nginx.write()
        nginx.write()
        assert [each.name for each in nginx.directory.iterdir()] == ["nginx.conf"]
        assert f"include {sites}/*.conf;" in nginx.config.read_text()

    def test_a_folder_that_cannot_be_made_is_one_clear_error(self, sites: Path) -> None:
        nginx = server.Nginx(str(sites / "web.conf" / "run"), str(sites))
        with pytest.raises(WriteError, match="cannot write"):
            nginx.write()

    def test_no_program_is_one_clear_error(self, sites: Path) -> None:
        with pytest.raises(CheckUnavailable, match="no program nginx-of-nobody"):
            made(sites, "nginx-of-nobody").command()
