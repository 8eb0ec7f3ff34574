"""What happens to a server that leaves: running requests end, new ones go elsewhere, drains end.

And what comes back, also where nobody was left.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.runtime.conftest import Make
from tests.integration.runtime.field import Client, Field, Instance
from tests.support import machine
from tests.support.figures import Figures
from tests.support.process import wait_until

some_builds = pytest.mark.parametrize("haproxy_version", ["2.6", "3.2"], indirect=True)


def test_long_requests_on_servers_that_leave_end_well(field: Make) -> None:
    """Deregistered, critical or in maintenance; the next requests go elsewhere."""
    one = field(template="hashing", extra="[retire]\ndrain = 0.5\n[guard]\nshare = 1\n")
    ways: list[Callable[[Instance], None]] = [one.drop, one.fail, one.maintain]
    stays, *gone = [one.add() for _ in range(4)]
    one.up()
    reloads = one.haproxy.reloads()
    with ThreadPoolExecutor() as pool:
        keys = [_key_of(one, server) for server in gone]
        before = [one.requests(server) for server in gone]
        answers = [pool.submit(one.get, f"/slow?s=2&key={key}") for key in keys]
        wait_until(lambda: [one.requests(s) for s in gone] == [n + 1 for n in before], "all began")
        for server, leaves in zip(gone, ways, strict=True):
            leaves(server)
        one.agreed()
        assert {one.get(f"/?key={n}")[1] for n in range(40)} == {stays.name}
        assert not any(answer.done() for answer in answers)
        assert [a.result(20)[:2] for a in answers] == [(200, server.name) for server in gone]
    assert [one.requests(server) for server in gone] == [n + 1 for n in before]
    assert one.haproxy.reloads() == reloads
    one.whole()


def test_the_current_worker_sends_a_retired_server_nothing_new(field: Make) -> None:
    """Neither by old connections nor by cookies: in maintenance at once, drained ones keep theirs."""
    one = field(template="sticky", extra="[retire]\ndrain = 2.5\n")
    servers = [one.add() for _ in range(5)]
    one.up()
    with Client(one.port) as client:
        status, name, cookie = client.get()
        assert status == 200
        assert cookie.startswith("SRV=")
        gone = next(i for i in servers if i.name == name)
        assert client.get(cookie=cookie)[1] == name
        one.drop(gone)
        one.agreed()
        count = one.requests(gone)
        for _ in range(20):
            status, other, given = client.get(cookie=cookie)
            assert (status, other != name, given != "") == (200, True, True)
        # A drained one keeps who it has, until its time is over, and gets nobody else.
        status, name, cookie = client.get()
        drained = next(i for i in servers if i.name == name)
        reloads = one.haproxy.reloads()
        one.maintain(drained)
        one.agreed()
        row = one.row(drained)
        assert row is not None
        assert row.state == "drain"
        assert {client.get(cookie=cookie)[:2] for _ in range(20)} == {(200, name)}
        assert name not in {one.get()[1] for _ in range(20)}
        wait_until(lambda: client.get(cookie=cookie)[1] != name, "the drain's end")
        kept = one.requests(drained)
        assert name not in {client.get(cookie=cookie)[1] for _ in range(20)}
        assert one.requests(drained) == kept
    assert one.requests(gone) == count
    assert one.haproxy.reloads() == reloads
    one.agent.wait(lambda line: "time to drain is over" in str(line.get("note")), "the log says it")
    # It is deregistered while it drains: at once.
    last = one.serving()[0]
    one.maintain(last)
    one.agreed()
    one.drop(last)
    _out(one, last, timeout=2)
    one.whole()


@some_builds
def test_a_drained_server_that_is_back_serves_again(field: Make) -> None:
    """While it drains, and when its time was over: in maintenance still, or deleted."""
    one = field(template="hashing", extra="[retire]\ndrain = 1\n")
    servers = [one.add() for _ in range(3)]
    one.up()
    reloads = one.haproxy.reloads()
    for server in servers * 2:
        one.maintain(server)
        one.agreed()
        one.maintain(server, enable=False)
        one.agreed()
    for server in servers[:2]:
        one.maintain(server)
        _out(one, server)
        one.maintain(server, enable=False)
        one.agreed()
    assert one.haproxy.reloads() == reloads
    assert one.agent.status()["runtime"]["by_hand"] == []
    one.whole()


@some_builds
def test_the_last_one_goes_and_the_first_one_comes(field: Make) -> None:
    one = field(template="listen")
    one.add("plain")  # a registry that is empty as a whole is not believed
    servers = [one.add(), one.add()]
    one.up()
    reloads, mark = one.haproxy.reloads(), one.agent.mark()
    for _ in range(3):
        for server in servers:
            one.drop(server)
        one.agreed()
        assert one.get()[0] == 503
        servers = [one.add()]
        one.agreed()
        assert one.get()[0] == 200
        servers.append(one.add())
        one.agreed()
    assert one.haproxy.reloads() == reloads
    assert one.reload_reasons(since=mark) == []
    one.whole()


@some_builds
def test_a_server_waits_for_its_first_check_where_that_is_wanted(field: Make) -> None:
    """A dead one gets not one request, a good one its first when it has passed."""
    one = field(template="listen", runtime="closed_until_checked = true")
    one.add("plain")
    good = one.add()
    one.up()
    with one.load(keepalive=2, close=4, streams=0) as load:
        load.wait_ok(20)
        dead = one.add(port=machine.free_port(), weight=20)
        one.agreed()
        name = one.add().name
        one.agreed()
        load.wait_server(name)
        report = load.stop()
    assert report.failed_as == {}
    assert set(report.servers) == {good.name, name}
    row = [r.split() for r in one.haproxy.runtime("show servers state").splitlines()]
    assert [r[5] for r in row if len(r) > 5 and r[3] == dead.server] == ["0"]


@some_builds
def test_what_old_workers_do_is_this(field: Make, figures: Figures) -> None:
    """One that a long request keeps has its own frozen list; its kept connections close, new ones go
    to the current worker."""
    one = field(template="hashing")
    servers = [one.add() for _ in range(2)]
    one.up()
    with ThreadPoolExecutor() as pool, Client(one.port) as kept, Client(one.port) as idle:
        old = one.haproxy.worker_pid()
        idle.get()
        path = f"/?key={_key_of(one, servers[0])}"
        # A long request keeps the old worker, and an idle connection waits there.
        long = pool.submit(one.get, "/slow?s=4")
        kept.get(path)
        one.haproxy.reload()
        one.agent.wait_cycle("in step", since=one.agent.mark() - 1)
        one.drop(servers[0])
        one.agreed()
        before = one.requests(servers[0])
        assert old in one.haproxy.workers()
        status, by_old, _ = kept.get(path)
        through_old = one.requests(servers[0]) - before
        # With idle-close-on-response that was the last one of its connection.
        after = {one.get(path)[1] for _ in range(10)}
        assert status == 200
        assert long.result(20)[0] == 200
        figures(through_old=through_old)
        assert by_old == servers[0].name
        assert through_old == 1
        assert after == {servers[1].name}
    wait_until(lambda: one.haproxy.workers() == [one.haproxy.worker_pid()], "the old one's end")


def _out(field: Field, instance: Instance, *, timeout: float = 20) -> None:
    """Wait until a server is in maintenance, or deleted."""

    def out() -> bool:
        row = field.row(instance)
        return row is None or row.state == "maint"

    wait_until(out, f"maintenance of {instance.server}", timeout=timeout)


def _key_of(field: Field, instance: Instance) -> int:
    """Find a key that is a server's."""
    return next(k for k in range(500) if field.get(f"/?key={k}")[1] == instance.name)
