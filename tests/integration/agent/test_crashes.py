"""kill -9 at every boundary between two stages: the file is always one that HAProxy accepts, the next
start converges, and the traffic loses nothing."""

import pytest

from confsync import faults
from tests.integration.agent.conftest import Site
from tests.support.agent import LIVE
from tests.support.process import wait_until

pytestmark = pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)


@pytest.mark.parametrize("point", [*faults.POINTS, "promote-each:2"])
def test_a_killed_agent_converges(site: Site, point: str) -> None:
    site.add()
    site.up()
    assert site.agent.stop() == 0
    with site.load(streams=1, seconds=120) as load:
        load.wait_ok(20)
        site.add("api")  # a new service: map and main file change
        added = site.add()
        site.agent.start(CONFSYNC_FAULT=point)
        wait_until(lambda: not site.agent.process.running, f"the crash at {point}")
        assert site.agent.process.exit_code == -9
        code, words = site.haproxy.check()
        assert code == 0, words
        mark = site.agent.mark()
        reloads = site.haproxy.reloads()
        site.agent.start()
        site.agent.wait(
            lambda line: line["event"] in {*LIVE, "cycle: in step"},
            "convergence",
            since=mark,
        )
        load.wait_server(added)
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    site.agrees()
    assert site.haproxy.reloads() <= reloads + 1
    assert not list(site.haproxy.etc.glob(".*.confsync"))
    assert not (site.agent.state / "journal.json").exists()
    assert not (site.agent.state / "foreign").exists()
    mark = site.agent.mark()
    assert site.agent.run("once").returncode == 0


def test_an_agent_killed_in_the_second_of_two_changes_converges(site: Site) -> None:
    """The files go back to before the first, which HAProxy has: no other hand did that."""
    site.add()
    site.up()
    assert site.agent.stop() == 0
    mark = site.agent.mark()
    site.agent.start(CONFSYNC_FAULT="after-journal:2")
    site.agent.wait_cycle("in step", since=mark)
    first = site.add()
    site.agent.wait_live(since=mark)
    site.drop(first)
    second = site.add()
    wait_until(lambda: not site.agent.process.running, "the crash")
    mark = site.agent.mark()
    reloads = site.haproxy.reloads()
    site.agent.start()
    site.agent.wait_live(since=mark)
    with site.load(streams=0, seconds=60) as load:
        load.wait_server(second)
    site.agrees()
    assert site.haproxy.reloads() <= reloads + 1
    assert not (site.agent.state / "foreign").exists()
