"""Two hosts, one address: whatever happens to the one that has it, the other one serves.

One pair an engine; each event is met by a client with a new connection every 10 ms. How long an
outage lasts is measured by `make bench`; here it is told who has the address and what may fail.
"""

import contextlib
import functools
import json
import time
from collections.abc import Iterator

import pytest

from tests.containers.lb_events import EVENTS, LEASE, PASSWORD, Event, LbPair, haproxy
from tests.support.containers import balancer, docker, get
from tests.support.pair import Host
from tests.support.polling import Polling
from tests.support.process import wait_until

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the image
ENGINES = ("ucarp", "keepalived")


@pytest.fixture(scope="module", params=ENGINES)
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LbPair]:
    image = balancer()
    with LbPair(image, str(request.param), tmp_path_factory.mktemp("pair")) as pair:
        pair.start()
        yield pair


@pytest.fixture
def pair(started: LbPair) -> LbPair:
    """Both work, one has the address."""
    started.repair()
    started.both_ready()
    wait_until(lambda: get(started.vip, 80)[0] == 200, "the holder's answer")
    return started


def answers(pair: LbPair, host: Host) -> bool:
    return get(pair.vip, 80) == (200, host.letter)


def stalled(host: Host, since: int) -> bool:
    """Tell whether a host to which nothing was done says that it got no time to run."""
    said = host.lb.logs()[since:]
    return any(words in said for words in ("held up for too long", "HAProxy does not answer"))


@pytest.mark.parametrize("event", EVENTS.values(), ids=list(EVENTS))
def test_the_other_one_takes_over(pair: LbPair, event: Event) -> None:
    """What a host loses because the machine gave it no time is tried anew."""
    for tries_left in (2, 1, 0):
        holder = pair.holder()
        other = pair.other(holder)
        mark = other.lb.mark()
        try:
            takes_over(pair, event, holder, other)
        except AssertionError:
            if not tries_left or not stalled(other, mark):
                raise
            with contextlib.suppress(RuntimeError):  # it may have been mended
                event.mend(pair, holder)
            pair.both_ready()
        else:
            return


def takes_over(pair: LbPair, event: Event, holder: Host, other: Host) -> None:
    began = time.time()
    with Polling(pair.vip) as client:
        wait_until(functools.partial(answers, pair, holder), "the holder's answer")
        event.hurt(pair, holder)
        wait_until(functools.partial(answers, pair, other), "the other one's answer")
        if not event.split:
            for address in pair.addresses:
                wait_until(
                    lambda a=address: pair.holders(a) == [other],  # type: ignore[misc]
                    f"{address} on {other.letter} alone",
                )
        polls = client.stop()

    taken = polls.takeover(other.letter)
    late = polls.since(taken)
    assert late.failed_as == {}
    assert set(late.servers) == {other.letter}
    if event.planned:
        assert polls.failed_at_once, polls.failed
    if not event.split:
        # The kernel looks at leases once a second.
        assert pair.overlap(began) <= LEASE + 1

    with Polling(pair.vip) as client:
        event.mend(pair, holder)
        now = pair.both_ready()
        polls = client.stop()
    wait_until(functools.partial(answers, pair, now), "one holder that answers")
    for address in pair.addresses:
        assert pair.holders(address) == [now]
    if not event.split and event is not EVENTS["docker pause"]:
        # What comes back takes nothing away.
        assert now is other
        assert polls.failed_as == {}


def test_both_started_at_once_end_with_one_holder(pair: LbPair) -> None:
    names = [host.lb.name for host in pair.hosts]
    docker("kill", *names)
    docker("start", *names)
    now = pair.both_ready()
    for address in pair.addresses:
        assert pair.holders(address) == [now]
    wait_until(functools.partial(answers, pair, now), "its answer")


def test_a_dead_nginx_is_started_again_and_moves_nothing(pair: LbPair) -> None:
    holder = pair.holder()
    (master,) = holder.pids("^nginx: master")
    with Polling(pair.vip) as client:
        holder.signal("KILL", master)
        fresh = wait_until(
            lambda: [pid for pid in holder.pids("^nginx: master") if pid != master], "another nginx"
        )
        polls = client.stop()
    assert len(fresh) == 1
    assert polls.failed_as == {}
    assert set(polls.servers) == {holder.letter}
    assert pair.holder() is holder


def test_reloads_of_the_holder_cost_nothing(pair: LbPair) -> None:
    holder = pair.holder()
    before = haproxy(holder)
    with Polling(pair.vip) as client:
        file = pair.folder / "haproxy.cfg"
        file.write_text(file.read_text() + f"# {before}\n")
        holder.lb.kill("HUP")
        wait_until(lambda: haproxy(holder)[1:] != before[1:], "another worker")
        polls = client.stop()
    assert polls.failed_as == {}
    assert set(polls.servers) == {holder.letter}


def test_the_password_is_nowhere_to_be_seen(pair: LbPair) -> None:
    secret = PASSWORD if pair.engine == "ucarp" else PASSWORD[:8]
    for host in pair.hosts:
        shown = (
            docker("top", host.lb.name, "-eo", "pid,args"),
            host.lb.exec("sh", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'", check=False),
            host.lb.logs(),
            docker("inspect", host.lb.name),
        )
        assert not any(secret in text for text in shown)
        assert all("vip" in text or "VIP" in text or "ucarp" in text for text in shown[-1:])


def test_each_line_of_the_log_names_who_wrote_it(pair: LbPair) -> None:
    lines = [json.loads(line) for line in pair.a.lb.logs().splitlines()]
    assert all("event" in line for line in lines)
    # ucarp itself says nothing until something happens: of it the agent tells.
    named = {str(line.get("child", line.get("engine"))) for line in lines}
    assert {"haproxy", "nginx", pair.engine} <= named
