"""The demo's folder and the settings that it writes."""

import socket
import stat
import tomllib
from pathlib import Path

import pytest

from confsync import errors
from confsync.demo import site


def test_the_settings_are_toml_whatever_the_paths_hold() -> None:
    place = site.Site(folder=Path('/tmp/a "b\\c\né'), port=1, stats_port=2)
    text = place.settings(haproxy="/opt/ha proxy", source={"type": "file", "path": "x"})
    settings = tomllib.loads(text)
    assert settings["target"]["config"] == '/tmp/a "b\\c\né/haproxy.cfg'
    assert settings["target"]["binary"] == "/opt/ha proxy"
    assert settings["source"] == {"type": "file", "path": "x"}
    assert settings["template"][0]["vars"] == {
        "bind": "127.0.0.1:1",
        "stats_bind": "127.0.0.1:2",
        "log": "",
    }
    assert settings["template"][0]["destination"] == settings["target"]["config"]
    assert settings["state"]["directory"].startswith("/tmp/a")


def test_the_folder_is_private_and_short(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    folder = site.folder([str(long), "/nowhere", "/tmp"])
    try:
        assert folder.parent == Path("/tmp")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        folder.rmdir()
    assert not list(long.iterdir())


def test_no_place_is_an_error_that_says_where_it_looked() -> None:
    with pytest.raises(errors.WriteError, match="/nowhere"):
        site.folder(["/nowhere"])


def test_ports_are_free_and_different() -> None:
    ports = site.free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
