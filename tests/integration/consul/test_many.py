"""Two hundred services, more than connections allow."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.consul.seen import discovering, watching
from tests.support.consul import Consul

MANY = 200


def fill(consul: Consul) -> None:
    for number in range(MANY):
        name = f"s{number}"
        consul.register(name, id=name, port=1000 + number, checks=[{"TTL": "10m"}])
        consul.check(f"service:{name}", "pass")


@pytest.mark.parametrize(
    ("connections", "words"),
    [(90, "watches by node"), (5, "all services anew"), (230, "each service")],
)
async def test_two_hundred_services(tmp_path: Path, connections: int, words: str) -> None:
    with Consul(tmp_path / "consul", max_conns_per_client=260) as consul:
        fill(consul)
        address = f"http://{consul.address}"
        async with watching(address, connections=connections, wait=5) as seen:
            await seen.until(lambda: len(seen.catalog.services) == MANY, "the first catalog")
            assert len(seen.catalogs) == 1
            assert words in " ".join(seen.state.notes)
            await asyncio.to_thread(consul.check, "service:s7", "fail")
            await seen.until(lambda: seen.entries("s7")[0][3] == "critical", "the check")
            await asyncio.to_thread(consul.register, "s8", id="s8", port=9)
            await seen.until(lambda: seen.entries("s8")[0][2] == 9, "the port")
            await asyncio.to_thread(consul.maintenance, None)
            await seen.until(
                lambda: (
                    {i.status.value for s in seen.catalog.services for i in s.instances}
                    == {"maintenance"}
                ),
                "the node's maintenance",
            )
            for number in range(0, MANY, 2):
                await asyncio.to_thread(consul.deregister, f"s{number}")
            await seen.until(lambda: len(seen.catalog.services) == MANY // 2, "half of them gone")
            async with discovering(address, connections=connections) as discoverer:
                truth = await discoverer.fetch()
            await seen.until(lambda: seen.catalog == truth, "the truth")
            assert seen.state.up
            assert not any(state.error for state in seen.states)


async def test_service_too_many_and_back(consul: Consul) -> None:
    for number in range(7):
        consul.register(f"s{number}", id=f"s{number}", port=80)
    async with watching(f"http://{consul.address}", connections=10, wait=5) as seen:
        await seen.until(lambda: "each service" in " ".join(seen.state.notes), "by service")
        await asyncio.to_thread(consul.register, "s7", id="s7", port=80)
        await seen.until(lambda: "by node" in " ".join(seen.state.notes), "by node")
        await seen.until(lambda: len(seen.catalog.services) == 8, "all")
        await asyncio.to_thread(consul.register, "s0", id="s0", port=81)
        await seen.until(lambda: seen.entries("s0")[0][2] == 81, "a change")
        for number in range(5, 8):
            await asyncio.to_thread(consul.deregister, f"s{number}")
        await seen.until(lambda: "each service" in " ".join(seen.state.notes), "by service again")
        await asyncio.to_thread(consul.register, "s0", id="s0", port=82)
        await seen.until(lambda: seen.entries("s0")[0][2] == 82, "another change")
        assert min(len(catalog.services) for catalog in seen.catalogs) == 5
