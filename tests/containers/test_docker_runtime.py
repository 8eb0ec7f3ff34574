"""The docker target without reloads: each way to the stats socket, under load, exact counts."""

import pytest

from tests.conftest import Soak
from tests.containers.conftest import Site
from tests.support.figures import Figures

VERSIONS = ("2.6", "3.2")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("way", "shared"), [("shared", True), ("inside", True), ("inside", False), ("stats", True)]
)
def test_servers_come_go_and_change_without_a_reload(
    site: Site, soak: Soak, figures: Figures, version: str, way: str, *, shared: bool
) -> None:
    rounds = soak.n(3, 50)
    site.build(version, shared=shared, way=way, runtime=True)
    site.up()
    agent = site.agent
    with site.load(keepalive=4, close=4, streams=1, seconds=900) as load:
        load.wait(lambda report: report.ok > 50 and report.streams_alive == 1, "a running load")
        site.change(load, "applied")  # the first one of a worker: what it can do is asked
        before = site.lb.workers()
        for number in range(rounds):
            name = site.change(load, "applied")
            mark = agent.mark()
            site.register(name, meta={"weight": str(10 + number)})
            agent.wait_cycle("applied", since=mark)
            load.wait_ok(20)
            mark = agent.mark()
            site.consul.deregister(name)
            agent.wait_cycle("applied", since=mark)
            load.wait_ok(20)
        report = load.stop()
    figures(report, changes=3 * rounds, reloads=len(agent.cycles("reloaded")))
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert site.lb.workers() == before
    assert not agent.cycles("failed")
    assert len(site.lb.servers()) == 2
    assert agent.stop() == 0
