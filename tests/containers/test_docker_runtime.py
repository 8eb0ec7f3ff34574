"""The docker target without reloads: each way to the stats socket, under load, exact counts."""

import json

import pytest

from tests.conftest import Soak
from tests.containers.conftest import Site
from tests.support.figures import Figures
from tests.support.process import wait_until

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


@pytest.mark.parametrize(("version", "way"), [("2.6", "shared"), ("3.2", "inside")])
def test_once_tells_the_steps_that_run_would_do(site: Site, version: str, way: str) -> None:
    lb = site.build(version, way=way, runtime=True)
    site.up()
    site.change(outcome="applied")
    workers = lb.workers()
    assert site.agent.stop() == 0
    before = lb.servers()
    name = site.add()
    site.register("web-1", meta={"weight": "9"})
    done = site.agent.run("once")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Without a reload" in done.stdout
    assert "weight 1 -> 9" in done.stdout
    told = json.loads(site.agent.run("once", "--output", "json").stdout)
    assert len(told["steps"]) == 2
    assert told["reload"] == []
    assert lb.servers() == before
    done = site.agent.run("once", "--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lb.servers()) == 3
    assert lb.workers() == workers
    with site.load() as load:
        load.wait_server(name)


def test_without_any_socket_each_change_is_a_reload_and_says_why(site: Site) -> None:
    site.build("3.2", way="none", runtime=True)
    site.up()
    mark = site.agent.mark()
    site.add()
    line = site.agent.wait_cycle("reloaded", since=mark)
    assert "no socket of HAProxy answers, so every change is a reload" in str(line["notes"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ["shared", "inside"])
@pytest.mark.parametrize("end", ["killed", "replaced"])
def test_a_container_that_ends_among_changes_comes_back_in_step(
    site: Site, version: str, way: str, end: str
) -> None:
    """Servers come, go and change while it ends: HAProxy, the file and Consul agree afterwards."""
    lb = site.build(version, way=way, runtime=True)
    site.up()
    agent = site.agent
    names = [site.change(outcome="applied") for _ in range(3)]
    for number in range(30):
        if number == 15:
            if end == "killed":
                lb.kill()
                lb.start()
            else:
                lb.again()
        if number % 3 == 0:
            names.append(site.add())
        elif number % 3 == 1:
            site.register(names[-1], meta={"weight": str(10 + number)})
        else:
            site.consul.deregister(names.pop(0))
    wanted = {f"127.0.0.1:{site.ports[name]}" for name in (*names, "web-1")}
    wait_until(lambda: lb.servers() == wanted, "the file in step", timeout=60)
    wait_until(lambda: agent.run("once").returncode == 0, "all in step", timeout=60)
    workers = lb.workers()
    last = site.change(outcome="applied")
    assert lb.workers() == workers
    with site.load() as load:
        load.wait_server(last)
        report = load.stop()
    assert report.failed_as == {}
    assert agent.stop() == 0
