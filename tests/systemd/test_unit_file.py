"""Our own unit as deploy/systemd has it: hardened, watched, and of no consequence to HAProxy."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import wait_until
from tests.support.systemd import SystemdHost

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the program
UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "confsync.service"
SETTINGS = """
[source]
type = "file"
path = "/etc/confsync/services.json"
[target]
type = "systemd"

"""


def services(*ports: int, names: tuple[str, ...] = ("web",)) -> str:
    instances = [{"id": f"w{p}", "address": "127.0.0.1", "port": p} for p in ports]
    return json.dumps({"services": [{"name": name, "instances": instances} for name in names]})


@pytest.fixture(scope="module")
def host(program: Path) -> Iterator[SystemdHost]:
    with SystemdHost() as booted:
        command = booted.install(program)
        booted.put(
            {
                "/etc/systemd/system/confsync.service": UNIT,
                "/etc/confsync/confsync.toml": SETTINGS,
                "/etc/confsync/services.json": services(8000),
            }
        )
        booted.sh(f"systemctl daemon-reload; {command} once --apply --adopt")
        booted.sh("systemctl start confsync")
        yield booted


def show(host: SystemdHost, unit: str, name: str) -> str:
    return host.sh(f"systemctl show {unit} -p {name} --value").out.strip()


def worker(host: SystemdHost) -> str:
    pid = show(host, "haproxy", "MainPID")
    return host.sh(f"cat /proc/{pid}/task/{pid}/children").out.split()[-1]


def test_systemd_understands_every_line(host: SystemdHost) -> None:
    done = host.sh("systemd-analyze verify /etc/systemd/system/confsync.service", check=False)
    assert (done.code, done.out + done.err) == (0, "")


def test_it_is_hardened(host: SystemdHost) -> None:
    words = host.sh("systemd-analyze security confsync.service --no-pager").out.split()
    assert float(words[words.index("confsync.service:") + 1]) < 3  # of 10; haproxy.service has 9.6


def test_changes_get_into_haproxy_from_inside_the_walls(host: SystemdHost) -> None:
    before, mark = worker(host), len(host.journal("confsync"))
    host.put({"/etc/confsync/services.json": services(8000, 8001)})
    wait_until(
        lambda: "cycle: applied" in host.journal("confsync")[mark:], "a change without a reload"
    )
    assert "127.0.0.1:8001" in host.sh("cat /etc/haproxy/haproxy.cfg").out
    assert worker(host) == before
    host.put({"/etc/confsync/services.json": services(8000, 8001, names=("web", "api"))})
    wait_until(lambda: worker(host) != before, "another worker")
    assert "backend api" in host.sh("cat /etc/haproxy/haproxy.cfg").out
    wait_until(lambda: "cycle: reloaded" in host.journal("confsync")[mark:], "the summary line")


def test_restarting_and_stopping_it_touch_nothing_of_haproxy(host: SystemdHost) -> None:
    before = (show(host, "haproxy", "MainPID"), worker(host))
    host.sh("systemctl restart confsync")
    wait_until(lambda: "in step" in show(host, "confsync", "StatusText"), "the first cycle")
    assert (show(host, "haproxy", "MainPID"), worker(host)) == before
    host.sh("systemctl stop confsync")
    assert show(host, "confsync", "Result") == "success"
    assert (show(host, "haproxy", "MainPID"), worker(host)) == before
    host.sh("systemctl start confsync")


def test_a_haproxy_that_was_stopped_stays_so(host: SystemdHost) -> None:
    host.sh("systemctl stop haproxy; systemctl restart confsync")
    assert show(host, "confsync", "ActiveState") == "active"
    assert show(host, "haproxy", "ActiveState") == "inactive"
    host.sh("systemctl start haproxy")


def test_a_frozen_agent_is_replaced_by_the_watchdog(host: SystemdHost) -> None:
    folder = "/run/systemd/system/confsync.service.d"
    host.put({f"{folder}/quick.conf": "[Service]\nWatchdogSec=6\n"})
    host.sh("systemctl daemon-reload; systemctl restart confsync")
    frozen, before = show(host, "confsync", "MainPID"), worker(host)
    host.sh(f"kill -STOP {frozen}")

    def replaced() -> bool:
        return show(host, "confsync", "MainPID") not in {frozen, "0"}

    wait_until(replaced, "a new agent", timeout=60)
    wait_until(lambda: "watchdog" in host.journal("confsync").lower(), "systemd's word for it")
    wait_until(lambda: show(host, "confsync", "ActiveState") == "active", "its first cycle")
    assert worker(host) == before
    host.sh(f"rm -r {folder}; systemctl daemon-reload; systemctl restart confsync")


def test_wrong_settings_fail_the_unit_and_a_hup_keeps_the_old_ones(host: SystemdHost) -> None:
    agent = show(host, "confsync", "MainPID")
    good = host.sh("cat /etc/confsync/confsync.toml").out
    host.put({"/etc/confsync/confsync.toml": good + "[nonsense]\n"})
    host.sh("systemctl reload confsync")
    wait_until(lambda: "settings refused" in host.journal("confsync"), "the refusal")
    assert show(host, "confsync", "MainPID") == agent
    host.sh("systemctl restart confsync", check=False)
    wait_until(lambda: show(host, "confsync", "ActiveState") == "failed", "the failed unit")
    assert show(host, "confsync", "ExecMainStatus") == "78"
    host.put({"/etc/confsync/confsync.toml": good})
    host.sh("systemctl restart confsync")
