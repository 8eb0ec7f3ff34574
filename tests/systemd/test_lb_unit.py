"""The whole load balancer without Docker: two machines with systemd, one address, our unit as it is."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import get, lb_host_image
from tests.support.polling import Polling
from tests.support.process import wait_until
from tests.support.systemd import SystemdHost

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the image
UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "confsync-lb.service"
CONFIG = """\
global
    user haproxy
    group haproxy
    chroot /var/lib/haproxy
defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
frontend site
    bind :80
    http-request return status 200 content-type text/plain string "NAME"
"""
VARIABLES = """\
VIP={vip}
PASSWORD_FILE=/etc/confsync/password
"""


class Pair:
    def __init__(self, a: SystemdHost, b: SystemdHost) -> None:
        self.hosts = {"a": a, "b": b}
        # Far from what Docker gives out.
        net = a.address.rpartition(".")[0].rpartition(".")[0]
        self.vip = f"{net}.254.{int(a.address.rpartition('.')[2])}"

    def holders(self) -> list[str]:
        return [
            name
            for name, host in self.hosts.items()
            if f" {self.vip}/" in host.sh("ip -o address").out
        ]

    def holder(self) -> str:
        """Wait until one has the address: both may, for a moment, when they start at once."""
        wait_until(lambda: len(self.holders()) == 1, "one holder")
        return self.holders()[0]

    def answer(self) -> str:
        return get(self.vip, 80)[1]

    def ready(self, name: str) -> bool:
        shown = self.hosts[name].sh("/opt/confsync/bin/confsync status", check=False)
        return shown.code == 0 and ("here" in shown.out or "with the other host" in shown.out)


@pytest.fixture(scope="module")
def pair(program: Path) -> Iterator[Pair]:
    image = lb_host_image()
    with SystemdHost(image) as a, SystemdHost(image) as b:
        made = Pair(a, b)
        for name, host in made.hosts.items():
            host.install(program)
            host.put(
                {
                    "/etc/systemd/system/confsync-lb.service": UNIT,
                    "/etc/confsync/haproxy.cfg": CONFIG.replace("NAME", name),
                    "/etc/confsync/password": "of-both\n",
                    "/etc/default/confsync-lb": VARIABLES.format(vip=made.vip),
                },
                mode=0o600,
            )
            host.sh("systemctl daemon-reload; systemctl start --no-block confsync-lb")
        try:
            for name in made.hosts:
                wait_until(functools.partial(made.ready, name), f"{name} at work")
            wait_until(made.answer, "the holder's answer")
        except TimeoutError as error:
            said = "".join(host.journal("confsync-lb") for host in made.hosts.values())
            raise AssertionError(f"{error}:\n{said[-5000:]}") from None
        yield made


def test_systemd_understands_every_line(pair: Pair) -> None:
    verify = "systemd-analyze verify /etc/systemd/system/confsync-lb.service"
    done = pair.hosts["a"].sh(verify, check=False)
    assert (done.code, done.out + done.err) == (0, "")


def test_it_is_hardened(pair: Pair) -> None:
    words = (
        pair.hosts["a"].sh("systemd-analyze security confsync-lb.service --no-pager").out.split()
    )
    assert float(words[words.index("confsync-lb.service:") + 1]) < 5  # haproxy.service has 9.6


def test_a_reload_takes_the_changed_file_and_loses_nothing(pair: Pair) -> None:
    name = pair.holder()
    host = pair.hosts[name]
    mark = len(host.journal("confsync-lb"))
    with Polling(pair.vip) as client:
        host.sh("sed -i 's/timeout connect 3s/timeout connect 4s/' /etc/confsync/haproxy.cfg")
        host.sh("systemctl reload confsync-lb")
        wait_until(lambda: "cycle: reloaded" in host.journal("confsync-lb")[mark:], "the reload")
        polls = client.stop()
    assert polls.failed_as == {}
    assert set(polls.servers) == {name}


def test_stopping_it_hands_over_and_leaves_nothing(pair: Pair) -> None:
    name = pair.holder()
    (other,) = set(pair.hosts) - {name}
    with Polling(pair.vip) as client:
        pair.hosts[name].sh("systemctl stop confsync-lb")
        wait_until(lambda: pair.answer() == other, "the other one's answer")
        polls = client.stop()
    assert polls.failed_at_once, polls.failed
    assert pair.holders() == [other]
    assert pair.hosts[name].sh("pgrep 'haproxy|nginx|ucarp'", check=False).out == ""
    assert pair.hosts[name].sh("systemctl show confsync-lb -p Result --value").out == "success\n"
    pair.hosts[name].sh("systemctl start confsync-lb")
    wait_until(functools.partial(pair.ready, name), f"{name} at work")
    assert pair.holders() == [other]


def test_a_killed_supervisor_takes_all_with_it_and_is_started_again(pair: Pair) -> None:
    name = pair.holder()
    (other,) = set(pair.hosts) - {name}
    host = pair.hosts[name]
    wait_until(functools.partial(pair.ready, other), f"{other} at work")
    before = host.sh("systemctl show confsync-lb -p MainPID --value").out
    host.sh(f"kill -9 {before}")
    wait_until(lambda: pair.answer() == other, "the other one's answer")
    wait_until(functools.partial(pair.ready, name), f"{name} at work")
    assert host.sh("systemctl show confsync-lb -p MainPID --value").out != before
    wait_until(lambda: pair.holders() == [other], "one holder")


def test_wrong_settings_show_as_failed(pair: Pair) -> None:
    holder = pair.holder()
    (name,) = set(pair.hosts) - {holder}
    host = pair.hosts[name]
    host.sh("systemctl stop confsync-lb; echo ADVBASE=often >>/etc/default/confsync-lb")
    assert host.sh("systemctl start confsync-lb", check=False).code != 0
    assert host.sh("systemctl show confsync-lb -p ExecMainStatus --value").out == "78\n"
    assert "ADVBASE" in host.journal("confsync-lb")
    assert pair.holders() == [holder]
    host.sh("sed -i '/^ADVBASE=often$/d' /etc/default/confsync-lb; systemctl start confsync-lb")
    wait_until(functools.partial(pair.ready, name), f"{name} at work")
