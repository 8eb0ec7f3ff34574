import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync.adapters.systemd.notify import Notify


@pytest.fixture
def manager(tmp_short: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_short / "notify"))
        sock.settimeout(5)
        yield sock


def heard(manager: socket.socket) -> list[str]:
    manager.setblocking(False)
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_every_state_is_one_message(manager: socket.socket) -> None:
    notify = Notify({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"})
    notify.ready()
    notify.status("in step:\n  3 services \N{SNOWMAN}")
    notify.watchdog()
    notify.stopping()
    assert heard(manager) == [
        "READY=1",
        "STATUS=in step: 3 services \N{SNOWMAN}",
        "WATCHDOG=1",
        "STOPPING=1",
    ]
    assert notify.interval == 30


def test_a_reload_tells_the_time(manager: socket.socket) -> None:
    Notify({"NOTIFY_SOCKET": manager.getsockname()}).reloading()
    (message,) = heard(manager)
    first, second = message.splitlines()
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert int(value) > 0


def test_a_status_cannot_add_another_state(manager: socket.socket) -> None:
    Notify({"NOTIFY_SOCKET": manager.getsockname()}).status("x\nSTOPPING=1")
    assert heard(manager) == ["STATUS=x STOPPING=1"]


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0confsync-test-{os.getpid()}")
        Notify({"NOTIFY_SOCKET": f"@confsync-test-{os.getpid()}"}).ready()
        assert heard(sock) == ["READY=1"]


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "0"}, 0),
        ({"WATCHDOG_USEC": "nonsense"}, 0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 2),
    ],
)
def test_the_watchdog_is_ours_only_when_it_says_so(
    manager: socket.socket, environment: dict[str, str], interval: float
) -> None:
    notify = Notify({"NOTIFY_SOCKET": manager.getsockname(), **environment})
    notify.watchdog()
    assert notify.interval == interval
    assert heard(manager) == (["WATCHDOG=1"] if interval else [])


def test_without_a_manager_nothing_happens() -> None:
    Notify({}).ready()
    Notify({"NOTIFY_SOCKET": "/nowhere/notify"}).ready()


def test_a_manager_that_does_not_listen_costs_no_time(manager: socket.socket) -> None:
    notify = Notify({"NOTIFY_SOCKET": manager.getsockname()})
    for _ in range(2000):  # more than its queue holds
        notify.status("x")
    assert set(heard(manager)) == {"STATUS=x"}
