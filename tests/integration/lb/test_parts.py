"""The parts together: services that are discovered, the web server, certificates, and HUP for all."""

import json
import os
import signal
import ssl
import urllib.request
from pathlib import Path

import pytest

from tests.integration.lb.test_serving import get
from tests.support import machine
from tests.support.backend import Backends
from tests.support.balancer import Balancer, config
from tests.support.load import Load
from tests.support.process import wait_until

SETTINGS = """\
[source]
type = "file"
path = "services.json"

[reload]
interval = 0.2

[[template]]
source = "builtin:haproxy.cfg"
destination = "{directory}/haproxy.cfg"
[template.vars]
bind = "127.0.0.1:{port}"
stats_bind = "127.0.0.1:{stats}"
log = ""
"""
PAGE = "server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{word}'; }} }}\n"


def services(lb: Balancer, *ports: int) -> None:
    """Register the servers of `test`."""
    instances = [{"id": f"s{p}", "address": "127.0.0.1", "port": p} for p in ports]
    new = lb.home / "services.json.new"
    new.write_text(json.dumps({"services": [{"name": "test", "instances": instances}]}))
    new.rename(lb.home / "services.json")


def settings(lb: Balancer, port: int, extra: str = "") -> None:
    text = SETTINGS.format(directory=lb.directory, port=port, stats=machine.free_port())
    lb.file.write_text(text + extra)


def test_services_are_discovered_and_settings_read_anew(
    lb: Balancer, port: int, backends: Backends
) -> None:
    ports = backends.start_many(3)
    settings(lb, port)
    lb.config.write_text("what an operator forgot there\n")
    services(lb, ports[0])
    lb.up()
    with Load(port, keepalive=3, close=3, streams=1) as load:
        load.wait(lambda report: report.ok > 30, "a running load")
        mark = lb.mark()
        services(lb, *ports[:2])
        lb.wait_cycle("applied", since=mark)
        load.wait_server(f"s{ports[1]}")
        mark = lb.mark()
        lb.file.write_text(lb.file.read_text().replace('"file"', '"nothing"'))
        lb.again()
        lb.event("settings refused, the old ones stay", since=mark)
        services(lb, *ports)
        lb.wait_cycle("applied", since=mark)
        load.wait_server(f"s{ports[2]}")
        mark = lb.mark()
        text = lb.file.read_text().replace('"nothing"', '"file"')
        lb.file.write_text(
            text.replace("[template.vars]", '[template.vars]\nhard_stop_after = "5m"')
        )
        lb.again()
        lb.wait_cycle("reloaded", since=mark)
        load.wait_ok(30)
        report = load.stop()
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert get(port) != ""
    if os.geteuid() == 0:
        assert Path(f"/proc/{lb.worker()}").stat().st_uid != 0
    checked = lb.run("check")
    assert checked.returncode == 0
    assert f"{lb.config} is not served" in checked.stdout
    assert lb.stop() == 0


def test_a_written_file_may_have_maps_that_are_made(lb: Balancer, port: int) -> None:
    """With templates that make no main file, haproxy.cfg beside the settings is it."""
    text = config(port, answer="x").replace(
        "string x", f'lf-string "%[str(a),map({lb.directory}/words.map,none)]"'
    )
    lb.config.write_text(text)
    (lb.home / "words.map.j2").write_text('a {{ services|map(attribute="slug")|join("+") }}\n')
    lb.file.write_text(
        '[source]\ntype = "file"\npath = "services.json"\n'
        '[[template]]\nsource = "words.map.j2"\nlanguage = "map"\n'
        f'destination = "{lb.directory}/words.map"\n'
    )
    services(lb, 1)
    lb.up()
    assert get(port) == "test"
    mark = lb.mark()
    lb.config.unlink()
    lb.again()
    refused = lb.event("settings refused, the old ones stay", since=mark)
    assert "no template makes HAProxy's main file; put it back" in str(refused)
    assert (get(port), lb.stop()) == ("test", 0)


class TestNginx:
    @pytest.fixture(autouse=True)
    def nginx(self) -> None:
        if not any((Path(p) / "nginx").exists() for p in (*os.get_exec_path(), "/usr/sbin")):
            raise machine.Missing("nginx on PATH")

    def test_serves_behind_haproxy_and_is_reloaded_without_loss(
        self, lb: Balancer, port: int
    ) -> None:
        web = machine.free_port()
        site = lb.home / "nginx.d" / "site.conf"
        site.parent.mkdir()
        site.write_text(PAGE.format(port=web, word="one"))
        lb.config.write_text(config(port, web))
        lb.up()
        wait_until(lambda: get(port) == "one", "the page")
        mark = lb.mark()
        site.write_text(PAGE.format(port=web, word="two"))
        lb.again()
        lb.event("web server reloaded", since=mark)
        wait_until(lambda: get(port) == "two", "the new page")
        lb.wait_cycle("reloaded", since=mark)
        mark = lb.mark()
        site.write_text("server { bogus; }\n")
        lb.again()
        refused = lb.event("refused, the old stays", of="web server", since=mark)
        assert "bogus" in str(refused)
        assert get(port) == "two"
        mark = lb.mark()
        site.write_text(PAGE.format(port=web, word="three"))
        lb.event("web server reloaded", since=mark)  # nobody asked for it
        wait_until(lambda: get(port) == "three", "the new page")
        mark = lb.mark()
        os.kill(lb.child("nginx"), signal.SIGKILL)
        lb.event("program runs", child="nginx", since=mark)
        wait_until(lambda: get(port) == "three", "the page again")
        assert lb.stop() == 0

    def test_a_site_that_is_wrong_at_the_start_is_an_error(self, lb: Balancer, port: int) -> None:
        (lb.home / "nginx.d").mkdir()
        (lb.home / "nginx.d" / "site.conf").write_text("server { bogus; }\n")
        lb.config.write_text(config(port, answer="x"))
        lb.start()
        wait_until(lambda: not lb.process.running, "its end")
        assert lb.process.exit_code == 65
        assert "site.conf:1" in lb.output()
        checked = lb.run("check")
        assert checked.returncode == 65
        assert "nginx.d/site.conf:1" in checked.stderr


def test_tls_is_there_without_a_certificate_and_said(lb: Balancer, port: int) -> None:
    tls = machine.free_port()
    settings(lb, port, f'[tls]\nenabled = true\nbind = "127.0.0.1:{tls}"\n')
    services(lb)
    lb.up()
    assert any("nobody has signed" in str(line.get("event")) for line in lb.log())
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://127.0.0.1:{tls}/", headers={"Host": "test"})
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(request, context=trusting, timeout=10)
    answer.value.close()
    assert answer.value.code == 503, "no such host: HAProxy itself"
    wait_until(lambda: "tls: " in lb.run("status").stdout, "the certificate in the status")
    assert lb.run("check").returncode == 0
    assert lb.stop() == 0


def test_tls_that_is_added_waits_for_the_next_start(
    lb: Balancer, port: int, backends: Backends
) -> None:
    """No folder of certificates is there: a configuration with TLS would be refused for ever."""
    ports = backends.start_many(2)
    settings(lb, port)
    services(lb, ports[0])
    lb.up()
    mark = lb.mark()
    before = lb.file.read_text()
    lb.file.write_text(f'{before}\n[tls]\nenabled = true\nbind = "127.0.0.1:1"\n')
    lb.again()
    lb.event("a change takes effect with the next start", since=mark, table="tls")
    lb.event("settings read anew", since=mark)
    mark = lb.mark()
    services(lb, *ports)
    lb.wait_cycle("applied", since=mark)
    assert not any("refuses" in str(line) for line in lb.log())
    assert lb.stop() == 0


class TestCheckAtHome:
    """`confsync check` where nothing has ever run: the build of an image."""

    def test_good_ones_pass_and_nothing_is_left(self, lb: Balancer, port: int) -> None:
        settings(lb, port, "[tls]\nenabled = true\n")
        services(lb)
        checked = lb.run("check")
        assert checked.returncode == 0, checked.stderr
        assert "nobody has signed" in checked.stdout
        lb.file.unlink()
        text = config(port, answer="x")
        lb.config.write_text(text.replace(f":{port}", f":{port} ssl crt {lb.directory}/certs"))
        checked = lb.run("check", CONFSYNC_TLS__ENABLED="true")
        assert checked.returncode == 0, checked.stderr
        assert not lb.directory.exists()
        assert not lb.state.exists()

    def test_each_part_that_is_wrong_is_named(self, lb: Balancer, port: int) -> None:
        lb.config.write_text(config(port, answer="x"))
        (lb.home / "certs").mkdir()
        (lb.home / "certs" / "a.pem").write_text("nothing\n")
        checked = lb.run("check", CONFSYNC_TLS__ENABLED="true")
        assert (checked.returncode, "certs/a.pem: it holds no PEM" in checked.stderr) == (65, True)
        checked = lb.run("check")
        assert checked.returncode == 0, "nobody has asked for TLS"
