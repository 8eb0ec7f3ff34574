"""The Debian package on a machine with systemd and HAProxy: what it does to traffic is nothing."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync import __version__
from confsync.cli import completion
from scripts import manual
from tests.support import machine
from tests.support.backend import Backends
from tests.support.load import Load
from tests.support.process import wait_until
from tests.support.systemd import SystemdHost
from tests.support.terminal import READY, Terminal

pytestmark = pytest.mark.timeout(300)  # packages are built, systemd boots
PROJECT = Path(__file__).parents[2]
CFG = "/etc/haproxy/haproxy.cfg"
STATE = "/var/lib/confsync"
SETTINGS = """\
[source]
type = "file"
path = "services.json"
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


def build(into: Path, *words: str, umask: int = 0o022) -> Path:
    """Build a package here, with compression at its quickest."""
    if shutil.which("dpkg-deb") is None:
        raise machine.Missing("no dpkg-deb on this machine")
    done = subprocess.run(
        [PROJECT / "scripts" / "deb", "--out", into, *words],
        env={
            **os.environ,
            "DPKG_DEB_COMPRESSOR_LEVEL": "0",
            "SOURCE_DATE_EPOCH": "1700000000",
            "TMPDIR": str(into),
        },
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Revision -> its package."""
    folder = tmp_path_factory.mktemp("deb")
    return {n: build(folder, "--revision", str(n)) for n in (1, 2)}


class Machine:
    """A load-balancer host on which the package comes and goes."""

    def __init__(self, host: SystemdHost, backends: Backends) -> None:
        self.host = host
        self.backends = backends
        self.ports: list[int] = []
        self.fresh = host.sh(f"cat {CFG}").out
        self.mark = 0

    def install(self, revision: int) -> None:
        self.host.sh(f"dpkg -i /packages/{revision}.deb")

    def purge(self) -> None:
        """Go back to a machine that never had it; HAProxy as Debian starts it."""
        self.host.sh("dpkg -P confsync")
        self.host.put({CFG: self.fresh})
        self.host.sh("systemctl reset-failed haproxy; systemctl restart haproxy")
        self.ports.clear()
        self.mark = len(self.host.journal("confsync"))

    def serve(self) -> None:
        """Write settings and take HAProxy's file over, as the documentation says."""
        self.host.put({"/etc/confsync/confsync.toml": SETTINGS})
        self.register()
        self.host.sh("confsync once --apply --adopt && systemctl start confsync")

    def register(self) -> str:
        """Add a server to the services; return its name."""
        self.ports.append(self.backends.start())
        instances = [{"id": f"w{p}", "address": "127.0.0.1", "port": p} for p in self.ports]
        services = {"services": [{"name": "web", "instances": instances}]}
        self.host.put({"/etc/confsync/services.json": json.dumps(services)})
        return f"s{self.ports[-1]}"

    def load(self) -> Load:
        return Load(8080, host_header="web", streams=1, python=self.host.python)

    def show(self, name: str, unit: str = "confsync") -> str:
        return self.host.sh(f"systemctl show {unit} -p {name} --value").out.strip()

    def haproxy(self) -> tuple[str, str]:
        """HAProxy's master and its newest worker; a reload makes another."""
        master = self.show("MainPID", "haproxy")
        children = self.host.sh(f"cat /proc/{master}/task/{master}/children").out.split()
        return master, children[-1]

    def version(self) -> str:
        return self.host.sh("dpkg-query -W -f '${Version}' confsync").out

    def said(self, words: str) -> int:
        """Count words in the journal of this test."""
        return self.host.journal("confsync")[self.mark :].count(words)

    def wait(self, words: str, times: int = 1) -> None:
        wait_until(
            lambda: self.said(words) >= times,
            f"{words!r} in the journal, {times} times",
        )

    def there(self, path: str) -> bool:
        return self.host.sh(f"test -e {path}", check=False).code == 0


@pytest.fixture(scope="module")
def booted(packages: dict[int, Path]) -> Iterator[Machine]:
    with SystemdHost() as host, Backends(python=host.python) as backends:
        host.put({f"/packages/{n}.deb": path for n, path in packages.items()})
        yield Machine(host, backends)


@pytest.fixture
def box(booted: Machine) -> Machine:
    """A machine without the package."""
    booted.purge()
    return booted


def test_the_same_sources_make_the_same_bytes(packages: dict[int, Path], tmp_path: Path) -> None:
    again = build(tmp_path, "--revision", "1", umask=0o077)
    assert again.name == packages[1].name
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (again, packages[1])}
    assert len(digests) == 1


def test_a_fresh_install_does_nothing_until_there_are_settings(box: Machine) -> None:
    before = box.haproxy()
    box.install(1)
    assert box.host.sh("confsync --version").out == f"confsync {__version__}\n"
    assert box.host.sh("systemctl is-enabled confsync").out == "enabled\n"
    assert box.show("ActiveState") == "inactive"
    assert box.show("ConditionResult") == "no"
    box.wait("skipped because of an unmet condition")
    assert box.said("skipped because of an unmet condition") == 1
    assert box.said("agent starts") == 0
    assert (box.haproxy(), box.host.sh(f"cat {CFG}").out) == (before, box.fresh)
    # Settings alone take over nothing either, at a start of the machine or by hand.
    box.host.put({"/etc/confsync/confsync.toml": SETTINGS})
    box.register()
    box.host.sh("systemctl start confsync")
    box.wait("--adopt")
    assert (box.haproxy(), box.host.sh(f"cat {CFG}").out) == (before, box.fresh)


def test_its_whole_life_costs_no_request(box: Machine) -> None:
    box.install(1)
    box.serve()
    with box.load() as load:
        load.wait(lambda report: report.ok > 20 and report.streams_alive == 1, "a running load")
        load.wait_server(box.register())
        haproxy, agent = box.haproxy(), box.show("MainPID")

        box.install(2)
        assert box.version() == f"{__version__}-2~deb12"
        assert box.show("MainPID") not in {agent, "0"}
        box.wait("agent starts", 2)
        load.wait_ok(20)
        assert box.haproxy() == haproxy  # restarted without a reload

        text = box.host.sh(f"cat {CFG}").out
        box.host.sh("dpkg -r confsync")
        load.wait_ok(20)
        assert not box.there("/usr/lib/confsync")
        assert box.host.sh("pgrep -f [c]onfsync", check=False).out == ""
        assert (box.haproxy(), box.host.sh(f"cat {CFG}").out) == (haproxy, text)
        assert box.there(f"{STATE}/record.json")
        assert box.there("/etc/confsync/confsync.toml")

        box.install(1)  # settings are there: it goes on where it was
        box.wait("agent starts", 3)
        assert box.show("ActiveState") == "active"
        assert box.haproxy() == haproxy
        load.wait_server(box.register())
        assert box.haproxy() == haproxy  # a server needs no reload

        haproxy, text = box.haproxy(), box.host.sh(f"cat {CFG}").out
        box.host.sh("dpkg -P confsync")
        load.wait_ok(20)
        for gone in (STATE, "/etc/confsync", "/usr/lib/confsync"):
            assert not box.there(gone)
        assert (box.haproxy(), box.host.sh(f"cat {CFG}").out) == (haproxy, text)
        report = load.stop()
    assert report.failed_as == {}
    assert report.streams_alive == 1


def test_an_agent_that_its_operator_stopped_or_disabled_stays_so(box: Machine) -> None:
    box.install(1)
    box.serve()
    box.host.sh("systemctl stop confsync")
    box.install(2)
    assert box.show("ActiveState") == "inactive"
    assert box.host.sh("systemctl is-enabled confsync").out == "enabled\n"
    box.host.sh("systemctl disable confsync")
    box.install(1)
    assert box.show("ActiveState") == "inactive"
    assert box.host.sh("systemctl is-enabled confsync", check=False).out == "disabled\n"
    # Running all the same: it is the operator's, and the new version's.
    box.host.sh("systemctl start confsync")
    agent = box.show("MainPID")
    box.install(2)
    assert box.show("ActiveState") == "active"
    assert box.show("MainPID") != agent


def test_the_state_of_a_newer_version_is_refused_and_traffic_goes_on(box: Machine) -> None:
    """As after an install of an older version over a newer one."""
    box.install(2)
    box.serve()
    with box.load() as load:
        load.wait_ok(20)
        haproxy, text = box.haproxy(), box.host.sh(f"cat {CFG}").out
        box.host.sh(f"echo 999 >{STATE}/version")
        box.install(1)
        box.wait("was written by a newer confsync (format 999")
        box.wait("install that version again")
        load.wait_ok(20)
        assert (box.haproxy(), box.host.sh(f"cat {CFG}").out) == (haproxy, text)
        box.host.sh(f"echo 1 >{STATE}/version")
        wait_until(lambda: box.show("ActiveState") == "active", "the agent")
        assert box.haproxy() == haproxy
        report = load.stop()
    assert report.failed_as == {}


def test_what_belongs_to_a_command_is_there(box: Machine) -> None:
    box.install(1)
    files = box.host.sh("dpkg -L confsync").out.splitlines()
    for path in (
        "/usr/share/doc/confsync/examples/01-host-systemd/confsync.toml",
        "/usr/share/doc/confsync/copyright",
        "/usr/share/doc/confsync/changelog.Debian.gz",
        "/usr/lib/systemd/system/confsync.service",
    ):
        assert path in files
    for name, text in manual.pages().items():
        path = f"/usr/share/man/man{name[-1]}/{name}.gz"
        assert path in files
        assert box.host.sh(f"zcat {path}").out == text
    for shell, path in {
        "bash": "/usr/share/bash-completion/completions/confsync",
        "zsh": "/usr/share/zsh/vendor-completions/_confsync",
        "fish": "/usr/share/fish/vendor_completions.d/confsync.fish",
    }.items():
        assert box.host.sh(f"cat {path}").out == completion.SCRIPTS[shell]
    verify = box.host.sh("systemd-analyze verify confsync.service", check=False)
    # There is no `man` to look the page up with.
    assert re.sub(r"(?m)^.*Command 'man .*\n", "", verify.out + verify.err) == ""
    broken = box.host.sh("cd / && dpkg -V confsync", check=False)
    assert (broken.code, broken.out) == (0, "")


def test_held_services_are_completed_at_the_root_of_the_machine(box: Machine) -> None:
    """The agent of the package answers to a TAB in a shell of the machine."""
    box.install(1)
    for _ in range(3):
        box.register()
    box.serve()
    box.ports.clear()
    box.register()  # three of four go at once
    wait_until(
        lambda: "confsync release web" in box.host.sh("confsync release").out, "a hold", timeout=40
    )
    docker = ["docker", "exec", "-it", "-e", f"PS1={READY}", "-e", "TERM=dumb", box.host.name]
    with Terminal([*docker, "bash", "--norc", "-i"], env=os.environ) as terminal:
        terminal.run("source /usr/share/bash-completion/completions/confsync")
        assert terminal.complete("confsync rel") == ["confsync", "release"]
        assert terminal.complete("confsync release ") == ["confsync", "release", "web"]
