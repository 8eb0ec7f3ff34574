"""The watch: the list of names, and for their health one of three ways, whichever the limit allows.

    by service   one blocking query a service: the default, precise and cheap
    by node      more services than connections: one a node (bynode.py)
    by sweep     more nodes than connections, too: everything anew at each change (bynode.py)

All tasks live in one TaskGroup: a foreseen error is retried where it happens, a bug ends the watch.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from confsync.adapters.consul import translate
from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.bynode import NODES, ByNode, BySweep
from confsync.adapters.consul.following import POLL, Follower, News, Sleep
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import (
    SERVICES,
    Listing,
    Reader,
    Reading,
    is_safe,
    service_path,
)
from confsync.adapters.consul.roster import Roster
from confsync.domain.catalog import Catalog
from confsync.domain.status import SourceState

SPARE = 2
"""Connections kept from the blocking queries, for single reads: those must not wait for a slot."""

SMALL = 4
"""Queries of the way by node beside its nodes: names, nodes, critical and warning checks."""

RETURN = 0.75
"""Share of the limit below which the way by service is taken again: no to and fro at the limit."""


class Way(Protocol):
    """One way of keeping the services of the roster fresh."""

    async def run(self) -> None:
        """Do so for ever."""

    def listed(self, *, moved: bool) -> None:
        """Hear that the list was answered, be it as before; `moved`: its index is another."""


class Watch:
    """One run of a watch."""

    def __init__(
        self,
        reader: Reader,
        options: ConsulOptions,
        *,
        publish: Callable[[Catalog], None],
        tell: Callable[[SourceState], None],
        now: Callable[[], float],
        sleep: Sleep | None = None,
    ) -> None:
        self._reader = reader
        self._options = options
        self._publish = publish
        self._tell = tell
        self._roster = Roster(now=now)
        self._follower = Follower(reader, self._roster, sleep=sleep)
        self._way: Way | None = None
        self._first_list = asyncio.Event()
        self._crowded = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report(), name="consul report")
            group.create_task(
                self._follower.follow(SERVICES, self._names, self._list), name=f"consul {SERVICES}"
            )
            group.create_task(self._ways(), name="consul ways")

    async def _report(self) -> None:
        """Tell and publish; what several queries bring in one turn of the loop goes out as one."""
        while True:
            await self._roster.changed.wait()
            self._roster.changed.clear()
            if (state := self._roster.take_state()) is not None:
                self._tell(state)
            if (catalog := self._roster.take_catalog()) is not None:
                self._publish(catalog)

    async def _names(self, answer: Answer) -> Listing:
        return self._reader.listing(answer)

    def _list(self, news: News[Listing]) -> None:
        self._roster.relist(news.value, fell=news.fell)
        self._first_list.set()
        self._judge()
        if self._way is not None and not self._crowded.is_set():
            self._way.listed(moved=news.moved)

    def _room(self) -> int:
        """Count the services that can be watched one by one."""
        return self._options.connections - SPARE - 1

    def _judge(self) -> None:
        """Have another way chosen when this one has become the wrong one."""
        count = len(self._roster.names)
        if isinstance(self._way, ByService):
            if count > self._room():
                self._crowded.set()
        elif self._way is not None and count <= self._room() * RETURN:
            self._crowded.set()

    async def _ways(self) -> None:
        await self._first_list.wait()
        while True:
            self._crowded.clear()
            self._way = await self._choose()
            self._judge()  # the list may have changed while the nodes were asked for
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self._way.run(), name="consul way")
                await self._crowded.wait()
                # What is known stays published until the next way has read it anew.
                self._way = None
                task.cancel()

    async def _choose(self) -> Way:
        connections = self._options.connections
        count = len(self._roster.names)
        if count <= self._room():
            self._roster.set_mode("watches each service by a query of its own")
            return ByService(self._reader, self._roster, self._follower, room=self._room())
        nodes = await self._follower.persist(NODES, self._nodes)
        if len(nodes) + SMALL + 1 <= connections and all(map(is_safe, nodes)):
            self._roster.set_mode(
                f"more services than its {connections} connections: watches by node"
            )
            return ByNode(
                self._reader,
                self._roster,
                self._follower,
                most=connections - SMALL - 1,
                crowded=self._crowded.set,
            )
        # The list, the two watches of checks, and one for reads.
        checks = connections >= SMALL
        every = self._options.wait if checks else min(self._options.wait, POLL)
        self._roster.set_mode(
            f"more services and nodes than its {connections} connections: reads all services anew"
            f" at each change of the list{'' if checks else f', and every {every:g} s'}"
        )
        return BySweep(self._reader, self._roster, self._follower, every=every, checks=checks)

    async def _nodes(self) -> frozenset[str]:
        return translate.nodes((await self._reader.ask(NODES)).rows())


class ByService:
    """One blocking query a service."""

    def __init__(self, reader: Reader, roster: Roster, follower: Follower, *, room: int) -> None:
        self._reader = reader
        self._roster = roster
        self._follower = follower
        self._room = room
        self._running: dict[str, asyncio.Task[None]] = {}
        self._names: frozenset[str] = frozenset()
        self._relisted = asyncio.Event()

    async def run(self) -> None:
        """Start a query for each name that has none.

        The query of a name that is gone is not cut: Consul wakes it by the same change, and 1.8.7
        keeps a cut one in its count of connections until the wait has passed. It is cut when it
        takes the room of others, or when its name comes back first: then all is asked anew.
        """
        leaving: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                self._relisted.clear()
                self._names = self._roster.names
                leaving &= self._running.keys()
                cut = leaving & self._roster.names
                leaving |= self._running.keys() - self._roster.names
                missing = self._roster.names - self._running.keys()
                if len(missing) + len(self._running) > self._room:
                    cut |= leaving
                for name in cut:
                    self._running[name].cancel()
                for name in sorted(missing):
                    self._running[name] = group.create_task(
                        self._service(name), name=f"consul {service_path(name)}"
                    )
                await self._relisted.wait()

    def listed(self, *, moved: bool) -> None:  # noqa: ARG002 - each service has its own index
        """Look for new names, unless they are those of before."""
        if self._roster.names is not self._names:
            self._relisted.set()

    async def _service(self, name: str) -> None:
        known: tuple[bytes, bool] | None = None

        async def read(answer: Answer) -> Reading | None:
            nonlocal known
            # Most answers of a quiet registry repeat the one before (an end of wait, a check's
            # output elsewhere): those are not even parsed.
            told = (answer.digest, answer.filtered)
            if told == known and self._roster.knows(name):
                return None
            reading = await self._reader.service(name, answer)
            known = told if reading is not None else None
            return reading

        def take(news: News[Reading | None]) -> None:
            if news.value is not None:
                self._roster.put(news.value, fell=news.fell)

        path = service_path(name)
        try:
            await self._follower.follow(
                path, read, take, goes_on=lambda: name in self._roster.names
            )
        finally:
            del self._running[name]
            # The name may have come back while its query ended.
            self._relisted.set()
