"""The verbs of the scenario: what can happen to backends, and how its effect is seen.

An effect is believed only when the load client has seen it in HAProxy's answers; every wait has an
end, and what did not come by then is a fault in the ledger.
"""

import asyncio
import functools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from confsync import errors
from confsync.demo import children, ledger, registry, traffic

MARKER = "http-request deny deny_status 418"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take, in seconds.

    `patience`: a change may take to be seen. `quiet`: without an answer, after which a server counts
    as out (some 60 requests by default). `unnoticed`: between a crash and the registry's learning of
    it. `away`: the registry is gone.
    """

    patience: float = 15.0
    quiet: float = 0.7
    unnoticed: float = 1.5
    away: float = 2.0


class Hand(Protocol):
    """Where commands to a worker go; `children.Worker` is one."""

    def send(self, message: children.Message) -> None:
        """Send a command."""


class Stage:
    """A registry, backends and traffic, with HAProxy and confsync between them."""

    def __init__(
        self,
        *,
        source: registry.Registry,
        backends: Hand,
        load: Hand,
        book: ledger.Ledger,
        config: Path,
        pace: Pace | None = None,
    ) -> None:
        """`config`: HAProxy's file, to look whether a hostile text got in."""
        self._pace = pace or Pace()
        self.registry = source
        self.ledger = book
        self.faults: list[str] = []
        self._backends = backends
        self._load = load
        self._config = config
        self._live: dict[str, registry.Registration] = {}
        self._ports: dict[str, int] = {}
        self._first: dict[str, float] = {}
        self._probed: dict[str, float] = {}
        self._ended: set[str] = set()
        self._stopped: set[str] = set()
        self._news = asyncio.Event()

    def take(self, event: children.Message) -> None:
        """Take in what a worker tells."""
        match event.pop("event"):
            case "traffic":
                self.ledger.traffic = traffic.Traffic(**event)
            case "first":
                self._first[event["name"]] = event["at"]
            case "probed":
                self._probed[event["host"]] = event["at"]
            case "stopped":
                self._stopped.add(event["host"])
            case "open":
                self._ports[event["name"]] = event["port"]
            case "ended":
                self._ended.add(event["name"])
        self._news.set()

    def live(self) -> dict[str, tuple[str, ...]]:
        """Return the registered instances by service."""
        services: dict[str, list[str]] = {}
        for each in self._live.values():
            services.setdefault(each.service, []).append(each.id)
        return {name: tuple(ids) for name, ids in services.items()}

    async def appear(self, **services: int) -> str:
        """Have new services appear, each with so many instances, and traffic once they answer."""
        names = [f"{name}-{n + 1}" for name, count in services.items() for n in range(count)]
        begun = await self._register(names)
        for host in services:
            self._probed.pop(host, None)
            self._load.send({"do": "probe", "host": host, "want": "served"})
        for host in services:
            if await self._until(functools.partial(self._is_probed, host), f"{host} is served"):
                self._load.send({"do": "start", "host": host})
        return await self._answered(begun)

    async def join(self, *names: str) -> str:
        """Have instances join; an instance is called like its service, with a number."""
        return await self._answered(await self._register(names))

    async def leave(self, name: str) -> str:
        """Have an instance leave in order: out of the registry, drained, then stopped."""
        begun = time.monotonic()
        await self._deregister(name)
        if not await self._until(
            lambda: self._silent(name, begun), f"{name} gets no more requests"
        ):
            return "still asked"
        await self._end("stop", name)
        return f"last answer after {self._since(begun, name)}"

    async def crash(self, name: str) -> str:
        """Have an instance crash between two answers; the registry learns of it later."""
        before = self.ledger.traffic
        await self._end("crash", name)
        await asyncio.sleep(self._pace.unnoticed)
        begun = time.monotonic()
        await self._deregister(name)
        await self._until(lambda: self._silent(name, begun), f"{name} gets no more requests")
        after = self.ledger.traffic
        return (
            f"HAProxy asks the others: {after.requests - before.requests} requests since, "
            f"{after.failures - before.failures} failed"
        )

    async def vanish(self, host: str) -> str:
        """Have a service end: its clients first, then its instances."""
        self._load.send({"do": "stop", "host": host})
        await self._until(lambda: host in self._stopped, f"the clients of {host} stop")
        begun = time.monotonic()
        names = [each.id for each in self._live.values() if each.service == host]
        for name in names:
            await self._deregister(name)
        self._probed.pop(host, None)
        self._load.send({"do": "probe", "host": host, "want": "gone"})
        if not await self._until(lambda: host in self._probed, f"{host} is gone"):
            return "still there"
        for name in names:
            await self._end("stop", name)
        return f"503 after {_milliseconds(self._probed[host] - begun)}"

    async def attack(self, good: str) -> str:
        """Register texts made to add lines to the configuration, and a good instance beside them."""
        line = f"127.0.0.1\n    {MARKER}\n"
        hostile = (
            registry.Registration(
                service="web", id="hostile-1", address=line, port=9, tags=(line,)
            ),
            registry.Registration(
                service=f"web\n    {MARKER}\n",
                id="hostile-2",
                address=" 127.0.0.1 weight 256",
                port=9,
            ),
        )
        for registration in hostile:
            await self.registry.put(registration)
        outcome = await self.join(good)
        if re.search(rf"^\s*{MARKER}", self._config.read_text(), re.MULTILINE):
            self.faults.append("a text from the registry added a line to the configuration")
        for registration in hostile:
            await self.registry.remove(registration)
        return f"refused; the good one's {outcome}"

    async def outage(self, then: str) -> str:
        """Have the registry break and come back; an instance joins afterwards.

        The time until that one answers is shown, but is no `ledger.times`: it holds the agent's
        pause before it tries a broken registry again.
        """
        before = self.ledger.traffic
        await self.registry.lose()
        await asyncio.sleep(self._pace.away)
        during = self.ledger.traffic
        await self.registry.recover()
        outcome = await self._answered(await self._register([then]), counted=False)
        return (
            f"{during.requests - before.requests} requests without it, "
            f"{during.failures - before.failures} failed; back: {outcome}"
        )

    async def _register(self, names: Sequence[str]) -> dict[str, float]:
        for name in names:
            self._backends.send({"do": "open", "name": name})
        if not await self._until(lambda: all(n in self._ports for n in names), "backends listen"):
            raise errors.TargetUnavailable("the demo's backends do not listen")
        begun = {}
        for name in names:
            registration = registry.Registration(
                service=name.rpartition("-")[0], id=name, port=self._ports[name]
            )
            self._live[name] = registration
            self.ledger.changes += 1
            begun[name] = time.monotonic()
            await self.registry.put(registration)
        return begun

    async def _deregister(self, name: str) -> None:
        self.ledger.changes += 1
        await self.registry.remove(self._live.pop(name))

    async def _answered(self, begun: dict[str, float], *, counted: bool = True) -> str:
        await self._until(
            lambda: all(name in self._first for name in begun),
            lambda: f"{', '.join(n for n in begun if n not in self._first)} answers",
        )
        times = sorted(self._first[n] - begun[n] for n in begun if n in self._first)
        if counted:
            self.ledger.times.extend(1000 * t for t in times)
        if not times:
            return "no answer"
        if len(times) == 1:
            return f"first answer after {_milliseconds(times[0])}"
        return f"first answers after {1000 * times[0]:.0f} to {_milliseconds(times[-1])}"

    async def _end(self, how: str, name: str) -> None:
        self._backends.send({"do": how, "name": name})
        await self._until(lambda: name in self._ended, f"{name} ends")

    def _is_probed(self, host: str) -> bool:
        return host in self._probed

    def _silent(self, name: str, since: float) -> bool:
        last = self.ledger.traffic.last.get(name, 0.0)
        return time.monotonic() - max(since, last) > self._pace.quiet

    def _since(self, begun: float, name: str) -> str:
        return _milliseconds(max(0.0, self.ledger.traffic.last.get(name, begun) - begun))

    async def _until(self, reached: Callable[[], bool], what: str | Callable[[], str]) -> bool:
        """Wait for news that make `reached` true; a fault named by `what` when they never come.

        The load client tells its counts five times a second, so there are always news.
        """
        end = time.monotonic() + self._pace.patience
        while not reached():
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                words = what if isinstance(what, str) else what()
                self.faults.append(f"not within {self._pace.patience:g} s: {words}")
                return False
        return True


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
