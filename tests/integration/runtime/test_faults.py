"""What breaks in the middle of a change: it converges, and nothing is called applied that is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from confsync import faults
from tests.integration.runtime.between import Between
from tests.integration.runtime.conftest import Make
from tests.integration.runtime.field import Field
from tests.support.agent import Line
from tests.support.process import wait_until

some_builds = pytest.mark.parametrize("haproxy_version", ["2.6", "3.2"], indirect=True)
old_build = pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)

# A change of servers is checked behind it, and reloads nothing.
POINTS = [p for p in faults.POINTS if "reload" not in p and p != "after-check"]

Watched = Callable[..., tuple[Field, Between]]


@pytest.fixture
def watched(field: Make, tmp_short: Path) -> Iterator[Watched]:
    """Make a field whose agent talks to HAProxy through something that can do harm."""
    made: list[Between] = []

    def make(template: str = "hashing", **options: object) -> tuple[Field, Between]:
        path = tmp_short / "between.sock"
        one = field(template=template, stats_socket=path, **options)
        made.append(Between(path, one.haproxy.admin_socket))
        return one, made[0]

    yield make
    for each in made:
        each.__exit__()


def at(*places: tuple[str, str, int]) -> pytest.MarkDecorator:
    """Run a test for these releases and places of a cut."""
    names = ("haproxy_version", "where", "passed")
    return pytest.mark.parametrize(names, places, indirect=["haproxy_version"])


def cycles(field: Field, mark: int) -> list[str]:
    lines = (str(line.get("event")) for line in field.agent.log()[mark:])
    return [event.removeprefix("cycle: ") for event in lines if event.startswith("cycle: ")]


def changed(field: Field) -> None:
    """Add two servers, change one and remove one, as one piece of news."""
    first, second, *_ = field.serving()
    field.add()
    field.weigh(first, 7)
    field.drop(second)


@at(
    ("2.6", "asked", 0),
    ("3.2", "asked", 15),
    ("2.6", "asked", 95),
    ("3.2", "asked", 110),
    ("2.6", "answered", 30),
    ("3.2", "answered", 0),
)
def test_a_socket_that_dies_in_a_batch(watched: Watched, where: str, passed: int) -> None:
    """Cut anywhere in what is asked or answered: a doubt, so one reload, and no request is lost."""
    one, between = watched()
    for _ in range(5):
        one.add()
    one.up()
    reloads = one.haproxy.reloads()
    with one.load(streams=1, seconds=100) as load:
        load.wait_ok(20)
        mark = one.agent.mark()
        between.arm(where, passed)
        one.add()
        assert between.struck.wait(20)
        line = one.agent.wait_cycle("reloaded", since=mark)
        one.agreed()
        assert "applied" not in cycles(one, mark)
        # As a note where the reload came at once, else as its reason.
        assert str(between.path) in f"{line['done']} {line.get('notes')}"
        changed(one)
        one.agreed()
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    assert one.haproxy.reloads() == reloads + 1
    assert one.agent.status()["runtime"]["counts"]["doubts"] == 1
    one.whole()


@at(("3.2", "asked", 0), ("2.6", "asked", 60), ("2.6", "answered", 0))
def test_haproxy_is_killed_in_a_batch(watched: Watched, where: str, passed: int) -> None:
    """Who starts it again has it load the files, which hold the goal already."""
    one, between = watched()
    for _ in range(4):
        one.add()
    one.up()
    mark = one.agent.mark()
    between.arm(where, passed, harm=one.haproxy.kill9)
    new = one.add()
    assert between.struck.wait(20)
    one.haproxy.start()
    # In step, or reloaded where it was started within the second in which the file was written.
    ends = {"cycle: in step", "cycle: reloaded"}
    one.agent.wait(
        lambda line: line["event"] in ends and "does not run" not in str(line.get("notes")),
        "a turn with the new one",
        since=mark,
    )
    one.agreed()
    assert "applied" not in cycles(one, mark)
    row = one.row(new)
    assert row is not None
    mark = one.agent.mark()
    one.add()
    one.agent.wait_cycle("applied", since=mark)
    one.whole()


@some_builds
def test_another_hand_reloads_in_a_batch(watched: Watched) -> None:
    """What was sent went to a worker that is about to end: it is never called applied."""
    one, between = watched()
    for _ in range(4):
        one.add()
    one.up()
    with one.load(streams=1, seconds=100) as load:
        load.wait_ok(20)
        mark = one.agent.mark()
        between.arm("asked", 0, harm=one.haproxy.reload, cut=False)
        one.add()
        assert between.struck.wait(20)
        one.agreed()
        wait_until(lambda: cycles(one, mark), "a cycle")
        assert cycles(one, mark)[0] != "applied"
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    one.whole()


@some_builds
def test_another_hand_disables_a_server_in_a_batch(watched: Watched) -> None:
    """What is read back is not what was said, so it is not called applied."""
    one, between = watched()
    for _ in range(4):
        one.add()
    one.up()
    reloads, mark = one.haproxy.reloads(), one.agent.mark()

    def meddle() -> None:
        def new() -> str:
            return next((name for (_, name), r in one.rows().items() if r.place in wanted), "")

        name = wait_until(new, "the new server")
        wait_until(lambda: one.rows()["web", name].state == "ready", "traffic for it")
        one.haproxy.runtime(f"disable server web/{name}")

    port = one.backends.start()
    wanted = {f"127.0.0.1:{port}"}
    between.arm("asked", b"show servers state", harm=meddle, cut=False)
    one.add(port=port)
    assert between.struck.wait(20)
    one.agent.wait_cycle("reloaded", since=mark)
    assert "applied" not in cycles(one, mark)
    one.agreed()
    assert one.haproxy.reloads() == reloads + 1
    one.whole()


@old_build
@pytest.mark.parametrize("point", POINTS)
def test_an_agent_killed_in_a_change_of_servers(field: Make, point: str) -> None:
    """Between file, journal, steps and record: the next start converges, with one reload at most."""
    one = field(template="hashing")
    for _ in range(5):
        one.add()
    one.up()
    assert one.agent.stop() == 0
    reloads = one.haproxy.reloads()
    with one.load(streams=1, seconds=100) as load:
        load.wait_ok(20)
        one.agent.start(CONFSYNC_FAULT=point)
        wait_until(lambda: not one.agent.process.running or point_passed(one), "a start")
        if one.agent.process.running:
            changed(one)
        wait_until(lambda: not one.agent.process.running, f"the crash at {point}")
        assert one.agent.process.exit_code == -9
        assert one.haproxy.check()[0] == 0
        mark = one.agent.mark()
        one.agent.start()
        one.agent.wait(_converged, "convergence", since=mark)
        one.agreed()
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    assert one.haproxy.reloads() <= reloads + 1
    assert one.agent.status()["runtime"]["by_hand"] == []
    one.whole()
    assert not list(one.haproxy.etc.glob(".*.confsync"))


def point_passed(field: Field) -> bool:
    """Tell whether the agent has begun its work without having met its end."""
    return "in step" in cycles(field, 0)[-1:]


def _converged(line: Line) -> bool:
    return line["event"] in {"cycle: reloaded", "cycle: applied", "cycle: in step"}


@old_build
@pytest.mark.parametrize("kill", [False, True])
def test_haproxy_is_upgraded_meanwhile(field: Make, kill: bool) -> None:
    """Servers come and go while it is away; the new release's abilities are asked for anew."""
    one = field(template="sticky")
    servers = [one.add() for _ in range(4)]
    one.up()
    one.drop(servers[0])
    one.agreed()
    assert one.agent.status()["runtime"]["leftovers"]
    mark = one.agent.mark()
    one.upgrade("3.0", kill=kill)
    one.add()
    one.drop(servers[1])
    one.agreed()
    wait_until(
        lambda: str(one.agent.status()["haproxy"]["version"]).startswith("3.0"), "its version"
    )
    reloads = one.haproxy.reloads()
    # 2.6 needs a reload for a server with a cookie, and deletes none.
    new = one.add()
    one.agreed()
    one.drop(new)
    one.agreed()
    wait_until(lambda: not one.agent.status()["runtime"]["leftovers"], "the deletion")
    assert one.row(new) is None
    assert one.haproxy.reloads() == reloads
    assert one.agent.cycles("failed") == []
    assert cycles(one, mark)[-1] == "applied"
    one.whole()
