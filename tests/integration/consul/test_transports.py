"""Over a unix socket and over TLS, and what is said when that fails."""

import asyncio
from pathlib import Path

import pytest

from confsync.errors import Unavailable
from tests.integration.consul.seen import discovering, watching
from tests.support.consul import Consul
from tests.support.tls import Authority


async def test_unix_socket(tmp_short: Path) -> None:
    path = tmp_short / "http.sock"
    with Consul(tmp_short / "consul", unix_socket=path) as consul:
        consul.register("web", id="web", port=80)
        async with watching(f"unix://{path}") as seen:
            await seen.until(lambda: seen.entries("web"), "web")
            await asyncio.to_thread(consul.register, "web", id="web", port=81)
            await seen.until(lambda: seen.entries("web")[0][2] == 81, "a change")
            await asyncio.to_thread(consul.kill9)
            await seen.until(lambda: not seen.state.up, "down")
            assert seen.entries("web")[0][2] == 81


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


async def test_tls(tmp_path: Path, authority: Authority) -> None:
    with Consul(tmp_path / "consul", authority=authority) as consul:
        consul.register("web", id="web", port=80)
        address = f"https://localhost:{consul.https_port}"
        async with watching(address, ca_file=str(authority.cert)) as seen:
            await seen.until(lambda: seen.entries("web"), "web")
            await asyncio.to_thread(consul.register, "web", id="web", port=81)
            await seen.until(lambda: seen.entries("web")[0][2] == 81, "a change")
        async with discovering(address) as discoverer:
            with pytest.raises(Unavailable, match=r"certificate of .* is refused: .*ca_file"):
                await discoverer.fetch()
        async with discovering(f"https://127.0.0.1:{consul.port}") as discoverer:
            with pytest.raises(Unavailable, match=r"TLS with .* fails.*HTTPS port"):
                await discoverer.fetch()
        async with discovering(f"http://127.0.0.1:{consul.https_port}") as discoverer:
            with pytest.raises(Unavailable, match="http or https"):
                await discoverer.fetch()


async def test_tls_with_a_certificate_of_our_own(tmp_path: Path, authority: Authority) -> None:
    own = authority.sign("confsync")
    with Consul(tmp_path / "consul", authority=authority, verify_client=True) as consul:
        consul.register("web", id="web", port=80)
        address, ca_file = f"https://127.0.0.1:{consul.https_port}", str(authority.cert)
        async with discovering(
            address, ca_file=ca_file, cert_file=str(own.cert), key_file=str(own.key)
        ) as discoverer:
            assert len((await discoverer.fetch()).services) == 1
        async with discovering(address, ca_file=ca_file) as discoverer:
            with pytest.raises(Unavailable, match=r"cert_file"):
                await discoverer.fetch()
