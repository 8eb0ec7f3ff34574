"""The examples that need a machine of their own, or containers; each page's commands as they stand."""

import contextlib
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.following import BIN, EXAMPLES, commands
from tests.support import machine
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.containers import docker, get, sidecar
from tests.support.load import Load
from tests.support.process import Process, wait_until
from tests.support.systemd import SystemdHost

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the images
ROOT = EXAMPLES.parent
CONSUL_UNIT = """\
[Service]
ExecStart=/usr/local/bin/consul agent -dev -bind=127.0.0.1
"""

# What an operator would write into the files.
OVERRIDE = """\
services:
  confsync:
    environment:
      CONFSYNC_SOURCE__ADDRESS: http://{consul}
      CONFSYNC_TEMPLATE__0__VARS__BIND: 127.0.0.1:{port}
      CONFSYNC_TEMPLATE__0__VARS__STATS_BIND: 127.0.0.1:{stats}
"""


def test_01_a_host_is_taken_over_and_serves(program: Path) -> None:
    with SystemdHost() as host:
        path = host.install(program)
        host.sh(f"ln -s {path} /usr/local/bin/confsync")
        host.put({"/usr/local/bin/consul": Path(machine.consul_binary()).read_bytes()}, mode=0o755)
        host.put({"/etc/systemd/system/consul.service": CONSUL_UNIT})
        host.sh("mkdir -p /src/examples /src/deploy")
        host.put({"/src/examples/01": EXAMPLES / "01-host-systemd", "/src/deploy": ROOT / "deploy"})
        host.sh("systemctl daemon-reload; systemctl start consul")
        wait_until(lambda: host.sh("consul members", check=False).code == 0, "consul")
        with Backends(python=host.python) as backends:
            backends.start("web-1", port=8080)
            # The only address of the page, which stands for any server.
            typed = [line.replace("10.0.0.7", "127.0.0.1") for line in commands("01-host-systemd")]
            codes = {
                line: host.sh(f"cd /src/examples/01 && {line}", check=False).code for line in typed
            }
            # As its page says of the first look; and in this container there is no curl.
            last = "curl -H 'Host: web.example.org' http://127.0.0.1/"
            assert {line: code for line, code in codes.items() if code} == {
                "confsync once": 73,
                last: 127,
            }
            found = (200, "web-1")
            wait_until(lambda: get(host.address, 80, "web.example.org") == found, "traffic")


class Sidecar:
    """The example's own compose file, on this host's network."""

    def __init__(self, consul: Consul, folder: Path) -> None:
        self.port, stats = low_port(), machine.free_port()
        self.name = f"confsync-test-{secrets.token_hex(4)}"
        self._override = folder / "here.yml"
        self._override.write_text(
            OVERRIDE.format(consul=consul.address, port=self.port, stats=stats)
        )
        self._environment = {
            **os.environ,
            "DOCKER_BUILDKIT": "0",
            "HAPROXY_IMAGE": machine.docker_image("stock-2.6"),
            "CONFSYNC_IMAGE": sidecar("2.6"),
        }

    def __call__(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line that begins with `docker compose`."""
        own = ["--project-name", self.name, "--file", "docker-compose.yml"]
        words = line.removeprefix("docker compose ").split()
        return subprocess.run(
            [*machine.compose(), *own, "--file", str(self._override), *words],
            cwd=EXAMPLES / "02-sidecar",
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def low_port() -> int:
    """Find a free port that only root may open."""
    for port in range(700, 1000):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port below 1000")


@pytest.fixture
def site(consul: Consul, tmp_short: Path) -> Iterator[Sidecar]:
    made = Sidecar(consul, tmp_short)
    yield made
    done = made("docker compose down --volumes --timeout 1")
    assert done.returncode == 0, done.stderr


def test_02_a_sidecar_serves_a_low_port_without_rights(
    site: Sidecar, consul: Consul, backends: Backends
) -> None:
    up, logs, _, status, _, once, hup = commands("02-sidecar")
    done = site(up)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: get("127.0.0.1", site.port)[0] == 503, "a serving HAProxy")
    for number in (1, 2):
        consul.register("web", port=backends.start(f"web-{number}"), tags=["public"])
    consul.register("hidden", port=backends.start("hidden"))
    wait_until(lambda: get("127.0.0.1", site.port, "web.example.org")[0] == 200, "web")
    with Load(site.port, host_header="web") as load:
        load.wait_ok(50)
        consul.register("web", port=backends.start("web-3"), tags=["public"])
        load.wait_server("web-3")
        assert site(hup).returncode == 0
        wait_until(lambda: "settings read anew" in site(logs).stdout, "the HUP")
        load.wait_ok(50)
        report = load.stop()
    assert report.failed_as == {}
    assert get("127.0.0.1", site.port, "hidden")[0] == 503
    shown = site(status.replace("exec", "exec -T"))
    assert (shown.returncode, "3 servers" in shown.stdout) == (0, True), shown
    planned = site(once.replace("run", "run -T"))
    assert (planned.returncode, "in step" in planned.stdout) == (0, True), planned


def test_03_haproxy_in_a_container_is_reached_from_the_host(
    consul: Consul, backends: Backends, tmp_short: Path
) -> None:
    port, etc = low_port(), tmp_short / "etc"
    settings = tmp_short / "confsync.toml"
    text = (EXAMPLES / "03-docker-target" / "confsync.toml").read_text()
    project = f"confsync-test-{secrets.token_hex(4)}"
    # Another one on this machine may carry the label of the page.
    label = f"label=com.docker.compose.project={project}"
    for old, new in {
        "/etc/haproxy/haproxy.cfg": f"{etc}/haproxy.cfg",
        '":80"': f'"127.0.0.1:{port}"\nstats_bind = "127.0.0.1:{machine.free_port()}"',
        "http://127.0.0.1:8500": f"http://{consul.address}",
        "label=confsync.target": label,
    }.items():
        assert old in text
        text = text.replace(old, new)
    settings.write_text(f'{text}\n[state]\ndirectory = "{tmp_short}/state"\n')
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "CONFSYNC_CONFIG": str(settings),
        "HAPROXY_IMAGE": machine.docker_image("stock-3.2"),
        "HAPROXY_FOLDER": str(etc),
    }
    compose = [*machine.compose(), "--project-name", project, "--file", "docker-compose.yml"]

    def typed(line: str) -> subprocess.CompletedProcess[str]:
        words = line.split()
        if words[:2] == ["docker", "compose"]:
            words = [*compose, *words[2:]]
        return subprocess.run(
            words,
            cwd=EXAMPLES / "03-docker-target",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    up, check, once, run, _, status, _ = commands("03-docker-target")
    etc.mkdir()
    try:
        assert typed(up).returncode == 0
        looked = typed(check)
        assert (looked.returncode, looked.stderr) == (0, "")
        planned = typed(once)
        assert (planned.returncode, "haproxy.cfg is new" in planned.stdout) == (3, True), planned
        log = tmp_short / "agent.log"
        agent = Process(["sh", "-c", f"exec {run}"], log=log, env=environment)
        try:
            wait_until(lambda: get("127.0.0.1", port)[0] == 503, "a serving HAProxy")
            consul.register("web", port=backends.start("web-1"), tags=["public"])
            found = (200, "web-1")
            wait_until(lambda: get("127.0.0.1", port, "web.example.org") == found, "traffic")
            wait_until(lambda: "1 server" in typed(status).stdout, "the status")
        finally:
            agent.stop(grace=20)
        assert agent.exit_code == 0, log.read_text()
    finally:
        typed("docker compose down --timeout 1")


def test_06_the_image_is_enough_for_the_check() -> None:
    (line,) = (line for line in commands("06-once-in-ci") if line.startswith("docker run"))
    words = line.replace('"$PWD:', f"{EXAMPLES}/06-once-in-ci:").replace('"', "").split()
    assert words[-4] == "confsync"
    words[-4] = sidecar("2.6")
    assert "good: settings, templates and configuration" in docker(*words[1:])
