"""What Consul may do to a running site, under load: nothing that still works is removed."""

import time

import pytest

from tests.conftest import Soak
from tests.integration.agent.conftest import QUICK, Site
from tests.support.figures import Figures
from tests.support.process import wait_until

pytestmark = pytest.mark.parametrize("haproxy_version", ["2.8"], indirect=True)


def test_consul_killed_and_back_empty_costs_nothing(
    site: Site, soak: Soak, figures: Figures
) -> None:
    names = [site.add() for _ in range(3)]
    site.up()
    reloads = site.haproxy.reloads()
    with site.load(streams=1) as load:
        load.wait_ok(30)
        before = site.haproxy.cfg.read_text()
        mark = site.agent.mark()
        site.consul.kill9()
        site.agent.wait(
            lambda line: line["event"] == "registry does not answer", "its silence", since=mark
        )
        assert site.agent.run("status", "--check").returncode == 69
        gone = time.monotonic()
        load.wait_ok(200)
        load.wait(lambda _: time.monotonic() > gone + soak.n(1, 30), "the outage", timeout=60)
        outage = time.monotonic() - gone
        site.consul.start()
        held = site.agent.wait(lambda line: line["event"] == "held", "the hold", since=mark)
        assert held["service"] == "the whole registry"
        assert site.haproxy.cfg.read_text() == before
        # Until every question is answered again, the registry does not count as up.
        wait_until(lambda: site.agent.run("status", "--check").returncode == 4, "the hold told")
        listed = site.agent.run("release").stdout
        assert all(str(site.ports[name]) in listed for name in names)
        for name in names:  # registrator registers them anew
            site.consul.register("web", id=name, address="127.0.0.1", port=site.ports[name])
        site.agent.wait(
            lambda line: any("filled again" in note for note in line.get("notes", ())),
            "the hold's end",
            since=mark,
        )
        added = site.add()
        load.wait_server(added)
        report = load.stop()
    figures(report, reloads=site.haproxy.reloads(), outage_seconds=round(outage))
    assert report.failed_as == {}
    assert site.haproxy.reloads() == reloads
    site.agrees()


def test_a_held_registry_is_released_by_hand(site: Site) -> None:
    site.add()
    site.up()
    mark = site.agent.mark()
    site.drop("web-1")
    site.agent.wait(lambda line: line["event"] == "held", "the hold", since=mark)
    assert site.agent.run("once").returncode == 4
    assert site.agent.run("release", "nothing").returncode == 2
    site.agent.stop()
    mark = site.agent.mark()
    site.agent.start()  # a hold survives a restart
    site.agent.wait(lambda line: line["event"] == "held", "the hold", since=mark)
    assert site.agent.run("release", "--registry").returncode == 0
    site.agent.wait_live(since=mark)
    wait_until(lambda: site.agent.run("status", "--check").returncode == 0, "all well")


def test_a_service_that_loses_too_much_is_held_then_confirmed(site: Site) -> None:
    site.agent = site.agent_with(extra=QUICK + "[guard]\nconfirm = 3\n")
    names = [site.add() for _ in range(5)]
    site.add("api")
    site.up()
    with site.load(streams=0) as load:
        load.wait_ok(30)
        mark = site.agent.mark()
        site.consul.raw("PUT", "/v1/agent/maintenance?enable=false")
        for name in names[1:]:
            site.drop(name)
        held = site.agent.wait(lambda line: line["event"] == "held", "the hold", since=mark)
        assert held["service"] == "web"
        assert held["release"] == "confsync release web"
        line = site.agent.wait(
            lambda one: any("consistent read confirms" in n for n in one.get("notes", ())),
            "the confirmation",
            since=mark,
        )
        assert line["event"] == "cycle: applied"
        report = load.stop()
    assert report.failed_as == {}
    site.agrees()


def test_checks_and_maintenance_and_tags(site: Site) -> None:
    first, second, third = site.add(), site.add(), site.add()
    site.up()
    with site.load(streams=0) as load:
        load.wait(lambda report: {first, second, third} <= set(report.servers), "all three")
        mark = site.agent.mark()
        site.consul.maintenance(third)
        line = site.agent.wait_live(since=mark)
        assert "removed (maintenance)" in str(line["done"])
        mark = site.agent.mark()
        site.consul.register(
            "web",
            id=second,
            address="127.0.0.1",
            port=site.ports[second],
            checks=[{"TTL": "1h", "Status": "critical"}],
        )
        line = site.agent.wait_live(since=mark)
        assert "removed (critical)" in str(line["done"])
        mark = site.agent.mark()
        site.consul.maintenance(third, enable=False)
        line = site.agent.wait_live(since=mark)
        assert "is back" in str(line["done"])
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    assert f"127.0.0.1:{site.ports[first]} " in site.haproxy.cfg.read_text()
    assert f"127.0.0.1:{site.ports[second]} " not in site.haproxy.cfg.read_text()
    mark = site.agent.mark()
    site.consul.register(
        "web", id=first, address="127.0.0.1", port=site.ports[first], tags=["another"]
    )
    # a tag that no template prints changes no file
    site.agent.wait_cycle("in step", since=mark)


def test_without_consul_at_the_start(site: Site) -> None:
    """Nothing at all: a 503 page. Then what Consul says. Then its last word, while it is away."""
    site.consul.stop()
    site.up()
    with site.load(streams=0, close=1, keepalive=0) as load:
        load.wait(lambda report: report.codes.get("503", 0) > 3, "the 503 page")
    mark = site.agent.mark()
    site.consul.start()
    name = site.add()
    site.agent.wait_live(since=mark)
    site.agent.stop()
    site.consul.stop()
    site.haproxy.stop()
    site.haproxy.cfg.unlink()
    mark = site.agent.mark()
    site.agent.start()
    site.agent.wait_cycle("written", since=mark)
    site.haproxy.start()
    with site.load(streams=0) as load:
        load.wait_server(name)


def test_the_file_source(site: Site) -> None:
    file = site.folder / "services.yaml"
    name = site.add()
    listing = "services:\n- name: web\n  instances:\n  - {{id: a, address: 127.0.0.1, port: {}}}\n"
    file.write_text(listing.format(site.ports[name]))
    site.agent = site.agent_with(source=f'[source]\ntype = "file"\npath = "{file}"\n')
    site.up()
    with site.load(streams=0) as load:
        load.wait_server(name)
        mark = site.agent.mark()
        file.write_text("services: [")
        site.agent.wait(
            lambda line: line["event"] == "registry does not answer", "the fault", since=mark
        )
        other = site.add()
        file.write_text(listing.format(site.ports[other]))
        site.agent.wait_live(since=mark)
        load.wait_server(other)
        report = load.stop()
    assert report.failed_as == {}


def test_hundreds_of_hostile_registrations_cost_only_themselves(site: Site) -> None:
    """500 real registrations, each with something odd: the good service is served, no line added."""
    good = site.add()
    odd = [
        "x\n  server evil 10.6.6.6:80",
        "a b",
        "%[src]",
        'q"q',
        "'s",
        "back\\slash",
        "#h",
        "$HOME",
        "{{ 7 }}",
        "{% raw %}",
        "\u2028line",
        "-f /etc/passwd",
        "é",
        "..",
        "stats",
        "global",
        "a" * 300,
        "a.b",
        "A:B",
        "x;y",
    ]
    for number in range(500):
        text = odd[number % len(odd)]
        kind = number // len(odd) % 5
        site.consul.raw(
            "PUT",
            "/v1/agent/service/register",
            {
                "ID": f"odd-{number} {text}" if kind == 0 else f"odd-{number}",
                "Name": text if kind == 1 else f"odd-{number % 40}",
                "Address": text if kind == 2 else "127.0.0.1",
                "Port": 1000 + number if kind != 3 else [0, 70000, 1, 65535][number % 4],
                "Tags": [text] if kind == 4 else [],
                "Meta": {"note": text, "weight": text[:10]},
            },
        )
    site.up()
    wait_until(lambda: site.agent.status()["source"]["up"], "the registry")
    text = site.haproxy.cfg.read_text()
    assert "10.6.6.6" not in text
    assert "evil" not in text
    names = {line.split()[0] for line in text.splitlines() if line.strip() and "#" not in line}
    assert "{{" not in text
    assert names >= {"global", "defaults", "backend", "server"}
    with site.load(streams=0) as load:
        load.wait_server(good)
        load.wait_ok(20)
        report = load.stop()
    assert report.failed_as == {}
    assert set(report.servers) == {good}
    problems = site.agent.status()["problems"]
    assert len(problems) > 50
    assert not site.agent.cycles("failed")
    site.agrees()
