"""confsync's own unit beside Debian's haproxy.service, on a machine with systemd and Consul."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.backend import Backends
from tests.support.load import Load
from tests.support.process import wait_until
from tests.support.systemd import SystemdHost

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the program
PROJECT = Path(__file__).parents[2]
SETTINGS = """\
[source]
wait = 5
[target]
type = "systemd"
[[template]]
source = "builtin:haproxy.cfg"
destination = "/etc/haproxy/haproxy.cfg"
[template.vars]
bind = "127.0.0.1:8080"
[reload]
interval = 0.5
"""
CONSUL_UNIT = """\
[Service]
ExecStart=/usr/local/bin/consul agent -dev -bind=127.0.0.1
"""


class Machine:
    """A load-balancer host: systemd, haproxy, consul, confsync, toy servers."""

    def __init__(self, host: SystemdHost, backends: Backends) -> None:
        self.host = host
        self.backends = backends
        self._count = 0

    def add(self) -> str:
        self._count += 1
        name = f"web-{self._count}"
        port = self.backends.start(name)
        body = {"Name": "web", "ID": name, "Address": "127.0.0.1", "Port": port}
        self._put("/v1/agent/service/register", json.dumps(body))
        return name

    def drop(self, name: str) -> None:
        self._put(f"/v1/agent/service/deregister/{name}", "")

    def _put(self, path: str, body: str) -> None:
        script = (
            "import sys, urllib.request as u;"
            f"u.urlopen(u.Request('http://127.0.0.1:8500{path}',"
            " data=sys.stdin.buffer.read(), method='PUT'))"
        )
        self.host.sh(f'python3 -c "{script}"', stdin=body.encode())

    def journal(self) -> str:
        return self.host.journal("confsync")

    def mark(self) -> int:
        return len(self.journal())

    def wait(self, words: str, since: int = 0) -> str:
        """Wait for a line of our journal, and return it."""

        def found() -> str:
            lines = self.journal()[since:].splitlines()
            return next((line for line in lines if words in line), "")

        try:
            return wait_until(found, words)
        except TimeoutError:
            raise AssertionError(f"never said {words!r}:\n{self.journal()[-3000:]}") from None

    def load(self) -> Load:
        return Load(8080, host_header="web", streams=1, python=self.host.python)

    def show(self, unit: str, key: str) -> str:
        return self.host.sh(f"systemctl show {unit} -p {key} --value").out.strip()

    def haproxy(self, command: str) -> str:
        script = (
            "import socket; s = socket.socket(socket.AF_UNIX);"
            "s.connect('/run/haproxy/admin.sock');"
            f"s.sendall(b'{command}\\\\n');"
            "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
        )
        return self.host.sh(f'python3 -c "{script}"').out

    def worker(self) -> str:
        found = re.search(r"^Pid: (\d+)$", self.haproxy("show info"), re.MULTILINE)
        assert found
        return found[1]


@pytest.fixture(scope="module")
def box(program: Path) -> Iterator[Machine]:
    with SystemdHost() as host:
        host.install(program)
        host.put({"/usr/local/bin/consul": Path(machine.consul_binary()).read_bytes()}, mode=0o755)
        host.put(
            {
                "/etc/confsync/confsync.toml": SETTINGS,
                "/etc/systemd/system/confsync.service": PROJECT / "deploy/systemd/confsync.service",
                "/etc/systemd/system/consul.service": CONSUL_UNIT,
            }
        )
        host.sh("systemctl daemon-reload; systemctl start consul")
        wait_until(lambda: host.sh("consul members", check=False).code == 0, "consul")
        with Backends(python=host.python) as backends:
            yield Machine(host, backends)


@pytest.fixture
def running(box: Machine) -> Machine:
    """The machine with its configuration adopted and confsync running; a server is registered."""
    if box.show("confsync", "ActiveState") != "active":
        box.add()
        box.host.sh("confsync=/opt/confsync/bin/confsync; $confsync once --apply --adopt")
        box.host.sh("systemctl start confsync")
    box.host.sh("systemctl is-active haproxy || systemctl start haproxy")
    return box


def test_the_first_start_holds_debians_file_until_it_is_adopted(box: Machine) -> None:
    if box.show("confsync", "ActiveState") == "active":
        box.host.sh("systemctl stop confsync; rm -rf /var/lib/confsync/*")
    box.add()
    before = box.host.sh("cat /etc/haproxy/haproxy.cfg").out
    mark = box.mark()
    box.host.sh("systemctl start confsync")
    line = box.wait("cycle: failed", mark)
    assert "--adopt" in line
    assert box.host.sh("cat /etc/haproxy/haproxy.cfg").out == before
    assert box.host.sh("/opt/confsync/bin/confsync once", check=False).code == 73
    box.host.sh("systemctl stop confsync")
    done = box.host.sh("/opt/confsync/bin/confsync once --apply --adopt")
    assert done.code == 0
    assert "reloaded" in done.out
    box.host.sh("systemctl start confsync")
    assert box.show("confsync", "SubState") == "running"
    assert box.haproxy("show backend").split().count("web") == 1


def test_changes_and_restarts_of_ours_cost_no_request(running: Machine) -> None:
    with running.load() as load:
        load.wait(lambda report: report.ok > 20 and report.streams_alive == 1, "a running load")
        for _ in range(3):
            mark = running.mark()
            added = running.add()
            line = running.wait("cycle: applied", mark)
            assert "added" in line
            load.wait_server(added)
        worker = running.worker()
        mark = 0
        for command in ("restart", "stop", "start"):
            mark = running.mark()
            running.host.sh(f"systemctl {command} confsync")
            load.wait_ok(20)
        running.wait("cycle: in step", mark)
        report = load.stop()
    assert running.worker() == worker
    assert report.failed_as == {}
    assert report.streams_alive == 1


def test_hup_reads_the_settings_anew(running: Machine) -> None:
    mark = running.mark()
    running.host.put({"/etc/confsync/confsync.toml": SETTINGS + "first = -1\n"})
    running.host.sh("systemctl reload confsync")
    assert "first" in running.wait("settings refused", mark)
    running.host.put({"/etc/confsync/confsync.toml": SETTINGS + "first = 0.02\n"})
    running.host.sh("systemctl reload confsync")
    running.wait("settings read anew", mark)
    running.wait("cycle: in step", mark)
    assert running.show("confsync", "ActiveState") == "active"


def test_a_stopped_haproxy_is_never_started_and_joins_in_step(running: Machine) -> None:
    mark = running.mark()
    running.host.sh("systemctl stop haproxy")
    running.wait("HAProxy stopped", mark)
    added = running.add()
    assert "does not run" in running.wait("cycle: written", mark)
    assert running.show("haproxy", "ActiveState") == "inactive"
    mark = running.mark()
    running.host.sh("systemctl start haproxy")
    running.wait("HAProxy runs", mark)
    with running.load() as load:
        load.wait_server(added)
        mark = running.mark()
        running.host.sh("systemctl reload haproxy")
        running.wait("reloaded by another hand", mark)
        mark = running.mark()
        load.wait_server(running.add())
        running.wait("cycle: applied", mark)
        report = load.stop()
    assert report.failed_as == {}


def test_an_upgrade_is_noticed_and_served(running: Machine) -> None:
    """Another build under the same path: the version in its text changes by one letter."""
    mark = running.mark()
    version = running.host.sh("haproxy -v").out.split()[2]
    other = version[:-1] + ("9" if version[-1] != "9" else "8")
    script = (
        "import pathlib, sys; old, new = (w.encode() for w in sys.argv[1:]);"
        "made = pathlib.Path('/usr/sbin/haproxy.new'); there = made.with_suffix('');"
        "made.write_bytes(there.read_bytes().replace(old, new)); made.chmod(0o755);"
        "made.rename(there)"
    )
    running.host.sh(f'python3 -c "{script}" {version} {other}')
    assert running.host.sh("haproxy -v").out.split()[2] == other
    running.host.sh("systemctl restart haproxy")
    running.wait(f"HAProxy was upgraded to {other}", mark)
    mark = running.mark()
    added = running.add()
    running.wait("cycle: applied", mark)
    with running.load() as load:
        load.wait_server(added)


def test_a_hung_agent_is_restarted_by_the_watchdog_and_traffic_does_not_mind(
    running: Machine,
) -> None:
    folder = "/run/systemd/system/confsync.service.d"
    running.host.put({f"{folder}/quick.conf": "[Service]\nWatchdogSec=6\n"})
    running.host.sh("systemctl daemon-reload; systemctl restart confsync")
    pid, worker = running.show("confsync", "MainPID"), running.worker()
    with running.load() as load:
        load.wait_ok(20)
        running.host.sh(f"kill -STOP {pid}")
        wait_until(
            lambda: (
                running.show("confsync", "MainPID") not in {pid, "0"}
                and running.show("confsync", "SubState") == "running"
            ),
            "the restart",
            timeout=60,
        )
        load.wait_server(running.add())
        report = load.stop()
    assert running.show("confsync", "NRestarts") != "0"
    assert report.failed_as == {}
    assert running.worker() == worker
    running.host.sh(f"rm -r {folder}; systemctl daemon-reload; systemctl restart confsync")


def test_the_journal_has_one_line_a_cycle_with_its_priority(running: Machine) -> None:
    mark = running.mark()
    running.add()
    line = running.wait("cycle: applied", mark)
    for field in ("why=", "services=", "servers=", "done=", "ms=", "apply:"):
        assert field in line
    entries = [
        json.loads(entry)
        for entry in running.host.sh("journalctl -u confsync -o json --no-pager").out.splitlines()
    ]
    priorities = {
        entry["PRIORITY"] for entry in entries if "cycle: applied" in str(entry["MESSAGE"])
    }
    assert priorities == {"6"}
    status = running.show("confsync", "StatusText")
    assert status.startswith(("applied", "in step"))
