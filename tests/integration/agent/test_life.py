"""Signals, restarts, the lock, the control socket: an agent's life on a real site."""

import json
import signal

import pytest

from tests.integration.agent.conftest import QUICK, Site
from tests.support.process import wait_until

pytestmark = pytest.mark.parametrize("haproxy_version", ["2.8"], indirect=True)


def test_a_restart_with_nothing_changed_reloads_nothing(site: Site) -> None:
    site.add()
    site.up()
    mark = site.agent.mark()
    site.add()
    site.agent.wait_live(since=mark)
    reloads, stat = site.haproxy.reloads(), site.haproxy.cfg.stat()
    for kill in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        site.agent.process.signal(kill)
        wait_until(lambda: not site.agent.process.running, "its end")
        assert site.agent.process.exit_code == (0 if kill != signal.SIGKILL else -9)
        mark = site.agent.mark()
        site.agent.start()
        site.agent.wait_cycle("in step", since=mark)
    assert site.haproxy.reloads() == reloads
    assert site.haproxy.cfg.stat().st_ino == stat.st_ino


def test_haproxy_restarted_or_reloaded_by_others_is_noticed(site: Site) -> None:
    site.add()
    site.up()
    mark = site.agent.mark()
    site.haproxy.reload_by_other()
    site.agent.wait(
        lambda line: "reloaded by another hand" in str(line.get("why")), "the news", since=mark
    )
    site.haproxy.stop()
    site.agent.wait(lambda line: "HAProxy stopped" in str(line.get("why")), "the stop", since=mark)
    mark = site.agent.mark()
    added = site.add()
    site.agent.wait_cycle("written", since=mark)  # for its next start
    site.haproxy.start()
    site.agent.wait(lambda line: "HAProxy runs" in str(line.get("why")), "the start", since=mark)
    with site.load(streams=0) as load:
        load.wait_server(added)
    site.agrees()


def test_hup_takes_good_settings_and_keeps_the_old_when_wrong(site: Site) -> None:
    site.add()
    site.up()
    mark = site.agent.mark()
    site.agent.write("[reload]\nfirst = -1\nbogus = 2\n")
    site.agent.hup()
    line = site.agent.wait(lambda one: "refused" in one["event"], "the refusal", since=mark)
    assert "confsync.toml" in line["detail"]
    assert "bogus" in line["detail"]
    mark = site.agent.mark()
    site.add()
    site.agent.wait_live(since=mark)
    mark = site.agent.mark()
    text = site.agent.file.read_text().replace("[reload]\nfirst = -1\nbogus = 2\n", QUICK)
    site.agent.file.write_text(text.replace('log = ""\n', 'log = ""\ndomain = "example.org"\n'))
    site.agent.hup()
    site.agent.wait_live(since=mark)
    assert "web.example.org web" in (site.haproxy.etc / "hosts.map").read_text()
    assert site.agent.process.running
    mark = site.agent.mark()
    site.agent.hup()
    site.agent.wait_cycle("in step", since=mark)
    assert site.agent.status()["pid"] == site.agent.process.pid


def test_one_agent_a_configuration(site: Site) -> None:
    site.add()
    site.up()
    done = site.agent.run("run")
    assert done.returncode == 75
    assert str(site.agent.process.pid) in done.stderr
    assert site.agent.run("once").returncode == 0  # looking takes no lock


def test_status_pause_and_resume(site: Site) -> None:
    site.add()
    assert site.agent.run("status").returncode == 69
    site.up()
    status = site.agent.status()
    assert status["haproxy"]["version"].startswith("2.8")
    assert status["source"]["up"] is True
    assert site.agent.run("status").returncode == 0
    assert site.agent.run("status", "--check").returncode == 0
    assert site.agent.run("pause").returncode == 0
    before = site.haproxy.cfg.read_text()
    mark = site.agent.mark()
    site.add()
    site.agent.wait_cycle("paused", since=mark)
    assert site.agent.run("once", "--apply").returncode == 75
    site.agent.stop()
    mark = site.agent.mark()
    site.agent.start()
    line = site.agent.wait_cycle("paused", since=mark)
    assert line["paused"] is True
    assert site.haproxy.cfg.read_text() == before
    mark = site.agent.mark()
    assert site.agent.run("resume").returncode == 0
    site.agent.wait_live(since=mark)
    site.agrees()


def test_once_prints_what_run_would_do_as_text_and_json(site: Site) -> None:
    site.add()
    site.up()
    assert site.agent.run("pause").returncode == 0
    mark = site.agent.mark()
    name = site.add()
    site.agent.wait_cycle("paused", since=mark)
    done = site.agent.run("once")
    assert done.returncode == 3
    address = f"127.0.0.1:{site.ports[name]}"
    assert f"backend web: server {address} added" in done.stdout
    assert f"+    server {address}" in done.stdout
    done = site.agent.run("once", "--output", "json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["schema"], document["outcome"]) == (3, 1, "would change")
    assert any(address in reason for reason in document["reasons"])
