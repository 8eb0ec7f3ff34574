"""Servers come, go and change weight without a reload: real Consul, exact counts, every version."""

from tests.conftest import Soak
from tests.integration.agent.conftest import Site
from tests.support.figures import Figures
from tests.support.process import wait_until


def states(site: Site) -> dict[str, tuple[bool, str]]:
    """Tell of each server that runs whether it is in maintenance, and its weight."""
    rows = [line.split() for line in site.haproxy.runtime("show servers state").splitlines()]
    return {
        row[3]: (bool(int(row[6]) & 1), row[7]) for row in rows if len(row) > 7 and row[0] != "#"
    }


def written(site: Site) -> set[str]:
    text = site.haproxy.cfg.read_text()
    return {line.split()[1] for line in text.splitlines() if line.strip().startswith("server ")}


def test_server_changes_need_no_reload(site: Site, soak: Soak, figures: Figures) -> None:
    rounds = soak.n(4, 100)
    agent = site.agent
    kept = [site.add(), site.add(), site.add(), site.add()]
    site.up()
    reloads = site.haproxy.reloads()
    changes = 0
    with site.load(keepalive=4, close=4, streams=2, seconds=800) as load:
        load.wait(lambda report: report.ok > 50 and report.streams_alive == 2, "a running load")
        for number in range(rounds):
            mark = agent.mark()
            name = site.add()
            agent.wait_cycle("applied", since=mark)
            load.wait_server(name)

            mark = agent.mark()
            weight = 10 + number % 50
            port = site.ports[name]
            site.consul.register(
                "web", id=name, address="127.0.0.1", port=port, meta={"weight": str(weight)}
            )
            agent.wait_cycle("applied", since=mark)
            place = f"127.0.0.1:{port}"
            assert states(site)[place] == (False, str(weight))

            mark = agent.mark()
            site.drop(name)
            agent.wait_cycle("applied", since=mark)
            load.wait_ok(30)
            assert states(site).get(place, (True, ""))[0]
            changes += 3
        report = load.stop()
    figures(report, changes=changes, reloads=site.haproxy.reloads() - reloads)
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert set(kept) <= set(report.servers)
    assert site.haproxy.reloads() == reloads
    assert not agent.cycles("failed")
    code, words = site.haproxy.check()
    assert code == 0, words
    serving = {name for name, (maint, _) in states(site).items() if not maint}
    assert serving == written(site)
    # A restarted agent neither reloads nor repeats.
    assert agent.stop() == 0
    mark = agent.mark()
    agent.start()
    agent.wait_cycle("in step", since=mark)
    assert site.haproxy.reloads() == reloads


def test_a_new_service_is_a_reload_and_says_why(site: Site) -> None:
    agent = site.agent
    site.add()
    site.up()
    before = site.haproxy.reloads()
    mark = agent.mark()
    site.add("api")
    line = agent.wait_cycle("reloaded", since=mark)
    assert "api" in str(line["done"])
    wait_until(lambda: site.haproxy.reloads() == before + 1, "one reload")
