import asyncio
import contextlib
import email.utils
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from confsync.adapters.consul.client import Client, Mode
from confsync.adapters.consul.options import ConsulOptions
from confsync.errors import DiscoveryError, RegistryDenied, SettingsError, Unavailable

NOW = 1_700_000_000.0
SECRET = "b1gs-3cr3t"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
HEADERS = {"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}


@contextlib.asynccontextmanager
async def serving(handler: Handler, path: Path | None = None) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    try:
        site: web.BaseSite
        if path is not None:
            site = web.UnixSite(runner, str(path))
            await site.start()
            yield f"unix://{path}"
        else:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def serving_bytes(answer: bytes) -> AsyncIterator[str]:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def client_of(
    address: str,
    environment: Mapping[str, str] | None = None,
    *,
    margin: float = 10,
    **options: Any,
) -> AsyncIterator[Client]:
    client = Client(
        ConsulOptions(address=address, **options),
        environment=environment or {},
        now=lambda: NOW,
        margin=margin,
    )
    try:
        yield client
    finally:
        await client.close()


def answering(
    body: str = "[]", status: int = 200, headers: Mapping[str, str] | None = None
) -> Handler:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=body, headers=HEADERS | dict(headers or {}))

    return handler


async def refusal(handler: Handler, **options: Any) -> DiscoveryError:
    async with serving(handler) as address, client_of(address, **options) as client:
        with pytest.raises(DiscoveryError) as caught:
            await client.get("catalog/services")
    said = str(caught.value)
    assert said.isprintable()
    assert caught.value.remedy
    return caught.value


# What is sent


async def sent(
    environment: Mapping[str, str] | None = None,
    *,
    path: str = "health/service/web",
    index: int = 0,
    mode: Mode = Mode.STALE,
    **options: Any,
) -> web.BaseRequest:
    requests: list[web.BaseRequest] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        requests.append(request)
        return web.Response(text="[]", headers=HEADERS)

    async with serving(handler) as address, client_of(address, environment, **options) as client:
        await client.get(path, index=index, mode=mode)
    (request,) = requests
    return request


async def test_plain_question() -> None:
    request = await sent()
    assert request.path_qs == "/v1/health/service/web?stale=1"
    assert "X-Consul-Token" not in request.headers
    assert request.headers["User-Agent"].startswith("confsync/")
    assert "gzip" not in request.headers["Accept-Encoding"]


@pytest.mark.parametrize(
    ("mode", "query"),
    [(Mode.STALE, {"stale": "1"}), (Mode.DEFAULT, {}), (Mode.CONSISTENT, {"consistent": "1"})],
)
async def test_mode(mode: Mode, query: dict[str, str]) -> None:
    assert dict((await sent(mode=mode)).query) == query


async def test_index_makes_it_wait() -> None:
    query = (await sent(index=42, wait=1.5, datacenter="dc2")).query
    assert dict(query) == {"stale": "1", "dc": "dc2", "index": "42", "wait": "1.5s"}


async def test_path_goes_out_as_it_is() -> None:
    request = await sent(path="health/service/a%3Fb%2E%2E%20c%25")
    assert request.raw_path.startswith("/v1/health/service/a%3Fb%2E%2E%20c%25?")


async def test_token_goes_into_the_header_only(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    request = await sent({"CONSUL_HTTP_TOKEN": "loses"}, token_file=str(path))
    assert request.headers["X-Consul-Token"] == SECRET
    assert SECRET not in request.path_qs
    request = await sent({"CONSUL_HTTP_TOKEN": "wins"})
    assert request.headers["X-Consul-Token"] == "wins"


async def test_environment_of_the_process_decides_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "https://192.0.2.1:1")
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    monkeypatch.setenv("CONSUL_HTTP_SSL_VERIFY", "false")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of-the-process")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    assert "X-Consul-Token" not in (await sent()).headers  # this client's own is empty


async def test_rotated_token_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers["X-Consul-Token"])
        return web.Response(text="[]", headers=HEADERS)

    async with serving(handler) as address, client_of(address, token_file=str(path)) as client:
        await client.get("x")
        assert client.generation == 1
        path.write_text("another")
        assert client.generation == 2
        await client.get("x")
    assert seen == ["one", "another"]


# What is answered


async def test_headers_are_kept() -> None:
    handler = answering(
        '{"a": []}',
        headers={"X-Consul-LastContact": "1500", "X-Consul-Results-Filtered-By-ACLs": "true"},
    )
    async with serving(handler) as address, client_of(address) as client:
        answer = await client.get("catalog/services")
    assert (answer.index, answer.last_contact, answer.filtered) == (7, 1.5, True)
    assert answer.asked == "catalog/services"
    assert answer.table() == {"a": []}


@pytest.mark.parametrize("index", ["0", "-1", "", "x", "\u0663", "1.5"])
async def test_senseless_index_is_none(index: str) -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="[]", headers={"X-Consul-Index": index})

    async with serving(handler) as address, client_of(address) as client:
        answer = await client.get("x")
    assert (answer.index, answer.last_contact, answer.filtered) == (0, 0, False)


async def test_no_leader_is_an_error() -> None:
    error = await refusal(answering(headers={"X-Consul-KnownLeader": "false"}))
    assert "knows no leader" in str(error)
    assert isinstance(error, Unavailable)


async def test_no_leader_is_not_believed_when_streaming() -> None:
    headers = {"X-Consul-KnownLeader": "false", "X-Consul-Query-Backend": "streaming"}
    async with serving(answering(headers=headers)) as address, client_of(address) as client:
        assert (await client.get("x")).rows() == []


# What is refused


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, "Missing service name", Unavailable, "http or https"),
        (401, "ACL support disabled", RegistryDenied, "source.token_file"),
        (403, "ACL not found", RegistryDenied, "source.token_file"),
        (404, "404 page not found", Unavailable, "HTTP API"),
        (429, "slow down", Unavailable, "source.connections"),
        (500, "No cluster leader", Unavailable, "agent's log"),
        (500, "No path to datacenter", Unavailable, "source.datacenter"),
        (502, "<html>\n<b>Bad\x1b[31m Gateway</b>\n", Unavailable, "agent's log"),
        (503, "x" * 5000, Unavailable, "agent's log"),
        (204, "", Unavailable, "agent's log"),
    ],
)
async def test_status(status: int, body: str, kind: type[DiscoveryError], words: str) -> None:
    error = await refusal(answering(body, status))
    assert type(error) is kind
    assert words in str(error)
    assert f"answers {status} to catalog/services" in error.what
    assert len(str(error)) < 500


async def test_redirect_is_not_followed() -> None:
    asked: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=301, headers={"Location": "/elsewhere"})

    error = await refusal(handler)
    assert "redirects are not followed" in str(error)
    assert asked == ["/v1/catalog/services"]


@pytest.mark.parametrize("status", [429, 503, 403])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("soon", 0),
        ("-3", 0),
        ("999999", 600),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
    ],
)
async def test_retry_after(status: int, value: str, seconds: float) -> None:
    error = await refusal(answering("no", status, {"Retry-After": value}))
    assert error.retry_after == seconds


async def test_token_is_masked_in_what_consul_says() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=403, text=f"unknown token {request.headers['X-Consul-Token']}")

    async with (
        serving(handler) as address,
        client_of(address, {"CONSUL_HTTP_TOKEN": SECRET}) as client,
    ):
        with pytest.raises(RegistryDenied, match=r"unknown token \*{5}") as caught:
            await client.get("x")
    assert SECRET not in repr(caught.value)


# What fails below HTTP


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "limits.http_max_conns_per_client"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1", "cut an answer short"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]", "short"),
    ],
)
async def test_broken_answer(answer: bytes, words: str) -> None:
    async with serving_bytes(answer) as address, client_of(address) as client:
        with pytest.raises(Unavailable, match=words):
            await client.get("x")


async def test_nobody_listens() -> None:
    async with serving(answering()) as address:
        pass
    async with client_of(address) as client:
        with pytest.raises(Unavailable, match="Connection refused"):
            await client.get("x")


async def test_name_that_cannot_be_resolved() -> None:
    async with client_of("http://no.such.host.invalid:8500") as client:
        with pytest.raises(Unavailable, match="cannot be resolved"):
            await client.get("x")


async def test_plain_http_where_tls_is_asked_for() -> None:
    async with serving(answering()) as plain, client_of(f"https{plain[4:]}") as client:
        with pytest.raises(Unavailable, match="TLS with"):
            await client.get("x")


@pytest.mark.fast_clock
async def test_no_answer_in_time(tmp_short: Path) -> None:
    forever = asyncio.Event()

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        await forever.wait()
        return web.Response()

    there = serving(handler, tmp_short / "consul.sock")
    async with there as address, client_of(address, wait=0.1, margin=0.05) as client:
        with pytest.raises(Unavailable, match="no answer within"):
            await client.get("x", index=1)
        forever.set()


@pytest.mark.fast_clock
async def test_blocking_query_may_take_longer_than_a_plain_one(tmp_short: Path) -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return web.Response(text="[]", headers=HEADERS)

    there = serving(handler, tmp_short / "consul.sock")
    async with there as address, client_of(address, wait=2, margin=0.05) as client:
        assert (await client.get("x", index=1)).rows() == []
        with pytest.raises(Unavailable):
            await client.get("x")


# Sockets, addresses, limits


async def test_unix_socket(tmp_short: Path) -> None:
    path = tmp_short / "consul.sock"
    async with serving(answering(), path) as address, client_of(address) as client:
        assert (await client.get("x")).rows() == []
    async with client_of(f"unix://{path}.absent") as client:
        with pytest.raises(Unavailable, match="No such file"):
            await client.get("x")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:8500",
        "ftp://x",
        "http://",
        "unix://",
        "unix://host/path",
        "http://x:99999",
        "http://x/?a=b",
        "http://[::1",
        "http://x#y",
    ],
)
def test_senseless_address(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Client(ConsulOptions(address=address))
    assert "source.address" in caught.value.faults[0]


def test_secret_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        Client(ConsulOptions(address=f"http://user:{SECRET}@127.0.0.1:8500"))
    assert "token_file" in caught.value.faults[0]
    assert SECRET not in caught.value.faults[0]


async def test_no_more_requests_at_once_than_allowed() -> None:
    now, most = 0, 0

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return web.Response(text="[]", headers=HEADERS)

    async with (
        serving(handler) as address,
        client_of(address, connections=3) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(20):
            group.create_task(client.get("x"))
    assert most == 3


async def test_connections_are_used_again() -> None:
    peers: set[object] = set()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="[]", headers=HEADERS)

    async with serving(handler) as address, client_of(address) as client:
        for _ in range(5):
            await client.get("x")
    assert len(peers) == 1


async def test_cancelled_query_gives_its_slot_back() -> None:
    arrived = asyncio.Event()
    forever = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "index" in request.query:
            arrived.set()
            await forever.wait()
        return web.Response(text="[]", headers=HEADERS)

    async with serving(handler) as address, client_of(address, connections=1) as client:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.get("x", index=1))
            await arrived.wait()
            task.cancel()
        assert (await client.get("x")).rows() == []
        forever.set()


async def test_closed_client_can_be_closed_again_and_used_again() -> None:
    async with serving(answering()) as address, client_of(address) as client:
        await client.get("x")
        await client.close()
        await client.close()
        assert (await client.get("x")).rows() == []
