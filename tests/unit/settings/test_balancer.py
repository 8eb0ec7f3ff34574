"""The load balancer's tables: where its home is, and defaults that depend on it."""

from pathlib import Path

import pytest

from confsync import errors
from confsync.settings.load import load
from confsync.settings.model import SocketTarget


class TestHome:
    def test_its_settings_file_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "confsync.toml").write_text("[vip]\nvhid = 7\n")
        loaded = load(None, environ={"CONFSYNC_HOME": str(tmp_path)})
        assert loaded.settings.vip.vhid == 7
        assert (loaded.file, loaded.discovers, loaded.balancer) == (
            str(tmp_path / "confsync.toml"),
            True,
            True,
        )

    def test_without_one_paths_begin_there(self, tmp_path: Path) -> None:
        loaded = load(None, environ={"CONFSYNC_HOME": str(tmp_path)})
        settings = loaded.settings
        assert (loaded.file, loaded.discovers) == (None, False)
        assert loaded.warnings == ()
        assert settings.lb.config == str(tmp_path / "haproxy.cfg")
        assert settings.nginx.directory == str(tmp_path / "nginx.d")
        assert settings.tls.certificates == str(tmp_path / "certs")

    def test_a_file_elsewhere_has_its_own_paths(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        (other / "x.toml").write_text("")
        loaded = load(str(other / "x.toml"), environ={"CONFSYNC_HOME": str(tmp_path)})
        assert loaded.settings.lb.config == str(other / "haproxy.cfg")

    def test_haproxys_file_and_sockets_are_the_balancers(self, tmp_path: Path) -> None:
        environ = {"CONFSYNC_HOME": str(tmp_path), "CONFSYNC_LB__DIRECTORY": "/run/x"}
        target = load(None, environ=environ).settings.target
        assert target == SocketTarget(
            config="/run/x/haproxy.cfg",
            master_socket="/run/x/master.sock",
            stats_socket="/run/x/admin.sock",
        )
        assert load(None, environ={}, balancer=True).settings.target.config == (
            "/run/confsync/haproxy.cfg"
        )
        assert load(None, environ={}).settings.target == SocketTarget()

    def test_what_the_settings_say_wins(self, tmp_path: Path) -> None:
        (tmp_path / "confsync.toml").write_text('[target]\nconfig = "/etc/h.cfg"\n')
        target = load(None, environ={"CONFSYNC_HOME": str(tmp_path)}).settings.target
        assert (target.config, target.master_socket) == ("/etc/h.cfg", "/run/confsync/master.sock")

    @pytest.mark.parametrize("name", ["CONFSYNC_SOURCE__ADDRESS", "CONFSYNC_TEMPLATE__0__SOURCE"])
    def test_a_source_in_the_environment_is_discovery(self, tmp_path: Path, name: str) -> None:
        environ = {
            "CONFSYNC_HOME": str(tmp_path),
            "CONFSYNC_TEMPLATE__0__DESTINATION": "/x",
            "CONFSYNC_TEMPLATE__0__SOURCE": "x",
            name: "http://10.0.0.1:8500",
        }
        assert load(None, environ=environ).discovers


class TestVip:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ('more = ["192.0.2.8"]\naddress = ""', "has no effect without an address"),
            ('address = "2001:db8::1"', 'is IPv6, which ucarp does not know; set engine = "keep'),
            ('address = "192.0.2.7"\nmore = ["2001:db8::1"]', "is IPv6"),
            ('address = "192.0.2.7/24"', "is no IP address"),
            ('device = "eth0; reboot"', "is no name of a network interface"),
            ("vhid = 0", "is too small"),
            ("advbase = 255", "is too large"),
            ("lease = 0", "is too small"),
        ],
    )
    def test_what_cannot_be_is_a_fault(self, tmp_path: Path, line: str, words: str) -> None:
        file = tmp_path / "confsync.toml"
        file.write_text(f"[vip]\n{line}\n")
        with pytest.raises(errors.SettingsError) as wrong:
            load(str(file), environ={})
        assert words in wrong.value.detail

    def test_addresses_are_each_there_once_the_first_one_first(self, tmp_path: Path) -> None:
        file = tmp_path / "confsync.toml"
        file.write_text('[vip]\naddress = "192.0.2.7"\nmore = ["192.0.2.8", "192.0.2.7"]\n')
        vip = load(str(file), environ={}).settings.vip
        assert vip.addresses == ("192.0.2.7", "192.0.2.8")
        off = load(str(file), environ={"CONFSYNC_VIP__ENGINE": "none"}).settings.vip
        assert off.addresses == ()


def test_pauses_must_grow(tmp_path: Path) -> None:
    file = tmp_path / "confsync.toml"
    file.write_text("[lb]\nrestart = [5, 1]\n")
    with pytest.raises(errors.SettingsError) as wrong:
        load(str(file), environ={})
    assert "the first not longer than the second" in wrong.value.detail


@pytest.mark.parametrize(
    "page",
    ["https://127.0.0.1/", "http://127.0.0.1:99999/", "127.0.0.1:80", "http:///x", "http://a b/"],
)
def test_what_cannot_be_asked_is_no_page(tmp_path: Path, page: str) -> None:
    with pytest.raises(errors.SettingsError) as wrong:
        load(None, environ={"CONFSYNC_HOME": str(tmp_path), "CONFSYNC_LB__PROBE": page})
    assert "is no address of a page over plain HTTP" in wrong.value.detail
    good = {"CONFSYNC_HOME": str(tmp_path), "CONFSYNC_LB__PROBE": "http://[::1]:8404/a?b=c"}
    assert load(None, environ=good).settings.lb.probe


def test_a_blank_bind_is_none(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="1 fault"):
        load(None, environ={"CONFSYNC_HOME": str(tmp_path), "CONFSYNC_TLS__BIND": " "})
