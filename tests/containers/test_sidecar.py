"""The sidecar image beside the official HAProxy image: volumes shared, no Docker socket, no rights.

One site a version, built by the worst order: HAProxy, then confsync, then Consul, all with nothing
registered. Load comes over a port that is published on loopback, as a host's would.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import machine
from tests.support.backend import Backends
from tests.support.containers import (
    HARDENED,
    Container,
    Project,
    RemoteConsul,
    consul_image,
    docker,
    get,
    sidecar,
)
from tests.support.load import Load
from tests.support.process import wait_until

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the images
VERSIONS = ("2.6", "3.2")
MASTER = "/run/haproxy/master.sock,mode,660"
HAPROXY = ("haproxy", "-W", "-db", "-S", MASTER, "-f", "/etc/haproxy/haproxy.cfg")


class Site:
    """HAProxy, its sidecar, Consul, and toy servers in a container of their own."""

    def __init__(self, version: str, project: Project) -> None:
        self.project = project
        self.version = version
        self.image = sidecar(version)
        self.port = machine.free_port()
        self.config = f"{project.volume('config')}:/etc/haproxy"
        self.sockets = f"{project.volume('sockets')}:/run/haproxy"
        self.haproxy = self._haproxy()
        self.confsync = self.start_confsync()
        idle = ("--entrypoint", "sleep", *HARDENED)
        self._servers = project.run("servers", self.image, "infinity", options=idle)
        self.consul = RemoteConsul(project.run("consul", consul_image()))
        self.consul.wait_ready()
        self.backends = Backends(python=self._servers.python)
        self._count = 0

    def _haproxy(self) -> Container:
        volumes = ("--volume", f"{self.config}:ro", "--volume", self.sockets)
        publish = ("--publish", f"127.0.0.1:{self.port}:80", "--restart", "unless-stopped")
        image = machine.docker_image(f"stock-{self.version}")
        return self.project.run("haproxy", image, *HAPROXY, options=(*volumes, *publish, *HARDENED))

    def start_confsync(self, image: str = "", **variables: str) -> Container:
        """Run the sidecar, in the place of the one before."""
        if hasattr(self, "confsync"):
            self.confsync.remove()
        state = f"{self.project.volume('state')}:/var/lib/confsync"
        volumes = [word for each in (self.config, self.sockets, state) for word in ("-v", each)]
        health = ("--health-interval", "1s", "--health-timeout", "2s", "--health-retries", "1")
        settings = {"CONFSYNC_RELOAD__INTERVAL": "0.5", "CONFSYNC_SOURCE__WAIT": "5", **variables}
        environment = [word for k, v in settings.items() for word in ("--env", f"{k}={v}")]
        options = (*volumes, *health, *environment, *HARDENED)
        self.confsync = self.project.run("confsync", image or self.image, options=options)
        return self.confsync

    def add(self) -> str:
        """Register another server of `web`; returns its name."""
        self._count += 1
        name = f"web-{self._count}"
        port = self.backends.start(name, host="0.0.0.0")
        self.consul.register("web", name, self._servers.address, port)
        return name

    def wait(self, outcome: str, since: int = 0, **fields: str) -> dict[str, Any]:
        """Wait for a cycle with this outcome and these words in its fields."""
        return self.confsync.wait_log(
            lambda line: (
                line["event"] == f"cycle: {outcome}"
                and all(words in str(line.get(key)) for key, words in fields.items())
            ),
            since,
        )

    def get(self, host: str = "web") -> tuple[int, str]:
        return get("127.0.0.1", self.port, host)

    def load(self, streams: int = 1) -> Load:
        return Load(self.port, host_header="web", streams=streams)

    def worker(self) -> tuple[int, float]:
        """Tell which worker of HAProxy serves: its pid there, and when it started."""
        found = json.loads(self.confsync.exec("confsync", "status", "--output", "json"))["haproxy"]
        return found["worker_pid"], found["worker_started"]


@pytest.fixture(scope="module", params=VERSIONS)
def fresh(request: pytest.FixtureRequest) -> Iterator[tuple[Site, int, str]]:
    """A site, and what it answered first."""
    with Project() as project:
        site = Site(str(request.param), project)
        try:
            ((status, body),) = wait_until(lambda: answered(site), "any answer")
            yield site, status, body
        finally:
            site.backends.close()


def answered(site: Site) -> list[tuple[int, str]]:
    """Ask once; empty when nobody answered."""
    return [found] if (found := site.get())[0] else []


@pytest.fixture
def site(fresh: tuple[Site, int, str]) -> Site:
    """The site with a server of `web` that answers, and its own sidecar in step."""
    made, _, _ = fresh
    if made.get()[0] != 200:
        made.add()
        wait_until(lambda: made.get()[0] == 200, "a server of web")
    return made


def test_a_fresh_start_of_everything_at_once_ends_in_a_serving_haproxy(
    fresh: tuple[Site, int, str],
) -> None:
    _, status, body = fresh
    assert (status, body) == (503, "503: no server is ready for this host.\n")


def test_it_has_no_rights(site: Site) -> None:
    for container in (site.haproxy, site.confsync):
        lines = container.exec("cat", "/proc/1/status").splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert set(status["Uid"].split()) == {"99"}
        assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd")} == {0}
        assert status["NoNewPrivs"] == "1"
        assert container.status("touch", "/here") != 0
    mounts = site.confsync.inspect("{{range .Mounts}}{{.Destination}} {{end}}")
    assert sorted(mounts.split()) == ["/etc/haproxy", "/run/haproxy", "/var/lib/confsync"]


def test_changes_under_load_cost_no_request(site: Site) -> None:
    with site.load() as load:
        load.wait(lambda report: report.ok > 20 and report.streams_alive == 1, "a running load")
        added = []
        for _ in range(4):
            mark = site.confsync.mark()
            added.append(site.add())
            load.wait_server(added[-1])
            site.wait("applied", mark)
        mark = site.confsync.mark()
        site.consul.deregister(added[0])
        site.wait("applied", mark)
        load.wait_ok(50)
        report = load.stop()
    assert report.failed_as == {}
    assert report.streams_alive == 1


def test_its_own_restart_crash_and_replacement_touch_nothing(site: Site) -> None:
    worker = site.worker()
    mark = site.confsync.mark()
    with site.load() as load:
        load.wait_ok(20)
        site.confsync.restart()
        site.wait("in step", mark)
        mark = site.confsync.mark()
        site.confsync.kill()
        load.wait_ok(20)
        site.confsync.start()
        site.wait("in step", mark)
        assert "cycle: reloaded" not in site.confsync.logs()[mark:]
        site.start_confsync()
        site.wait("in step")
        assert "cycle: reloaded" not in site.confsync.logs()
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    assert site.worker() == worker


def test_a_restarted_haproxy_is_kept_in_step(site: Site) -> None:
    mark = site.confsync.mark()
    docker("stop", site.haproxy.name)
    site.confsync.wait_log(lambda line: "HAProxy stopped" in line.get("why", ""), mark)
    added = site.add()
    site.wait("written", mark)
    mark = site.confsync.mark()
    site.haproxy.start()
    # In step; or reloaded, where it began in the second in which the file was written.
    site.confsync.wait_log(lambda line: "HAProxy runs" in line.get("why", ""), mark)
    wait_until(lambda: site.get()[0] == 200, "HAProxy behind its published port")
    with site.load(streams=0) as load:
        load.wait_server(added)
        load.wait_server(site.add())
        report = load.stop()
    assert report.failed_as == {}


def test_the_health_check_follows_the_agent(site: Site) -> None:
    wait_until(lambda: site.confsync.health == "healthy", "healthy", timeout=60)
    site.confsync.kill("STOP")
    try:
        wait_until(lambda: site.confsync.health == "unhealthy", "unhealthy", timeout=60)
    finally:
        site.confsync.kill("CONT")
    wait_until(lambda: site.confsync.health == "healthy", "healthy again", timeout=60)


def test_another_version_checks_only_when_told_so(site: Site) -> None:
    other = next(version for version in VERSIONS if version != site.version)
    running = site.haproxy.exec("haproxy", "-v").split()[2]
    before = site.worker()
    site.start_confsync(sidecar(other))
    checking = site.confsync.exec("haproxy", "-v").split()[2]
    at_start = site.wait("in step")
    assert f"HAProxy {running} runs, but" in str(at_start["notes"])
    mark = site.confsync.mark()
    text = site.haproxy.exec("cat", "/etc/haproxy/haproxy.cfg")
    added = site.add()
    line = site.wait("failed", mark, error=f"HAProxy {running} runs, but")
    assert f"is {checking}" in line["error"]
    assert 'target.check = "weak"' in line["error"]
    assert site.worker() == before
    assert site.haproxy.exec("cat", "/etc/haproxy/haproxy.cfg") == text
    site.start_confsync(sidecar(other), CONFSYNC_TARGET__CHECK="weak")
    site.wait("applied", notes=f"checked by HAProxy {checking}, while {running} runs")
    with site.load(streams=0) as load:
        load.wait_server(added)
        site.start_confsync()
        site.wait("in step")
        report = load.stop()
    assert report.failed_as == {}


def test_the_image_alone_checks_and_demonstrates(site: Site) -> None:
    alone = ("docker", "run", "--rm", *HARDENED, site.image)

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*alone, *argv], capture_output=True, text=True, check=False, timeout=60
        )

    assert run("check").stdout == "good: settings, templates and configuration\n"
    assert run("status").returncode == 69
    if site.version == VERSIONS[-1]:
        shown = run("demo", "--no-consul", "--plain", "--seconds", "5")
        assert shown.returncode == 0, shown.stderr
        assert "no request was lost" in shown.stdout
