"""Everything that can change in a registry, in each of the three ways of watching."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.consul.seen import FILL, WAYS, Seen, discovering, watching
from tests.support.consul import Consul

TTL = {"TTL": "10m", "Status": "passing"}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def seen(consul: Consul, way: str) -> AsyncIterator[Seen]:
    for number in range(FILL):
        consul.register(f"s{number}", id=f"s{number}", port=80 + number)
    consul.catalog_register("other", address="10.0.0.9")
    async with watching(f"http://{consul.address}", **WAYS[way]) as found:
        await found.until(lambda: len(found.catalog.services) == FILL, "the first catalog")
        assert len(found.catalogs) == 1
        assert way in " ".join(found.state.notes)
        yield found


async def do(function: Any, *args: Any, **kwargs: Any) -> None:
    await asyncio.to_thread(function, *args, **kwargs)


async def test_life_of_a_service(consul: Consul, seen: Seen) -> None:
    await do(consul.register, "web", id="web-1", port=8080, tags=["b", "a"], meta={"k": "v"})
    await seen.until(
        lambda: seen.entries("web") == [("web-1", "127.0.0.1", 8080, "passing")], "web"
    )
    (instance,) = seen.service("web").instances
    assert (instance.tags, instance.meta) == (("b", "a"), (("k", "v"),))
    assert (instance.node, instance.datacenter) == ("testbed", "dc1")

    await do(consul.register, "web", id="web-2", port=8081, weights={"Passing": 7, "Warning": 2})
    await seen.until(lambda: len(seen.entries("web")) == 2, "the second instance")
    assert [i.weight for i in seen.service("web").instances] == [1, 7]

    await do(consul.register, "web", id="web-1", port=8080, tags=["c"])
    await seen.until(lambda: seen.service("web").instances[0].tags == ("c",), "the new tag")

    await do(consul.register, "web", id="web-1", port=9090, tags=["c"])
    await seen.until(lambda: seen.entries("web")[-1][2] == 9090, "the new port")

    await do(consul.deregister, "web-1")
    await seen.until(lambda: len(seen.entries("web")) == 1, "the first gone")
    await do(consul.deregister, "web-2")
    await seen.until(lambda: seen.catalog.get("web") is None, "the service gone")
    assert all(state.denied == () for state in seen.states)
    assert not any(catalog.index_fell for catalog in seen.catalogs)


async def test_checks_and_maintenance(consul: Consul, seen: Seen) -> None:
    def status() -> list[str]:
        return [entry[3] for entry in seen.entries("web")]

    await do(consul.register, "web", id="web", port=8080, checks=[{"TTL": "10m"}])
    await seen.until(lambda: status() == ["critical"], "a check that starts critical")
    await do(consul.check, "service:web", "pass")
    await seen.until(lambda: status() == ["passing"], "pass")
    await do(consul.check, "service:web", "warn")
    await seen.until(lambda: status() == ["warning"], "warn")
    await do(consul.check, "service:web", "fail")
    await seen.until(lambda: status() == ["critical"], "fail")
    await do(consul.maintenance, "web")
    await seen.until(lambda: status() == ["maintenance"], "maintenance")
    await do(consul.maintenance, "web", enable=False)
    await seen.until(lambda: status() == ["critical"], "maintenance over")
    await do(consul.check, "service:web", "pass")
    await seen.until(lambda: status() == ["passing"], "pass again")

    await do(consul.maintenance, None)
    await seen.until(
        lambda: {seen.entries(f"s{n}")[0][3] for n in range(FILL)} == {"maintenance"}, "the node's"
    )
    await do(consul.maintenance, None, enable=False)
    await seen.until(
        lambda: {seen.entries(f"s{n}")[0][3] for n in range(FILL)} == {"passing"}, "its end"
    )


async def test_check_that_runs_out(consul: Consul, seen: Seen) -> None:
    check = {"TTL": "300ms", "Status": "passing"}
    await do(consul.register, "web", id="web", port=8080, checks=[check])
    await seen.until(lambda: [e[3] for e in seen.entries("web")] == ["critical"], "its end")


async def test_node_goes_down_moves_and_is_forgotten(consul: Consul, seen: Seen) -> None:
    service = {"ID": "far", "Service": "web", "Port": 80}
    await do(consul.catalog_register, "other", address="10.0.0.9", service=service)
    await seen.until(lambda: seen.entries("web") == [("far", "10.0.0.9", 80, "passing")], "far")
    serf = {"CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "critical"}
    await do(consul.catalog_register, "other", address="10.0.0.9", checks=[serf])
    await seen.until(lambda: seen.entries("web")[0][3] == "critical", "the node down")
    passing = serf | {"Status": "passing"}
    await do(consul.catalog_register, "other", address="10.0.0.9", checks=[passing])
    await seen.until(lambda: seen.entries("web")[0][3] == "passing", "the node up")
    await do(consul.catalog_register, "other", address="10.0.0.10")
    await seen.until(lambda: seen.entries("web")[0][1] == "10.0.0.10", "the node's new address")
    await do(consul.catalog_deregister, "other")
    await seen.until(lambda: seen.catalog.get("web") is None, "the node gone")


async def test_new_output_and_equal_registration_publish_nothing(
    consul: Consul, seen: Seen
) -> None:
    await do(consul.register, "web", id="web", port=8080, checks=[TTL])
    await seen.until(lambda: seen.entries("web"), "web")
    count = len(seen.catalogs)
    for number in range(5):
        await do(consul.check, "service:web", "pass", f"output {number}")
        await do(consul.register, "s0", id="s0", port=80)
    await do(consul.register, "last", id="last", port=1)
    await seen.until(lambda: seen.entries("last"), "what came after")
    assert len(seen.catalogs) == count + 1


async def test_odd_names_and_addresses(consul: Consul, seen: Seen) -> None:
    rows = [
        {"ID": "a", "Service": "no host", "Address": "not a host!", "Port": 0},
        {"ID": "x:y:80:udp", "Service": "what?#&%2F", "Address": "", "Port": 53, "Tags": ["udp"]},
        {"ID": "c", "Service": "ünï", "Address": "127.0.0.1:80", "Port": 70000},
        {"ID": "d", "Service": "sha256", "Port": 1, "Tags": ['"q', "a b", "%[src]", "new\nline"]},
        {"ID": "e", "Service": "a/../../agent/self", "Port": 1},
        {"ID": "f", "Service": "a/b", "Port": 1},
    ]
    for row in rows:
        await do(consul.catalog_register, "other", address="10.0.0.9", service=row)
    await seen.until(lambda: len(seen.catalog.services) == FILL + 4, "all but two")
    assert seen.entries("no host") == [("a", "not a host!", 0, "passing")]
    assert seen.entries("what?#&%2F") == [("x:y:80:udp", "10.0.0.9", 53, "passing")]
    assert seen.entries("ünï") == [("c", "127.0.0.1:80", 70000, "passing")]
    assert seen.service("sha256").instances[0].tags == ('"q', "a b", "%[src]", "new\nline")
    await seen.until(lambda: "'a/b'" in " ".join(seen.state.notes), "the note")
    async with discovering(f"http://{consul.address}") as discoverer:
        assert await discoverer.fetch() == seen.catalog


async def test_two_hundred_changes_at_once_end_in_step(consul: Consul, seen: Seen) -> None:
    def many() -> None:
        for number in range(200):
            port, name = 1000 + number, f"s{number % FILL}"
            consul.register(name, id=f"{name}-{number % 40}", port=port)
        for number in range(0, 40, 3):
            consul.deregister(f"s{number % FILL}-{number}")

    await do(many)
    async with discovering(f"http://{consul.address}") as discoverer:
        truth = await discoverer.fetch()
    await seen.until(lambda: seen.catalog == truth, "the truth")
    assert all(len(catalog.services) == FILL for catalog in seen.catalogs)


async def test_confirm(consul: Consul, way: str) -> None:
    consul.register("web", id="web", port=80)
    async with discovering(f"http://{consul.address}", **WAYS[way]) as discoverer:
        assert len((await discoverer.confirm("web")).instances) == 1
        assert (await discoverer.confirm("none")).instances == ()
