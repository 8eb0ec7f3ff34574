"""What happens to HAProxy's container, and to its engine: noticed, converged, never an end."""

import re
import time

import pytest

from tests.containers.conftest import Site
from tests.support.agent import Agent
from tests.support.containers import docker, get
from tests.support.engine import EngineProxy
from tests.support.process import wait_until

ENDED = "HAProxy (stopped|runs|was restarted)"
"""What is told of one that ended and came back: it may be back when the agent looks why it stopped."""


def serves(site: Site, *names: str) -> None:
    """Wait until each of these servers has answered."""
    wanted = set(names)

    def all_answered() -> bool:
        wanted.discard(get("127.0.0.1", site.port, "web")[1])
        return not wanted

    wait_until(all_answered, f"answers of {', '.join(names)}")


def said(agent: Agent, words: str, since: int) -> None:
    """Wait until a line after `since` has these words."""
    agent.wait(lambda line: re.search(words, str(line)), words, since=since)


@pytest.mark.parametrize("version", ["2.6", "3.2"])
def test_while_haproxy_lives_nothing_is_lost(site: Site, version: str) -> None:
    """Renamed, paused, out of memory, its limits changed: one load over all of it."""
    lb = site.build(version, container="{name}")
    site.up()
    agent = site.agent
    with site.load(keepalive=4, close=4, streams=2) as load:
        load.wait(lambda report: report.ok > 50 and report.streams_alive == 2, "a running load")

        mark = agent.mark()
        docker("rename", lb.name, f"{lb.name}-other")
        said(agent, f"no container is named {lb.name}", mark)
        mark = agent.mark()
        added = site.add()
        agent.wait_cycle("failed", since=mark)
        load.wait_ok(30)
        docker("rename", f"{lb.name}-other", lb.name)
        agent.wait_cycle("reloaded", since=mark)
        load.wait_server(added)

        mark = agent.mark()
        before = lb.etc.joinpath("haproxy.cfg").read_text()
        docker("pause", lb.name)
        said(agent, "is paused", mark)
        added = site.add()
        agent.wait_cycle("failed", since=mark)
        assert lb.etc.joinpath("haproxy.cfg").read_text() == before
        docker("unpause", lb.name)
        agent.wait_cycle("reloaded", since=mark)
        assert not any("HAProxy stopped" in str(line) for line in agent.log()[mark:])
        load.wait_server(added)

        docker("update", "--memory", "200m", "--memory-swap", "200m", lb.name)
        hog = "exec perl -e 'my $x = \"x\" x (400 << 20); sleep 60'"
        killed = lb.status("sh", "-c", f"echo 1000 > /proc/$$/oom_score_adj; {hog}")
        assert killed == 137
        site.change(load)
        report = load.stop()
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert agent.stop() == 0


@pytest.mark.parametrize("version", ["2.6", "3.2"])
@pytest.mark.parametrize("shared", [True, False])
def test_where_haproxy_ends_it_comes_back_in_step(
    site: Site, version: str, *, shared: bool
) -> None:
    """Stopped and changed for, restarted, killed, replaced by another version: each ends in step."""
    lb = site.build(version, shared=shared, way="shared" if shared else "inside")
    lb.options = ("--restart", "unless-stopped")
    site.up()
    agent = site.agent

    mark = agent.mark()
    docker("stop", "--time", "2", lb.name)
    said(agent, "HAProxy stopped", mark)
    mark = agent.mark()
    names = [site.add()]
    agent.wait_cycle("written", since=mark)
    lb.start()
    said(agent, "HAProxy runs", mark)
    serves(site, *names)

    mark = agent.mark()
    docker("restart", "--time", "2", lb.name)
    said(agent, ENDED, mark)
    lb.wait_worker()
    names.append(site.change())
    serves(site, *names)

    mark = agent.mark()
    docker("exec", "--user", "0", lb.name, "sh", "-c", "kill -9 -1; kill -USR1 1", check=False)
    said(agent, ENDED, mark)
    lb.wait_worker()
    names.append(site.change())
    serves(site, *names)

    mark = agent.mark()
    other = {"2.6": "3.2", "3.2": "2.6"}[version]
    lb.again(version=other)
    agent.wait(
        lambda line: str(line.get("event")) in {"cycle: in step", "cycle: reloaded"},
        "the new container in step",
        since=mark,
    )
    serves(site, *names)
    names.append(site.change())
    serves(site, *names)
    wait_until(lambda: agent.status()["haproxy"]["version"].startswith(other), "its version")
    assert agent.stop() == 0


def test_a_fresh_start_of_everything_at_once(site: Site) -> None:
    """HAProxy has no file yet and is restarted over and over; nothing is registered."""
    lb = site.build("2.6")
    lb.create("--restart", "always")
    site.agent.start()
    wait_until(lambda: get("127.0.0.1", site.port)[0] == 503, "the page for no server", timeout=60)
    name = site.add()
    serves(site, name)
    assert site.agent.stop() == 0


def test_an_engine_that_is_gone_for_a_while(site: Site) -> None:
    with EngineProxy(site.folder / "docker.sock") as proxy:
        site.build("2.6", env={"DOCKER_HOST": proxy.address})
        site.up()
        agent = site.agent
        with site.load(keepalive=4, close=4, streams=1) as load:
            load.wait_ok(50)
            mark = agent.mark()
            proxy.close()
            name = site.add()
            line = agent.wait_cycle("failed", since=mark)
            assert "docker.sock" in str(line)
            began = time.monotonic()
            while time.monotonic() - began < 3:
                load.wait_ok(30)
            assert agent.status()["alive"]
            proxy.open()
            agent.wait_cycle("reloaded", since=mark)
            load.wait_server(name)
            report = load.stop()
        assert report.failed_as == {}
        assert agent.stop() == 0
