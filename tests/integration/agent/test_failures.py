"""What fails leaves traffic and files alone, says so, and is taken up when the cause is gone."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.agent.conftest import Site
from tests.support import machine
from tests.support.agent import Agent
from tests.support.process import wait_until

pytestmark = pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)

CUSTOM = """\
global
    stats socket {{ target.stats_socket }} mode 600 level admin expose-fd listeners
defaults
    mode http
    option idle-close-on-response
    timeout connect 3s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 5s
frontend front
    bind {{ vars.bind }}
    default_backend web
{% set extra = service("extra").instances %}
{% if extra %}
    {{ vars.trap }}
{% endif %}
backend web
{% for server in service("web").instances %}
    server {{ server.server }} {{ server.address }}:{{ server.port }}
{% endfor %}
"""


def custom(site: Site, trap: str) -> Agent:
    """Give the site a template of the operator's own; `trap` is rendered when `extra` exists."""
    source = site.folder / "own.cfg.j2"
    source.write_text(CUSTOM)
    site.agent = site.agent_with(
        template=f'[[template]]\nsource = "{source}"\ndestination = "{site.haproxy.cfg}"\n'
        f"[template.vars]\nbind = \"127.0.0.1:{site.port}\"\ntrap = '''{trap}'''\n"
    )
    return site.agent


def status_is(site: Site, code: int) -> None:
    """Wait for `status --check`'s exit code: the log tells of a turn before the agent has taken it."""
    wait_until(lambda: site.agent.run("status", "--check").returncode == code, f"exit code {code}")


def failing(site: Site, error: str, code: int, stage: str) -> None:
    """Under load, `extra` appears and springs the trap; nothing is lost; it goes; all is well."""
    site.add()
    site.up()
    before = site.haproxy.cfg.read_text()
    with site.load(streams=1, seconds=120) as load:
        load.wait_ok(30)
        mark = site.agent.mark()
        site.add("extra")
        line = site.agent.wait_cycle("failed", since=mark)
        assert error in str(line["error"]) + str(line.get("detail"))
        assert line["stage"] == stage
        site.agent.wait_cycle("failed", since=site.agent.mark(), why="trying again")
        assert site.haproxy.cfg.read_text() == before
        assert site.agent.run("once").returncode in {code, 3}
        status_is(site, code)
        load.wait_ok(50)
        mark = site.agent.mark()
        site.drop("extra-1")
        site.agent.wait_cycle("in step", since=mark)
        added = site.add()
        site.agent.wait_live(since=mark)
        load.wait_server(added)
        report = load.stop()
    assert report.failed_as == {}
    site.agrees()


def test_a_refused_configuration(site: Site) -> None:
    custom(site, "no-such-keyword here")
    failing(site, "no-such-keyword", 65, "check")
    rejected = list((site.agent.state / "rejected").rglob("*"))
    assert any("no-such-keyword" in f.read_text() for f in rejected if f.is_file())


def test_a_template_that_fails_for_a_service_costs_that_service(site: Site) -> None:
    agent = custom(site, "")
    source = site.folder / "own.cfg.j2"
    source.write_text(CUSTOM.replace("{{ vars.trap }}", "{{ 1 // (extra|length - 1) }}"))
    agent.write()
    site.add()
    site.up()
    mark = agent.mark()
    site.add("extra")
    line = agent.wait(lambda one: one["event"] == "problem", "the problem", since=mark)
    assert (line["service"], line["line"]) == ("extra", 15)
    added = site.add()
    agent.wait_live(since=mark)
    with site.load(seconds=30, streams=0) as load:
        load.wait_server(added)


def test_a_failing_template_is_refused_and_the_old_one_stays(site: Site) -> None:
    agent = custom(site, "")
    source = site.folder / "own.cfg.j2"
    site.add()
    site.up()
    before = site.haproxy.cfg.read_text()
    for broken, words in (("{{ nothing }}", "nothing"), ("{% if %}", "own.cfg.j2:")):
        mark = agent.mark()
        source.write_text(CUSTOM + broken)
        agent.hup()
        line = agent.wait(lambda one: "refused" in one["event"], "the refusal", since=mark)
        assert words in line["error"]
        assert "own.cfg.j2" in line["error"]
        done = agent.run("once")
        assert (done.returncode, "Traceback" in done.stderr) == (65, False)
        assert agent.run("check").returncode == 65
    assert site.haproxy.cfg.read_text() == before
    mark = agent.mark()
    site.add()
    agent.wait_live(since=mark)
    source.write_text(CUSTOM + "# another word\n")
    agent.hup()
    agent.wait_cycle("written", since=mark)
    site.agrees()


def test_a_reload_that_fails_since_a_port_is_taken(site: Site) -> None:
    with _listening() as port:
        custom(site, f"bind 127.0.0.1:{port}")
        failing(site, "in use by another process", 75, "check")


@contextmanager
def _listening() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.free_port()))
        taken.listen()
        yield taken.getsockname()[1]


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    """Mount a small file system on a folder."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def stuck(site: Site, words: str, *, at_once: int = 73) -> None:
    """A change cannot be written: it is said, traffic and file stay."""
    before = site.haproxy.cfg.read_text()
    with site.load(streams=1, seconds=120) as load:
        load.wait_ok(30)
        mark = site.agent.mark()
        site.add()
        line = site.agent.wait_cycle("failed", since=mark)
        assert words in str(line["error"])
        status_is(site, at_once)
        load.wait_ok(50)
        report = load.stop()
    assert report.failed_as == {}
    assert site.haproxy.cfg.read_text() == before
    assert not list(site.haproxy.etc.glob(".*.confsync"))


def recovered(site: Site) -> None:
    site.agent.wait_live(since=site.agent.mark())
    site.agrees()


def filled(folder: Path) -> Path:
    """Fill a file system; returns what fills it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(b"x" * 4096):
            pass
    return filler


def test_a_full_disk(site: Site) -> None:
    with mounted(site.haproxy.etc, "-o", "size=64k"):
        site.add()
        site.up()
        filler = filled(site.haproxy.etc)
        stuck(site, "disk is full")
        filler.unlink()
        recovered(site)
        site.agent.stop()
        site.haproxy.close()


def test_a_read_only_file_system(site: Site) -> None:
    with mounted(site.haproxy.etc):
        site.add()
        site.up()
        subprocess.run(["mount", "-o", "remount,ro", str(site.haproxy.etc)], check=True)
        stuck(site, "read-only")
        subprocess.run(["mount", "-o", "remount,rw", str(site.haproxy.etc)], check=True)
        recovered(site)
        site.agent.stop()
        site.haproxy.close()


@pytest.mark.parametrize("point", ["promote-each:2", "before-steps", "after-steps"])
def test_a_crash_and_a_full_state_directory(site: Site, point: str) -> None:
    """The next agent starts, says so, and keeps HAProxy in step."""
    with mounted(site.agent.state, "-o", "size=256k"):
        site.add()
        site.up()
        assert site.agent.stop() == 0
        with site.load(streams=1, seconds=120) as load:
            load.wait_ok(20)
            if point.startswith("promote"):
                site.add("api")  # a new service: map and main file change
            gone = site.add()
            site.agent.start(CONFSYNC_FAULT=point)
            wait_until(lambda: not site.agent.process.running, f"the crash at {point}")
            filler = filled(site.agent.state)
            site.drop(gone)
            added = site.add()
            mark = site.agent.mark()
            site.agent.start()
            if not point.startswith("promote"):
                line = site.agent.wait(
                    lambda one: "disk is full" in str(one.get("note")), "the words", since=mark
                )
                assert line["level"] == "warning"
                load.wait_server(added)
                site.agrees()
                assert "disk is full" in site.agent.run("status").stdout
            filler.unlink()
            load.wait_server(site.add())
            report = load.stop()
        assert report.failed_as == {}
        site.agrees()
        assert not (site.agent.state / "foreign").exists()
        assert site.agent.stop() == 0
        assert not (site.agent.state / "journal.json").exists()


def test_a_symbolic_link(site: Site) -> None:
    site.add()
    site.up()
    real = site.haproxy.etc / "real.cfg"
    site.haproxy.cfg.rename(real)
    site.haproxy.cfg.symlink_to(real)
    stuck(site, "symlink")
    real.rename(site.haproxy.cfg)
    recovered(site)


def test_a_file_mounted_alone(site: Site) -> None:
    site.add()
    site.up()
    outside = site.folder / "outside.cfg"
    outside.write_text(site.haproxy.cfg.read_text())
    subprocess.run(["mount", "--bind", str(outside), str(site.haproxy.cfg)], check=True)
    try:
        stuck(site, "mount")
    finally:
        subprocess.run(["umount", str(site.haproxy.cfg)], check=True)
    recovered(site)


def test_a_file_that_is_not_ours(site: Site) -> None:
    site.add()
    site.haproxy.cfg.write_text("# theirs\n")
    assert site.agent.run("once", "--apply").returncode == 73
    site.agent.start()
    line = site.agent.wait_cycle("failed")
    assert "--adopt" in str(line["error"])
    assert site.agent.run("once", "--apply").returncode == 75  # the agent holds the lock
    assert site.agent.stop() == 0
    assert site.haproxy.cfg.read_text() == "# theirs\n"
    done = site.agent.run("once")
    assert (done.returncode, "-# theirs" in done.stdout) == (73, True)
    assert site.agent.run("once", "--apply", "--adopt").returncode == 0
    kept = [f for f in (site.agent.state / "original").rglob("*") if f.is_file()]
    assert any(f.read_text() == "# theirs\n" for f in kept)
    assert "backend web" in site.haproxy.cfg.read_text()


def test_a_foreign_edit(site: Site) -> None:
    site.add()
    site.up()
    ours = site.haproxy.cfg.read_text()
    mark = site.agent.mark()
    edited = ours + "\nbackend by-hand\n"
    site.haproxy.cfg.write_text(edited)
    site.haproxy.reload_by_other()
    line = site.agent.wait(lambda one: "diff" in one, "the diff", since=mark)
    assert "-backend by-hand" in line["diff"]
    assert site.haproxy.cfg.read_text() == ours
    kept = [f for f in (site.agent.state / "foreign").rglob("*") if f.is_file()]
    assert any(f.read_text() == edited for f in kept)
    assert "by-hand" not in site.haproxy.runtime("show backend")


def test_a_folder_that_may_not_be_written(site: Site) -> None:
    """One clear error, nothing written: root without the right to override permissions."""
    site.add()
    os.chown(site.haproxy.etc, 65534, 65534)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown,-setuid", "--",
         sys.executable, "-m", "confsync", "once", "--apply", "-c", str(site.agent.file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 73, done
    assert "Traceback" not in done.stderr
    assert f"{site.haproxy.cfg}: " in done.stderr
    assert list(site.haproxy.etc.iterdir()) == []
