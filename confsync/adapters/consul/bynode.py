"""More services than connections: a few watches tell which services to read again.

Measured on Consul 1.8.7 and 1.22: catalog/node-services/NODE wakes for registrations of that node
alone, health/state/critical and /warning for every change of a status and for nothing else,
catalog/services for every registration of any service.

What a watch says is compared with the roster as levels, never as a difference to the watch's own
answer before: two changes that cancel out between two answers, with a read in between, would leave
the roster wrong for ever. For the same reason a service whose read is under way when a watch speaks
is read again. These reads are not stale: another server may not know yet what woke the watch.
"""

import asyncio
import functools
from collections.abc import Callable, Iterable
from urllib.parse import quote

from confsync.adapters.consul import translate
from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.client import Mode
from confsync.adapters.consul.following import Follower, News
from confsync.adapters.consul.reading import Reader, Reading, is_safe, service_path
from confsync.adapters.consul.roster import Roster
from confsync.domain.catalog import Status
from confsync.errors import DiscoveryError

NODES = "catalog/nodes"
STATES = ("critical", "warning")

AT_ONCE = 16
"""Reads at once: more only make each other slower."""

REST = 4
"""A sweep is followed by a rest of so many times its length: a fifth of the time at most is spent
sweeping, however fast the registry changes."""

Statuses = dict[tuple[str, str], Status]
Registrations = dict[tuple[str, str], tuple[int, str]]


class Refresher:
    """Reads single services again, each at most once at a time."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        reader: Reader,
        roster: Roster,
        follower: Follower,
    ) -> None:
        self._group = group
        self._reader = reader
        self._roster = roster
        self._follower = follower
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: set[str] = set()
        self._again: set[str] = set()
        self._lagging: set[str] = set()
        self._progress = asyncio.Event()

    def read(self, names: Iterable[str]) -> None:
        """Have services read, from now on: one that is being read is read again after."""
        for name in sorted(names):
            if name in self._running:
                self._again.add(name)
            else:
                self._running.add(name)
                self._group.create_task(self._run(name), name=f"consul {service_path(name)}")

    def doubt(self) -> None:
        """Have all that are being read read again."""
        self._again |= self._running

    async def settled(self) -> None:
        """Wait until nothing is being read but what fails and is tried again."""
        while self._running - self._lagging:
            self._progress.clear()
            await self._progress.wait()

    async def _run(self, name: str) -> None:
        path = service_path(name)
        try:
            while name in self._roster.names:
                before = self._roster.index(name)
                reading = await self._follower.persist(path, functools.partial(self._one, name))
                if reading is not None:
                    self._roster.put(reading, fell=0 < reading.index < before)
                if name not in self._again:
                    return
        finally:
            self._running.discard(name)
            self._again.discard(name)
            self._lagging.discard(name)
            self._progress.set()
            self._roster.ended(path)

    async def _one(self, name: str) -> Reading | None:
        async with self._slots:
            if name not in self._roster.names:  # gone while this waited, or between two tries
                return None
            # What is asked from here on is as new as any doubt so far.
            self._again.discard(name)
            try:
                answer = await self._reader.ask(service_path(name), mode=Mode.DEFAULT)
                return await self._reader.service(name, answer)
            except DiscoveryError:
                self._lagging.add(name)
                self._progress.set()
                raise


class _Checks:
    """The watches of critical and warning checks, for both ways."""

    def __init__(self, roster: Roster, follower: Follower, refresher: Refresher) -> None:
        self._roster = roster
        self._follower = follower
        self._refresher = refresher
        self._states: dict[str, Statuses] = {}

    async def follow(self, state: str) -> None:
        async def read(answer: Answer) -> Statuses:
            return translate.statuses(answer.rows())

        def take(news: News[Statuses]) -> None:
            self._states[state] = news.value
            if len(self._states) == len(STATES):
                self._refresher.doubt()
                self._refresher.read(self._affected())

        await self._follower.follow(f"health/state/{state}", read, take)

    def _affected(self) -> set[str]:
        """Find the services with an instance whose status is not the one the checks give."""
        expected: Statuses = {}
        for found in self._states.values():
            for key, status in found.items():
                expected[key] = translate.worse(status, expected.get(key, Status.PASSING))
        passing = Status.PASSING
        return {
            name
            for name, instance in self._roster.everything()
            if instance.status
            is not translate.worse(
                expected.get((instance.node, instance.id), passing),
                expected.get((instance.node, ""), passing),
            )
        }


class ByNode:
    """One blocking query a node."""

    def __init__(
        self,
        reader: Reader,
        roster: Roster,
        follower: Follower,
        *,
        most: int,
        crowded: Callable[[], None],
    ) -> None:
        """`most`: the nodes that can be watched; `crowded` is called when there are more."""
        self._reader = reader
        self._roster = roster
        self._follower = follower
        self._most = most
        self._crowded = crowded
        self._refresher: Refresher | None = None
        self._nodes: frozenset[str] = frozenset()
        self._running: set[str] = set()

    async def run(self) -> None:
        """Follow the nodes, and each of them."""
        async with asyncio.TaskGroup() as group:
            refresher = Refresher(group, self._reader, self._roster, self._follower)
            self._refresher = refresher
            checks = _Checks(self._roster, self._follower, refresher)
            for state in STATES:
                group.create_task(checks.follow(state), name=f"consul health/state/{state}")

            async def read(answer: Answer) -> frozenset[str]:
                return translate.nodes(answer.rows())

            def take(news: News[frozenset[str]]) -> None:
                self._nodes = news.value
                if len(self._nodes) > self._most or not all(map(is_safe, self._nodes)):
                    self._crowded()
                    return
                refresher.doubt()
                refresher.read(
                    {name for name, i in self._roster.everything() if i.node not in self._nodes}
                )
                for node in sorted(self._nodes - self._running):
                    self._running.add(node)
                    group.create_task(self._node(node, refresher), name=f"consul node {node}")

            # Names that stand on no node that can be seen, too; the others the nodes bring.
            refresher.read(self._roster.unknown())
            await self._follower.follow(NODES, read, take)

    def listed(self, *, moved: bool) -> None:  # noqa: ARG002 - the nodes' queries tell more
        """Read the names that are new."""
        if self._refresher is not None:
            self._refresher.read(self._roster.unknown())

    async def _node(self, node: str, refresher: Refresher) -> None:
        path = f"catalog/node-services/{quote(node, safe='')}"

        async def read(answer: Answer) -> Registrations:
            return translate.registrations(answer.table())

        def take(news: News[Registrations]) -> None:
            refresher.doubt()
            refresher.read(self._affected(node, news.value))

        try:
            await self._follower.follow(path, read, take, goes_on=lambda: node in self._nodes)
        finally:
            self._running.discard(node)

    def _affected(self, node: str, registered: Registrations) -> set[str]:
        """Find the services whose instances on a node are not the registered ones."""
        known = {
            (name, instance.id): (instance.modify_index, instance.address)
            for name, instance in self._roster.everything()
            if instance.node == node
        }
        differing = {name for (name, _), _ in known.items() ^ registered.items()}
        return differing & self._roster.names


class BySweep:
    """All services anew at each change of the list, and now and then.

    With fewer than four connections the checks cannot be watched: then often.
    """

    def __init__(
        self,
        reader: Reader,
        roster: Roster,
        follower: Follower,
        *,
        every: float,
        checks: bool,
    ) -> None:
        """`every`: seconds between two sweeps at most; `checks`: whether they are watched."""
        self._reader = reader
        self._roster = roster
        self._follower = follower
        self._every = every
        self._checks = checks
        self._refresher: Refresher | None = None
        self._due = asyncio.Event()

    async def run(self) -> None:
        """Sweep when due, rest in between."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            refresher = Refresher(group, self._reader, self._roster, self._follower)
            self._refresher = refresher
            checks = _Checks(self._roster, self._follower, refresher)
            for state in STATES if self._checks else ():
                group.create_task(checks.follow(state), name=f"consul health/state/{state}")
            while True:
                self._due.clear()
                began = loop.time()
                refresher.read(self._roster.names)
                await refresher.settled()
                await asyncio.sleep(min(REST * (loop.time() - began), self._every))
                try:
                    # A node's address changes without the list: so all is read now and then.
                    async with asyncio.timeout(self._every):
                        await self._due.wait()
                except TimeoutError:
                    continue

    def listed(self, *, moved: bool) -> None:
        """Have all read again when the list's index moved: any registration moves it."""
        if self._refresher is not None:
            self._refresher.read(self._roster.unknown())
        if moved:
            self._due.set()
