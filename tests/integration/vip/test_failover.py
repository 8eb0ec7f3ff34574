"""The shared addresses move, and one host has them: real ucarp, real keepalived, real addresses.

Nothing here asserts a time; how long each event takes is the benchmarks' business.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.vip.conftest import MORE6, PASSWORD, SETTINGS, VIP, Pair
from tests.support.namespaces import Host, Runner
from tests.support.polling import Polling
from tests.support.process import wait_until

Programs = Callable[[Host], list[int]]


def polling(pair: Pair, address: str = VIP) -> Polling:
    return Polling(address, python=pair.client.python)


@pytest.mark.usefixtures("engine")
def test_a_planned_leave_costs_no_request(pair: Pair, programs: Programs) -> None:
    first, second = pair.both()
    with polling(pair) as client:
        wait_until(lambda: pair.client.hardware(VIP), "the client's first answer")
        first.tell("leave")
        first.wait("left")
        assert not pair.a.has(VIP), "it has left and still has the address"
        pair.only(pair.b)
        second.wait("this host has the shared address now")
        # A connection that was open at the moment of the move may be lost.
        polls = client.stop()
    assert len(polls.failed) <= 1, polls.failed_as
    assert set(polls.servers) == {"a", "b"}
    order = [poll.server for poll in polls.all if poll.ok]
    assert order == sorted(order), "it went to and fro"
    assert first.standing()["role"] == "left"
    assert not programs(pair.a)
    assert "127.0.112" not in pair.a.ip("-o", "address")


@pytest.mark.usefixtures("engine")
def test_an_unhealthy_haproxy_gives_the_addresses_away(pair: Pair, programs: Programs) -> None:
    first, second = pair.both()
    first.tell("ill HAProxy hangs")
    pair.only(pair.b)
    wait_until(lambda: not programs(pair.a), "the end of a's programs")
    assert first.standing()["why"] == "HAProxy hangs"
    first.tell("ok")
    wait_until(lambda: len(programs(pair.a)) >= 2, "a's part")
    # It does not take them back from one that works.
    wait_until(lambda: first.standing()["role"] == "waits", "a as the second")
    assert pair.one() is pair.b
    second.tell("leave")
    pair.only(pair.a)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_hung_owner_loses_address_and_program(
    pair: Pair, programs: Programs, number: signal.Signals
) -> None:
    first, _ = pair.both()
    running = programs(pair.a)
    assert len(running) >= 2
    first.signal(number)
    pair.only(pair.b)
    wait_until(lambda: not _alive(running), "the end of a's programs")
    if number is signal.SIGSTOP:
        first.signal(signal.SIGCONT)
        wait_until(lambda: first.count("held up for too long, shared address given up"), "a's word")
        wait_until(lambda: first.standing()["role"] == "waits", "a's part")
        assert first.count("this host has the shared address now") == 1
    assert pair.one() is pair.b


def _alive(pids: list[int]) -> list[int]:
    """List those that run; an ended one that its stopped parent has not seen off does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


@pytest.mark.usefixtures("engine")
def test_a_program_that_is_killed_costs_the_other_host_nothing(pair: Pair, engine: str) -> None:
    first, _ = pair.both()
    os.kill(pair.a.pids(f"{engine} --")[0], signal.SIGKILL)
    first.wait("the program that elects ended")
    pair.one()
    wait_until(lambda: pair.a.pids(f"{engine} --"), "the program again")


def test_a_program_that_is_stopped_keeps_no_address(pair: Pair, engine: str) -> None:
    """It would hear nobody, and both hosts would have the addresses for ever."""
    first, _ = pair.both()
    stopped = pair.a.pids(f"{engine} --")[-1]  # of keepalived the child, which does the work
    os.kill(stopped, signal.SIGSTOP)
    first.wait("the program that elects ended")
    pair.only(pair.b)
    wait_until(lambda: not _alive([stopped]), "its end")
    wait_until(lambda: first.standing()["role"] == "waits", "a's part")


def test_no_program_goes_on_without_its_guard(pair: Pair) -> None:
    pair.settings = {"engine": "keepalived"}
    runner = pair.start(pair.a)
    pair.only(pair.a)
    (unguarded,) = pair.a.pids("guard.py")
    before = pair.a.pids("keepalived --")
    os.kill(unguarded, signal.SIGKILL)
    runner.wait("the program that elects ended")
    wait_until(lambda: not _alive(before), "the end of the unguarded one")
    wait_until(lambda: set(pair.a.pids("guard.py")) - {unguarded}, "another guard")
    wait_until(lambda: runner.count("this host has the shared address now") == 2, "a's turn")
    pair.only(pair.a)


@pytest.mark.usefixtures("engine")
def test_both_at_once_end_as_one_holder(pair: Pair) -> None:
    runners = [pair.start(host, ready=False) for host in (pair.a, pair.b)]
    for each in runners:
        each.wait("ready")
    for each in runners:
        each.tell("ok")
    holder = pair.one()
    with polling(pair) as client:
        wait_until(lambda: pair.client.hardware(VIP), "an answer")
    assert set(client.stop().servers) == {holder.letter}


@pytest.mark.usefixtures("engine")
def test_a_network_that_was_cut_in_two_ends_with_one_holder(pair: Pair) -> None:
    pair.both()
    pair.net.cut(pair.a)
    wait_until(lambda: pair.holders() == [pair.a, pair.b], "two holders, who cannot know better")
    pair.net.heal(pair.a)
    holder = pair.one()
    assert holder in {pair.a, pair.b}
    with polling(pair) as client:
        wait_until(lambda: pair.client.hardware(VIP), "an answer")
    assert set(client.stop().servers) == {holder.letter}


@pytest.mark.usefixtures("engine")
def test_who_loses_its_cable_gives_up(pair: Pair) -> None:
    first, _ = pair.both()
    pair.net.down(pair.a)
    pair.only(pair.b)
    assert first.standing()["role"] in {"waits", "off"}


def test_a_cable_that_is_back_is_listened_to_at_once(pair: Pair) -> None:
    """ucarp sleeps for ten seconds once it has seen no carrier, and would hear no goodbye."""
    pair.settings = SETTINGS["ucarp"]
    first, second = pair.both()
    (before,) = pair.b.pids("ucarp --")
    pair.net.down(pair.b)
    pair.net.up(pair.b)
    wait_until(lambda: set(pair.b.pids("ucarp --")) - {before}, "another ucarp")
    assert "the link was down" in second.text
    assert pair.one() is pair.a
    first.tell("leave")
    pair.only(pair.b)


def test_neighbours_learn_every_address_anew(pair: Pair) -> None:
    """The one that is elected for, one more, and one of IPv6: none is left to be forgotten."""
    pair.settings = {"engine": "keepalived", "more": ("10.9.0.101", MORE6)}
    first, _ = pair.both()
    for address in pair.addresses:
        with polling(pair, address):
            wait_until(lambda a=address: pair.client.hardware(a), f"{address} at first")  # type: ignore[misc]
    before = {each: pair.client.hardware(each) for each in pair.addresses}
    assert all(before.values())
    first.tell("leave")
    pair.only(pair.b)
    hardware = pair.b.ip("-o", "link", "show", "eth0").split("link/ether ")[1].split()[0]
    for address in pair.addresses:
        wait_until(lambda a=address: pair.client.hardware(a) == hardware, f"{address} anew")  # type: ignore[misc]


@pytest.mark.parametrize("address", [VIP, MORE6])
def test_peers_alone_hear_keepalived(pair: Pair, address: str) -> None:
    """Over IPv4, and over IPv6 for an address of that."""
    pair.settings = {"engine": "keepalived", "address": address}
    own = {host: host.own6 if ":" in address else host.own for host in (pair.a, pair.b)}
    runners = {
        host: pair.start(host, peers=tuple(ip for other, ip in own.items() if other is not host))
        for host in own
    }
    wait_until(lambda: len(pair.holders(address)) == 1, "one holder")
    (holder,) = pair.holders(address)
    runners[holder].tell("leave")
    runners[holder].wait("left")
    wait_until(lambda: len(pair.holders(address)) == 1, "the other holder")
    assert pair.holders(address) != [holder]


def test_intervals_below_a_second_are_stable(pair: Pair) -> None:
    """Without the library both would take the address in turn, twice a second."""
    changes: dict[str, Any] = {"engine": "ucarp", "advbase": 0}
    runners: list[Runner] = [
        pair.start(pair.a, advskew=26, **changes),
        pair.start(pair.b, advskew=128, **changes),
    ]
    pair.only(pair.a)
    wait_until(lambda: runners[1].standing()["role"] == "waits", "b's part")
    taken = [each.count("this host has the shared address now") for each in runners]
    time.sleep(4)  # some forty adverts
    assert [each.count("this host has the shared address now") for each in runners] == taken
    pair.only(pair.a)
    runners[0].signal(signal.SIGKILL)
    pair.only(pair.b)


@pytest.mark.usefixtures("engine")
def test_the_password_shows_nowhere(pair: Pair, programs: Programs) -> None:
    first, second = pair.both()
    for pid in [*programs(pair.a), first.pid]:
        for name in ("cmdline", "environ"):
            assert PASSWORD.encode() not in Path(f"/proc/{pid}/{name}").read_bytes(), (pid, name)
    files = [path for path in pair.folder.rglob("*") if path.is_file() and path != pair.password]
    assert all(PASSWORD not in path.read_text() for path in files)
    assert PASSWORD not in first.text + second.text
