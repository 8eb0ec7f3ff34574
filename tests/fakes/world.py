"""A world in memory for the engine: one class a port, with switches for what may go wrong."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from confsync.domain.catalog import Catalog, Instance, Service
from confsync.domain.change import Admin
from confsync.domain.loadbalancer import LoadBalancer, Problem
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.domain.running import Observed, Record, ServerState
from confsync.domain.status import CycleReport, SourceState
from confsync.errors import (
    CheckRejected,
    ConfsyncError,
    RenderError,
    StateError,
    Unavailable,
    WriteError,
)
from confsync.ports import Staged

MAIN = "/etc/haproxy/haproxy.cfg"
MAP = "/etc/haproxy/hosts.map"


def catalog(**services: int) -> Catalog:
    """Make services with so many instances each, on 10.0.0.N:80."""
    return Catalog(
        services=tuple(
            Service(
                name=name,
                instances=tuple(
                    Instance(id=f"{name}{n}", address=f"10.0.0.{n}", port=80, node=f"n{n}")
                    for n in range(1, count + 1)
                ),
            )
            for name, count in sorted(services.items())
        )
    )


class Renderer:
    """Writes a backend a service, one server a line."""

    def __init__(self) -> None:
        self.error: RenderError | None = None
        self.secrets: tuple[str, ...] = ()
        self.section = ""
        """Lines of each backend."""
        self.head = "global\n    maxconn 100\nfrontend front\n    bind :80\n"

    def declared(self) -> RenderedConfig:
        return self._config(LoadBalancer())

    def render(self, balancer: LoadBalancer) -> tuple[RenderedConfig, tuple[Problem, ...]]:
        if self.error:
            raise self.error
        return self._config(balancer), ()

    def _config(self, balancer: LoadBalancer) -> RenderedConfig:
        lines = [self.head]
        for backend in balancer.backends:
            lines.append(f"backend {backend.slug}\n{self.section}")
            lines += [
                f"    server {s.server} {s.address}:{s.port} id {s.server_id} weight {s.weight}\n"
                for s in backend.instances
            ]
        hosts = "".join(f"{b.slug} {b.slug}\n" for b in balancer.backends)
        return RenderedConfig(
            files=(
                RenderedFile(destination=MAIN, text="".join(lines), template="main"),
                RenderedFile(destination=MAP, text=hosts, template="map"),
            ),
            secrets=self.secrets,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    config: RenderedConfig
    paths: Mapping[str, str]


class Store:
    """Destinations in a dict; every operation is written down."""

    near = True

    def __init__(self) -> None:
        self.disk: dict[str, str] = {}
        self.stamps: dict[str, float] = {}
        self.now = 0.0
        self.done: list[str] = []
        self.previous: dict[str, str | None] | None = None
        """Until it is settled: what `restore` puts back, however many promotions follow."""
        self.rejected = ""
        self.kept: dict[str, str] = {}
        self.stage_error: ConfsyncError | None = None
        self.prepare_error: ConfsyncError | None = None
        self.promote_error: ConfsyncError | None = None

    def put(self, name: str, text: str) -> None:
        self.disk[name] = text
        self.stamps[name] = self.now

    def read(self, destinations: tuple[str, ...]) -> dict[str, str | None]:
        return {d: self.disk.get(d) for d in destinations}

    def stage(self, config: RenderedConfig, only: tuple[str, ...]) -> Candidate:
        if self.stage_error:
            raise self.stage_error
        self.done.append("stage")
        return Candidate(config=config, paths={d: f"{d}.staged" for d in only})

    def prepare(self, staged: Staged) -> None:
        if self.prepare_error:
            raise self.prepare_error

    def promote(self, staged: Staged, *, quick: bool = False) -> None:
        if self.promote_error:
            raise self.promote_error
        self.done.append("quick" if quick else "promote")
        if self.previous is None:
            files = staged.config.files
            self.previous = {f.destination: self.disk.get(f.destination) for f in files}
        for file in staged.config.files:
            if file.destination in staged.paths:
                self.put(file.destination, file.text)

    def discard(self, staged: Staged, why: str = "") -> str:
        self.done.append("discard")
        self.rejected = why
        return "kept in rejected" if why else ""

    def restore(self) -> tuple[str, ...]:
        self.done.append("restore")
        if self.previous is None:
            raise WriteError("nothing was promoted that could be taken back")
        previous, self.previous = self.previous, None
        for name, text in previous.items():
            if text is None:
                self.disk.pop(name, None)
            else:
                self.put(name, text)
        return tuple(previous)

    def settle(self) -> None:
        self.done.append("settle")
        self.previous = None

    def keep_foreign(self, destination: str, text: str) -> str:
        self.kept[f"foreign{destination}"] = text
        return f"foreign{destination}"

    def keep_original(self, destination: str, text: str) -> str:
        self.kept[f"original{destination}"] = text
        return f"original{destination}"

    def fingerprint(
        self, destinations: tuple[str, ...]
    ) -> tuple[tuple[int, int, int, int] | None, ...]:
        found: list[tuple[int, int, int, int] | None] = []
        for name in destinations:
            if name not in self.disk:
                found.append(None)
                continue
            stamp = int(self.stamps[name] * 1e9)
            found.append((stamp, 1, len(self.disk[name]), stamp))
        return tuple(found)


class State:
    """A state directory in memory; `error` makes every save fail."""

    def __init__(self) -> None:
        self.catalog: Catalog | None = None
        self.record: Record | None = None
        self.values: dict[str, object] = {}
        self.error: StateError | None = None

    def load_catalog(self) -> Catalog | None:
        return self.catalog

    def save_catalog(self, catalog: Catalog) -> None:
        self._fail()
        self.catalog = catalog

    def load_record(self) -> Record | None:
        return self.record

    def save_record(self, record: Record) -> None:
        self._fail()
        self.record = record

    def load(self, name: str) -> object:
        return self.values.get(name)

    def save(self, name: str, value: object) -> None:
        self._fail()
        self.values[name] = json.loads(json.dumps(value))

    def _fail(self) -> None:
        if self.error:
            raise self.error


class Haproxy:
    """A running HAProxy: loads what the store has when it is reloaded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.running = True
        self.pid = 100
        self.started = 1000.0
        self.loaded = ""
        self.reloads = 0
        self.checks = 0
        self.refuses: Callable[[Staged | None], bool] = lambda _: False
        self.check_error: ConfsyncError | None = None
        self.ready_error: ConfsyncError | None = None
        self.reload_error: ConfsyncError | None = None
        self.observe_error: ConfsyncError | None = None
        self.servers_error: ConfsyncError | None = None
        self.down: set[str] = set()
        self.notes: tuple[str, ...] = ()
        self.unfit = ""
        self.place = ""
        self.table: dict[tuple[str, str], Row] = {}
        self.loading = 0
        """Looks that see a reload under way."""
        self.gate = asyncio.Event()
        self.gate.set()

    def start(self) -> None:
        """Start anew with what is on disk."""
        self.running = True
        self.pid += 1
        self.started = self.store.now
        self.loaded = self.store.disk.get(MAIN, "")
        self.table = rows(self.loaded)

    async def observe(self) -> Observed:
        if self.observe_error:
            raise self.observe_error
        if not self.running:
            return Observed(running=False, why="no socket")
        if self.loading:
            self.loading -= 1
            return Observed(running=True, loading=True)
        return Observed(
            running=True,
            version="3.0",
            master_pid=1,
            worker_pid=self.pid,
            worker_started=self.started,
            master=True,
            notes=self.notes,
            unfit=self.unfit,
            place=self.place,
        )

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        self.checks += 1
        if self.check_error:
            raise self.check_error
        if self.refuses(staged):
            raise CheckRejected("refused", detail="line 3: no")
        return ("a warning",) if staged else ()

    async def ready(self, before: Observed) -> None:
        if self.ready_error:
            raise self.ready_error

    async def reload(self, before: Observed) -> Observed:
        await self.gate.wait()
        if self.reload_error:
            raise self.reload_error
        self.reloads += 1
        self.start()
        return await self.observe()

    async def servers(self) -> tuple[ServerState, ...]:
        if self.servers_error:
            raise self.servers_error
        return self.states()

    def states(self) -> tuple[ServerState, ...]:
        """List all servers."""
        return tuple(
            ServerState(
                backend=backend,
                server=server,
                address=row.address,
                port=row.port,
                up=server not in self.down,
                checked=True,
            )
            for (backend, server), row in self.table.items()
        )

    def serving(self) -> set[str]:
        """Name the servers that get requests."""
        return {
            f"{backend}/{server}"
            for (backend, server), row in self.table.items()
            if row.state is Admin.READY and row.weight
        }


@dataclass(slots=True)
class Row:
    """A server as HAProxy has it now."""

    address: str
    port: int
    weight: int = 1
    state: Admin = Admin.READY


def rows(text: str) -> dict[tuple[str, str], Row]:
    """Read the servers of a text."""
    found, backend = {}, ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["backend"]:
            backend = words[1]
        elif words[:1] == ["server"]:
            address, _, port = words[2].rpartition(":")
            weight = int(words[words.index("weight") + 1]) if "weight" in words else 1
            found[backend, words[1]] = Row(address, int(port), weight)
    return found


class Registry:
    """A discoverer whose catalogs a test publishes."""

    def __init__(self) -> None:
        self.publish: Callable[[Catalog], None] | None = None
        self.tell: Callable[[SourceState], None] | None = None
        self.ready = asyncio.Event()
        self.confirmed: dict[str, Service] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.closed = False

    async def watch(
        self, publish: Callable[[Catalog], None], tell: Callable[[SourceState], None]
    ) -> None:
        self.publish, self.tell = publish, tell
        self.ready.set()
        await asyncio.Event().wait()

    async def fetch(self) -> Catalog:
        raise Unavailable("not asked for")

    async def confirm(self, name: str) -> Service:
        self.asked.append(name)
        if name in self.silent:
            await asyncio.Event().wait()
        if name not in self.confirmed:
            raise Unavailable("no leader")
        return self.confirmed[name]

    async def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class Spoken:
    """Telemetry and notifier of a test: what was said."""

    reports: list[CycleReport] = field(default_factory=list)
    news_of: list[bool] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    fields: list[dict[str, object]] = field(default_factory=list)
    is_ready: bool = False
    fed: int = 0
    line: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def cycle(self, report: CycleReport, *, news: bool) -> None:
        self.reports.append(replace(report))
        self.news_of.append(news)
        self.news.set()

    def event(self, level: str, text: str, **fields: object) -> None:
        self.events.append((level, text))
        self.fields.append(fields)

    def ready(self) -> None:
        self.is_ready = True

    def status(self, text: str) -> None:
        self.line = text

    def watchdog(self) -> None:
        self.fed += 1
