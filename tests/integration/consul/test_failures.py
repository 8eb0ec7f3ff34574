"""Consul gone, empty, refusing, limiting: nothing that works is lost, and the cause is said."""

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from confsync.errors import RegistryDenied, Unavailable
from tests.integration.consul.seen import FILL, WAYS, Seen, discovering, watching
from tests.support.consul import Consul


async def do(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(function, *args, **kwargs)


def fill(consul: Consul, count: int = FILL) -> None:
    for number in range(count):
        consul.register(f"s{number}", id=f"s{number}", port=80 + number)


def sizes(seen: Seen) -> list[int]:
    return [len(catalog.services) for catalog in seen.catalogs]


# Gone, empty


@pytest.mark.parametrize("way", WAYS)
async def test_agent_killed_and_back_empty_on_the_same_ports(consul: Consul, way: str) -> None:
    fill(consul)
    async with watching(f"http://{consul.address}", **WAYS[way]) as seen:
        await seen.until(lambda: seen.state.up, "the first catalog")
        await do(consul.kill9)
        await seen.until_told("Connection refused")
        assert not seen.state.up
        assert sizes(seen) == [FILL]
        await do(consul.start)
        await seen.until(lambda: seen.catalog.services == (), "the empty catalog")
        assert seen.catalog.index_fell
        await do(fill, consul)
        await seen.until(lambda: seen.state.up and sizes(seen)[-1] == FILL, "all back")
        await do(consul.register, "s0", id="s0", port=9999)
        await seen.until(lambda: seen.entries("s0")[0][2] == 9999, "a change after all that")


async def test_empty_at_the_very_start(consul: Consul) -> None:
    async with watching(f"http://{consul.address}") as seen:
        await seen.until(lambda: True, "the first catalog")
        assert seen.catalog.services == ()
        assert not seen.catalog.index_fell
        await do(consul.register, "web", id="web", port=80)
        await seen.until(lambda: seen.entries("web"), "web")
    async with discovering(f"http://{consul.address}") as discoverer:
        assert [s.name for s in (await discoverer.fetch()).services] == ["web"]


async def test_absent_at_the_start(tmp_path: Path) -> None:
    consul = Consul(tmp_path / "consul")
    async with watching(f"http://{consul.address}") as seen:
        await seen.until_told("Connection refused")
        assert seen.catalogs == []
        with contextlib.closing(contextlib.ExitStack()) as stack:
            stack.callback(consul.stop)
            await do(consul.start)
            await do(fill, consul)
            await seen.until(lambda: sizes(seen)[-1] == FILL, "all services")
            await seen.until(lambda: seen.state.up, "up")
    async with discovering(f"http://{consul.address}") as discoverer:
        with pytest.raises(Unavailable, match="Connection refused"):
            await discoverer.fetch()


# Tokens


async def test_tokens_wrong_weak_good_and_revoked(tmp_path: Path) -> None:
    with Consul(tmp_path / "consul", acl=True) as consul:
        fill(consul, 2)
        rules = 'service_prefix "" { policy = "read" }'
        weak = consul.create_token(rules, name="weak")
        good = consul.create_token(f'{rules}\nnode_prefix "" {{ policy = "read" }}', name="good")
        wrong = "0f0f0f0f-dead-beef-0000-secret000000"
        path = tmp_path / "token"
        path.write_text(wrong)
        address, options = f"http://{consul.address}", {"token_file": str(path), "wait": 1}

        async with discovering(address, **options) as discoverer:
            with pytest.raises(RegistryDenied, match="403") as caught:
                await discoverer.fetch()
            assert wrong not in str(caught.value)
            path.write_text(weak)
            services = (await discoverer.fetch()).services
            assert [(s.name, s.denied, s.instances) for s in services] == [
                ("s0", True, ()),
                ("s1", True, ()),
            ]
            assert (await discoverer.confirm("s0")).denied
            path.write_text(good)
            assert all(not s.denied and s.instances for s in (await discoverer.fetch()).services)

        path.write_text(wrong)
        async with watching(address, **options) as seen:
            await seen.until_told("403")
            assert seen.catalogs == []
            path.write_text(weak)
            await seen.until(lambda: seen.state.denied == ("s0", "s1"), "denied")
            assert seen.state.up
            path.write_text(good)
            await seen.until(lambda: seen.entries("s0") and not seen.state.denied, "the rotated")
            before = [seen.entries("s0"), seen.entries("s1")]
            path.write_text(weak)
            await seen.until(lambda: seen.state.denied == ("s0", "s1"), "weak again")
            assert [seen.entries("s0"), seen.entries("s1")] == before
            path.write_text(wrong)
            await seen.until_told("403")
            assert [seen.entries("s0"), seen.entries("s1")] == before
            path.write_text(good)
            await seen.until(lambda: seen.state.up and not seen.state.denied, "good again")
            assert [seen.entries("s0"), seen.entries("s1")] == before


# The agent's limit of connections


def from_elsewhere(consul: Consul, method: str, path: str, body: object = None) -> None:
    """Ask from another of loopback's addresses: Consul counts connections by client address."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", consul.port, timeout=10, source_address=("127.0.0.2", 0)
    )
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body).encode())
        assert connection.getresponse().status == 200


async def test_limit_of_connections_is_named_keeps_what_is_known_and_is_left(
    tmp_path: Path,
) -> None:
    with Consul(tmp_path / "consul", max_conns_per_client=5) as consul:
        fill(consul, 3)
        async with watching(f"http://{consul.address}", wait=1) as seen:
            await seen.until(lambda: seen.state.up, "the first catalog")
            for number in range(3, 9):
                body = {"ID": f"s{number}", "Name": f"s{number}", "Port": 80}
                await do(from_elsewhere, consul, "PUT", "/v1/agent/service/register", body)
            await seen.until_told("http_max_conns_per_client")
            body = {"ID": "s0", "Name": "s0", "Port": 9999}
            await do(from_elsewhere, consul, "PUT", "/v1/agent/service/register", body)
            await seen.until(lambda: seen.entries("s0")[0][2] == 9999, "a change that is watched")
            assert min(sizes(seen)) == 3
            for number in range(3, 9):
                path = f"/v1/agent/service/deregister/s{number}"
                await do(from_elsewhere, consul, "PUT", path)
            await seen.until(lambda: seen.state.up and sizes(seen)[-1] == 3, "recovered")


async def test_limit_reached_at_the_start_is_waited_out(tmp_path: Path) -> None:
    with Consul(tmp_path / "consul", max_conns_per_client=5) as consul:
        fill(consul, 2)
        others = [socket.create_connection(("127.0.0.1", consul.port)) for _ in range(4)]
        try:
            async with watching(f"http://{consul.address}", wait=1) as seen:
                await seen.until_told("http_max_conns_per_client")
                for other in others:
                    other.close()
                await seen.until(lambda: seen.state.up and sizes(seen)[-1] == 2, "recovered")
        finally:
            for other in others:
                other.close()


# A proxy before it that limits requests


class Proxy:
    """Forwards to Consul, or refuses with 429 and Retry-After."""

    def __init__(self, consul: Consul, session: aiohttp.ClientSession) -> None:
        self._consul = consul
        self._session = session
        self.limited = False
        self.refused: list[tuple[str, float]] = []
        self.arrived: list[tuple[str, float]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.arrived.append((request.path, time.monotonic()))
        if self.limited:
            self.refused.append((request.path, time.monotonic()))
            return web.Response(status=429, headers={"Retry-After": "2"}, text="slow down")
        url = f"http://{self._consul.address}{request.path_qs}"
        async with self._session.get(url) as answer:
            headers = {"X-Consul-Index": answer.headers["X-Consul-Index"]}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)


@contextlib.asynccontextmanager
async def proxying(consul: Consul) -> AsyncIterator[tuple[Proxy, str]]:
    async with aiohttp.ClientSession() as session:
        proxy = Proxy(consul, session)
        runner = web.ServerRunner(web.Server(proxy.handle), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield proxy, f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def test_retry_after_of_a_proxy_is_kept_to(consul: Consul) -> None:
    fill(consul, 3)
    async with proxying(consul) as (proxy, address), watching(address, wait=1) as seen:
        await seen.until(lambda: seen.state.up, "the first catalog")
        proxy.limited = True
        await seen.until_told("429")
        assert "source.connections" in seen.state.error
        await do(consul.register, "s0", id="s0", port=9999)
        await seen.until(lambda: len(proxy.refused) >= 8, "some refusals")
        proxy.limited = False
        await seen.until(lambda: seen.state.up and seen.entries("s0")[0][2] == 9999, "recovered")
        assert set(sizes(seen)) == {3}

        def tried_again(path: str, refused: float) -> list[float]:
            return [at for one, at in proxy.arrived if one == path and at > refused]

        await seen.until(lambda: all(tried_again(*one) for one in proxy.refused), "every retry")
        assert all(min(tried_again(*one)) - one[1] > 1.9 for one in proxy.refused)


async def test_proxy_without_indexes_is_polled(consul: Consul) -> None:
    fill(consul, 1)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        async with aiohttp.ClientSession() as session:
            url = f"http://{consul.address}{request.path_qs}"
            async with session.get(url) as answer:
                return web.Response(status=answer.status, body=await answer.read())

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with watching(f"http://127.0.0.1:{runner.addresses[0][1]}") as seen:
            await seen.until(lambda: seen.state.up, "the first catalog")
            await do(consul.register, "s0", id="s0", port=9999)
            await seen.until(lambda: seen.entries("s0")[0][2] == 9999, "the change")
            assert "without an index" in " ".join(seen.state.notes)
    finally:
        await runner.cleanup()
