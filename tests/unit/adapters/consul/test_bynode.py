import asyncio

from confsync.adapters.consul.bynode import Refresher
from confsync.adapters.consul.client import Mode
from confsync.adapters.consul.following import Follower
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import Listing, Reader
from confsync.adapters.consul.roster import Roster
from tests.unit.adapters.consul.registry import Registry

PATH = "health/service/web"


async def test_service_asked_for_while_it_is_read_is_read_again_once() -> None:
    registry = Registry()
    await registry.put("web")
    reader = Reader(registry, ConsulOptions(), now=lambda: 0)
    roster = Roster(now=lambda: 0)
    roster.relist(Listing(names=frozenset({"web"})), fell=False)
    registry.held[PATH] = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        refresher = Refresher(group, reader, roster, Follower(reader, roster))
        refresher.read(["web"])
        while not registry.asked:
            await asyncio.sleep(0)
        await registry.put("web", port=81)
        for _ in range(3):
            refresher.read(["web"])
        registry.held.pop(PATH).set()
        await refresher.settled()
    assert registry.asked == [(PATH, 0, Mode.DEFAULT)] * 2
    catalog = roster.take_catalog()
    assert catalog is not None
    assert catalog.services[0].instances[0].port == 81
