"""A registry in memory that answers as the client does: paths, indexes, blocking, faults.

Which change moves which path's index is as measured on Consul 1.8.7, so that a watch that waits on
the wrong path waits for ever here, too.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Self
from urllib.parse import unquote

from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.client import Mode
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import Reader
from confsync.adapters.consul.watch import Watch
from confsync.domain.catalog import Catalog, Status
from confsync.domain.status import SourceState
from confsync.errors import DiscoveryError

SERVICES = "catalog/services"
NODES = "catalog/nodes"


class Registry:
    """Fill it with `put`, hurt it with `faults`; `asked` has every request."""

    def __init__(self) -> None:
        self.index = 100
        self.nodes: dict[str, str] = {"n1": "10.0.0.1"}
        self.rows: dict[tuple[str, str], dict[str, object]] = {}
        self.checks: dict[tuple[str, str], str] = {}
        self.hidden: set[str] = set()
        self.faults: dict[str, DiscoveryError] = {}
        self.indexless: set[str] = set()
        self.filtered: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.last_contact = 0.0
        self.generation = 0
        self.asked: list[tuple[str, int, Mode]] = []
        self.blocked: dict[str, int] = {}
        self.before: Callable[[str, Mode], None] = lambda _path, _mode: None
        self._moved: dict[str, int] = {}
        self._news = asyncio.Condition()
        self._released: set[str] = set()

    # Changes

    async def put(
        self, name: str, *, one: str = "", node: str = "n1", port: int = 80, address: str = ""
    ) -> None:
        one = one or f"{name}-1"
        self.index += 1
        self.rows[node, one] = {
            "ID": one,
            "Service": name,
            "Address": address,
            "Port": port,
            "ModifyIndex": self.index,
        }
        await self._touch(SERVICES, f"health/service/{name}", f"catalog/node-services/{node}")

    async def remove(self, one: str, *, node: str = "n1") -> None:
        self.index += 1
        row = self.rows.pop((node, one))
        paths = [SERVICES, f"health/service/{row['Service']}", f"catalog/node-services/{node}"]
        if self.checks.pop((node, one), "passing") != "passing":
            paths += ["health/state/critical", "health/state/warning"]
        await self._touch(*paths)

    async def check(self, one: str, status: str, *, node: str = "n1") -> None:
        """Set the one check of an instance, or with an empty id the node's."""
        self.index += 1
        before = self.checks.get((node, one), "passing")
        self.checks[node, one] = status
        names = {
            str(row["Service"]) for (n, i), row in self.rows.items() if n == node and one in {"", i}
        }
        states = [f"health/state/{s}" for s in {before, status} - {"passing"}]
        await self._touch(*states, *(f"health/service/{name}" for name in names))

    async def node(self, name: str, address: str | None) -> None:
        """Add or move a node, or remove it with all it has."""
        self.index += 1
        names = {str(row["Service"]) for (n, _), row in self.rows.items() if n == name}
        paths = [NODES, f"catalog/node-services/{name}"]
        if address is None:
            del self.nodes[name]
            self.rows = {key: row for key, row in self.rows.items() if key[0] != name}
            self.checks = {key: status for key, status in self.checks.items() if key[0] != name}
            paths += [SERVICES, "health/state/critical", "health/state/warning"]
        else:
            self.nodes[name] = address
        await self._touch(*paths, *(f"health/service/{one}" for one in names))

    async def restart(self) -> None:
        """Come back empty, with low indexes; blocking queries have failed by then."""
        self.index = 5
        self.rows.clear()
        self.checks.clear()
        self._moved = {}

    async def fail(self, error: DiscoveryError, *paths: str) -> None:
        """Have paths (all of them: none given) fail, at once, until `mend`."""
        self.faults |= dict.fromkeys(paths or ("",), error)
        await self.wake()

    async def mend(self) -> None:
        self.faults.clear()

    async def wake(self, *paths: str) -> None:
        """End blocking queries without news, and wait until they have ended."""
        async with self._news:
            self._released |= set(paths or self.blocked)
            self._news.notify_all()
        while self._released:
            await asyncio.sleep(0)

    async def _touch(self, *paths: str) -> None:
        async with self._news:
            for path in paths:
                self._moved[path] = self.index
            self._news.notify_all()

    # The client's side

    async def get(self, path: str, *, index: int = 0, mode: Mode = Mode.STALE) -> Answer:
        self.asked.append((path, index, mode))
        hidden = frozenset(self.hidden)  # by the token that was sent with the question
        self._raise(path)
        await asyncio.sleep(0)
        if index:
            async with self._news:
                self.blocked[path] = self.blocked.get(path, 0) + 1
                try:
                    await self._news.wait_for(
                        lambda: self.index_of(path) > index or path in self._released
                    )
                finally:
                    self.blocked[path] -= 1
                    if not self.blocked[path]:
                        del self.blocked[path]
                self._released.discard(path)
        self._raise(path)
        self.before(path, mode)
        body = json.dumps(self._body(path, hidden)).encode()
        answer = Answer(
            body=body,
            asked=path,
            index=0 if path in self.indexless else self.index_of(path),
            last_contact=self.last_contact if mode is Mode.STALE else 0.0,
            filtered=path in self.filtered,
        )
        await asyncio.sleep(0)  # the way back: what follows a change may overtake its answer
        if path in self.held:
            await self.held[path].wait()
        return answer

    def index_of(self, path: str) -> int:
        return self._moved.get(path, min(self.index, 100))

    def _raise(self, path: str) -> None:
        if (error := self.faults.get(path) or self.faults.get("")) is not None:
            raise error

    def _body(self, path: str, hidden: frozenset[str]) -> object:
        match path.split("/", 2):
            case ["catalog", "services"]:
                names = {str(row["Service"]) for row in self.rows.values()}
                return {name: [] for name in sorted(names | hidden | {"consul"})}
            case ["catalog", "nodes"]:
                return [{"Node": n, "Address": address} for n, address in self.nodes.items()]
            case ["catalog", "node-services", name]:
                node = unquote(name)
                if node not in self.nodes:
                    return {"Node": None, "Services": None}
                services = [row for (n, _), row in self.rows.items() if n == node]
                own = {"Node": node, "Address": self.nodes[node]}
                return {"Node": own, "Services": services}
            case ["health", "state", state]:
                return [
                    {"Node": n, "ServiceID": i, "CheckID": "c", "Status": status}
                    for (n, i), status in self.checks.items()
                    if status == state
                ]
            case ["health", "service", name]:
                return [] if unquote(name) in hidden else self._health(unquote(name))
        raise AssertionError(path)

    def _health(self, name: str) -> list[dict[str, object]]:
        return [
            {
                "Node": {"Node": node, "Address": self.nodes[node]},
                "Service": row,
                "Checks": [
                    {"CheckID": "c", "ServiceID": i, "Status": status}
                    for (n, i), status in self.checks.items()
                    if n == node and i in {"", one}
                ],
            }
            for (node, one), row in self.rows.items()
            if row["Service"] == name
        ]

    def truth(self) -> dict[str, set[tuple[str, str, str, int, Status]]]:
        """What a catalog of this registry holds: name -> (node, id, address, port, status)."""
        found: dict[str, set[tuple[str, str, str, int, Status]]] = {}
        rank = ["passing", "warning", "critical"]
        for (node, one), row in self.rows.items():
            statuses = [
                self.checks.get((node, one), "passing"),
                self.checks.get((node, ""), "passing"),
            ]
            worst = Status(max(statuses, key=rank.index))
            address = str(row["Address"]) or self.nodes[node]
            entry = (node, one, address, int(str(row["Port"])), worst)
            found.setdefault(str(row["Service"]), set()).add(entry)
        return found


def held(catalog: Catalog) -> dict[str, set[tuple[str, str, str, int, Status]]]:
    """A catalog in the form of `Registry.truth`."""
    return {
        service.name: {(i.node, i.id, i.address, i.port, i.status) for i in service.instances}
        for service in catalog.services
    }


class Watching:
    """A watch of a registry, with what it published and told; `pauses` are the sleeps asked for."""

    def __init__(self, registry: Registry, options: ConsulOptions | None = None) -> None:
        self.registry = registry
        self.catalogs: list[Catalog] = []
        self.states: list[SourceState] = []
        self.pauses: list[float] = []
        self.options = options or ConsulOptions()
        self._task: asyncio.Task[None] | None = None
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        watch = Watch(
            Reader(self.registry, self.options, now=time.time),
            self.options,
            publish=self.catalogs.append,
            tell=self.states.append,
            now=time.time,
            sleep=self._sleep,
        )
        self._task = self._group.create_task(watch.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await self._group.__aexit__(None, None, None)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)

    @property
    def catalog(self) -> Catalog:
        return self.catalogs[-1] if self.catalogs else Catalog()

    @property
    def state(self) -> SourceState:
        return self.states[-1] if self.states else SourceState()

    async def until(self, probe: Callable[[], object], what: str = "") -> None:
        """Let the loop turn until the probe is true."""
        try:
            async with asyncio.timeout(5):
                while not probe():
                    await asyncio.sleep(0)
        except TimeoutError:
            raise AssertionError(
                f"never came: {what}; {self.catalogs[-1:]} {self.states[-1:]}"
                f" {self.registry.asked[-9:]}"
            ) from None

    async def in_step(self) -> None:
        """Wait until what is published is what the registry holds."""
        await self.until(lambda: held(self.catalog) == self.registry.truth(), "the truth")

    async def quiet(self, turns: int = 30) -> None:
        """Let everything that can go on go on."""
        for _ in range(turns):
            await asyncio.sleep(0)
