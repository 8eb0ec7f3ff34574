"""Single reads through the real client, against a registry in memory behind HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

import pytest
from aiohttp import web

from confsync.adapters.consul.client import Mode
from confsync.adapters.consul.discoverer import ConsulDiscoverer
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import Reader, is_safe
from confsync.domain.catalog import Service
from confsync.errors import RegistryDenied, Unavailable
from tests.unit.adapters.consul.registry import SERVICES, Registry, held


@contextlib.asynccontextmanager
async def discoverer_of(
    registry: Registry,
    *,
    status: Callable[[str], int] = lambda _path: 200,
    **options: object,
) -> AsyncIterator[ConsulDiscoverer]:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.split("?")[0].removeprefix("/v1/")
        mode = next((m for m in Mode if m.value in request.query), Mode.DEFAULT)
        answer = await registry.get(path, mode=mode)
        headers = {"X-Consul-Index": str(answer.index)}
        return web.Response(status=status(path), body=answer.body, headers=headers)

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    discoverer = ConsulDiscoverer(
        ConsulOptions(
            address=f"http://127.0.0.1:{runner.addresses[0][1]}",
            **options,  # type: ignore[arg-type]
        ),
        now=lambda: 5.0,
    )
    try:
        yield discoverer
    finally:
        await discoverer.close()
        await runner.cleanup()


async def test_fetch_reads_everything_once() -> None:
    registry = Registry()
    names = ["web", "b c", "ünï", "what?#&%2F", "a.b"]
    for name in names:
        await registry.put(name)
    async with discoverer_of(registry) as discoverer:
        catalog = await discoverer.fetch()
    assert held(catalog) == registry.truth()
    assert [service.name for service in catalog.services] == sorted(names)
    assert all(service.seen == 5 for service in catalog.services)
    paths = {f"health/service/{quote(name, safe='')}" for name in names}
    assert {path for path, _, _ in registry.asked} == {SERVICES} | paths


async def test_fetch_of_hundreds_needs_few_connections() -> None:
    registry = Registry()
    for number in range(200):
        await registry.put(f"s{number}")
    async with discoverer_of(registry, connections=3) as discoverer:
        assert held(await discoverer.fetch()) == registry.truth()


@pytest.mark.parametrize(
    ("status", "kind"), [(403, RegistryDenied), (500, Unavailable), (429, Unavailable)]
)
@pytest.mark.parametrize("failing", [SERVICES, "health/service/s1"])
async def test_fetch_fails_as_a_whole(status: int, kind: type[Exception], failing: str) -> None:
    registry = Registry()
    for number in range(40):
        await registry.put(f"s{number}")
    async with discoverer_of(
        registry, status=lambda path: status if path == failing else 200
    ) as discoverer:
        with pytest.raises(kind):
            await discoverer.fetch()


async def test_fetch_tells_what_is_denied() -> None:
    registry = Registry()
    await registry.put("web")
    await registry.put("secret")
    registry.hidden.add("secret")
    async with discoverer_of(registry) as discoverer:
        catalog = await discoverer.fetch()
    assert [(s.name, s.denied, len(s.instances)) for s in catalog.services] == [
        ("secret", True, 0),
        ("web", False, 1),
    ]


async def test_confirm_reads_consistently() -> None:
    registry = Registry()
    await registry.put("web")
    async with discoverer_of(registry) as discoverer:
        service = await discoverer.confirm("web")
    assert len(service.instances) == 1
    assert registry.asked == [("health/service/web", 0, Mode.CONSISTENT)]


async def test_confirm_of_an_absent_service_is_empty_and_not_denied() -> None:
    async with discoverer_of(Registry()) as discoverer:
        assert await discoverer.confirm("web") == Service(name="web")


async def test_confirm_of_a_service_that_cannot_be_read_is_denied() -> None:
    registry = Registry()
    await registry.put("web")
    registry.hidden.add("web")
    async with discoverer_of(registry) as discoverer:
        assert await discoverer.confirm("web") == Service(name="web", denied=True)


async def test_confirm_fails_when_the_registry_does() -> None:
    registry = Registry()
    async with discoverer_of(registry, status=lambda _: 500) as discoverer:
        with pytest.raises(Unavailable):
            await discoverer.confirm("web")


@pytest.mark.parametrize(
    "name", ["a/b", "", ".", "..", "a/../b", "a\nb", "a\x00", "\ud800", "x\u202e"]
)
async def test_unsafe_name_is_never_asked_for(name: str) -> None:
    assert not is_safe(name)
    registry = Registry()
    async with discoverer_of(registry) as discoverer:
        assert await discoverer.confirm(name) == Service(name=name)
    assert registry.asked == []


async def test_watch_through_http_can_be_cancelled_at_any_time() -> None:
    registry = Registry()
    await registry.put("web")
    async with discoverer_of(registry, wait=1) as discoverer:
        for turns in range(0, 60, 4):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(discoverer.watch(lambda _: None, lambda _: None))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            assert task.cancelled()


# The reader's own


def reader_of(registry: Registry) -> Reader:
    return Reader(registry, ConsulOptions(), now=lambda: 5.0)


async def test_empty_answers_share_one_reading_of_the_list() -> None:
    registry = Registry()
    reader = reader_of(registry)
    names = [f"s{number}" for number in range(30)]
    answers = [await reader.ask(f"health/service/{name}") for name in names]
    registry.asked.clear()
    found: list[object] = []

    async def read(number: int) -> None:
        found.append(await reader.service(names[number], answers[number]))

    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(read(number))
    assert found == [None] * 30
    # One for the first, and one that began after all the others had asked.
    assert registry.asked == [(SERVICES, 0, Mode.CONSISTENT)] * 2


async def test_reading_of_the_list_that_failed_is_shared_with_nobody() -> None:
    registry = Registry()
    await registry.put("web")
    reader = reader_of(registry)
    empty = await reader.ask("health/service/other")
    await registry.fail(Unavailable("no"), SERVICES)
    with pytest.raises(Unavailable):
        await reader.service("other", empty)
    await registry.mend()
    assert await reader.service("other", empty) is None


async def test_empty_answer_that_consul_says_is_filtered_is_denied_at_once() -> None:
    registry = Registry()
    registry.filtered.add("health/service/web")
    reader = reader_of(registry)
    answer = await reader.ask("health/service/web")
    registry.asked.clear()
    reading = await reader.service("web", answer)
    assert reading is not None
    assert reading.service.denied
    assert registry.asked == []


async def test_answer_with_some_rows_filtered_is_partial() -> None:
    registry = Registry()
    await registry.put("web")
    registry.filtered.add("health/service/web")
    reader = reader_of(registry)
    reading = await reader.service("web", await reader.ask("health/service/web"))
    assert reading is not None
    assert (reading.partial, reading.service.denied) == (True, False)
