"""Decide what to do: nothing, write, or write and reload. The only place that decides.

    plan(target, disk, loaded, capabilities) -> NoChange | WritePlan | RuntimePlan | ReloadPlan

`target` is what should be, `disk` what the destinations hold, `loaded` what HAProxy runs,
`capabilities` what it can be told while it runs (None: nothing). What is not understood means reload.
"""

import functools
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from confsync.core import naming, runtime
from confsync.core.haproxy import difference, maps, proxies, text, vocabulary
from confsync.core.haproxy.servers import Server
from confsync.core.serving import MAINTENANCE, Cause, Context
from confsync.domain.change import (
    Admin,
    NoChange,
    Plan,
    ReloadPlan,
    ReplaceMap,
    RetireServer,
    RuntimePlan,
    Step,
    WritePlan,
)
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Capabilities, Leftover, Observed, Record, ServerState

MOST_REASONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What HAProxy runs. `files`: destination -> digest; None: not known, `why` says the reason.

    `running` False: no HAProxy runs; it will load the files when it starts. `steps`, `leftovers`,
    `named`: as in Record.
    """

    files: Mapping[str, str] | None = None
    texts: Mapping[str, str] | None = None
    why: str = ""
    running: bool = True
    steps: tuple[Step, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What HAProxy loads beside what is rendered.

    `configs`: all its configuration files in the order of loading, rendered ones by destination (none:
    the main file alone); `texts`: those of them that are not rendered, as they are on disk. `named`:
    path -> digest, now, of other files that the configuration names; one that is not told is not
    looked at.
    """

    configs: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)


def loaded(
    record: Record | None,
    observed: Observed,
    disk: Mapping[str, str | None],
    *,
    older: bool,
    servers: tuple[ServerState, ...] | None,
    main: str,
) -> Loaded:
    """Tell what the observed HAProxy has loaded.

    The record is believed as long as the worker is the one that it names. Without that, the files
    on disk are believed when all are `older` than the worker and the main file's servers are the
    running ones (`servers`; None: they cannot be read): HAProxy cannot print its configuration.
    """
    if not observed.running:
        return Loaded(running=False, why=observed.why)
    if record is not None and record.files and observed.same_worker(record):
        return Loaded(
            files=record.files,
            texts=record.text,
            steps=record.steps,
            leftovers=record.leftovers,
            named=record.named,
        )
    known = "HAProxy was restarted or reloaded by others" if record else "no record of what runs"
    if not older:
        return Loaded(why=f"{known}, and the files are not older than its worker")
    if servers is None:
        return Loaded(why=f"{known}, and its servers cannot be read")
    text_of_main = disk.get(main)
    if text_of_main is not None and (wrong := disagreement(text_of_main, servers)):
        return Loaded(why=f"{known}, and {wrong}")
    texts = {name: content for name, content in disk.items() if content is not None}
    return Loaded(files={name: digest(content) for name, content in texts.items()}, texts=texts)


def disagreement(main_text: str, servers: tuple[ServerState, ...]) -> str:
    """Say where the running servers differ from the literal server lines of a text ("" if not)."""
    running = {(s.backend, s.server): (_canonical(s.address), s.port) for s in servers}
    for line in text.server_lines(main_text):
        there = running.get((line.proxy, line.server))
        if there is None:
            return f"server {line.proxy}/{line.server} of the file does not run"
        if naming.is_ip(line.address) and there != (_canonical(line.address), line.port):
            return f"server {line.proxy}/{line.server} runs with {there[0]}:{there[1]}"
    return ""


def _canonical(address: str) -> str:
    """Spell an IP address as Python does: HAProxy shows `2001:db8::1` for `2001:DB8::0:1`."""
    return str(ipaddress.ip_address(address)) if naming.is_ip(address) else address


def plan(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    loaded: Loaded,
    *,
    main: str,
    balancer: LoadBalancer | None = None,
    capabilities: Capabilities | None = None,
    around: Surroundings | None = None,
    most_leftovers: int = 50,
) -> Plan:
    """Compare what should be with what is on disk and with what runs.

    `most_leftovers`: retired servers that cannot be deleted, before a reload cleans up.
    """
    stale = tuple(f.destination for f in target.files if disk.get(f.destination) != f.text)
    if not loaded.running:
        if not stale:
            return NoChange(reasons=(f"HAProxy does not run: {loaded.why}",))
        return WritePlan(
            destinations=stale,
            reasons=(
                f"HAProxy does not run ({loaded.why}): it will start with these files",
                *_against_disk(target, disk, stale, main, balancer),
            ),
        )
    if loaded.files is None:
        return ReloadPlan(
            destinations=stale,
            reasons=(loaded.why, *_against_disk(target, disk, stale, main, balancer)),
        )
    if capabilities and vocabulary.release(capabilities.version) >= vocabulary.OLDEST:
        turn = _Turn(target, loaded, main, balancer, capabilities, around or Surroundings())
        return turn.plan(disk, stale, most_leftovers)
    texts = loaded.texts or {}
    reasons: list[str] = []
    for file in target.files:
        if loaded.files.get(file.destination) == digest(file.text):
            continue
        old = texts.get(file.destination)
        reasons.extend(_differences(file.destination, old, file.text, main, balancer))
    if reasons:
        return ReloadPlan(destinations=stale, reasons=_bounded(reasons))
    if stale:
        return WritePlan(destinations=stale, reasons=_only_on_disk(target, disk, stale, main))
    return NoChange()


class _Turn:
    """One comparison for a HAProxy that can be told things while it runs."""

    def __init__(
        self,
        target: RenderedConfig,
        loaded: Loaded,
        main: str,
        balancer: LoadBalancer | None,
        capabilities: Capabilities,
        around: Surroundings,
    ) -> None:
        self._target = target
        self._loaded = loaded
        self._main = main
        self._balancer = balancer
        self._capabilities = capabilities
        self._around = around
        self._configs = around.configs or (main,)
        self._texts = loaded.texts or {}
        self._known: dict[str, bool] = {}
        self._maps = {s.destination: s.text for s in loaded.steps if isinstance(s, ReplaceMap)}

    def plan(
        self, disk: Mapping[str, str | None], stale: tuple[str, ...], most_leftovers: int
    ) -> Plan:
        found = self._compared()
        kept = sum(not one.delete for one in self._loaded.leftovers)
        reload = list(found.reload)
        if kept > most_leftovers and not reload:
            reload.append(f"{kept} retired servers that cannot be deleted: a reload ends them")
        sooner = self._sooner()
        found = replace(
            found,
            steps=(*found.steps, *(step for step, _ in sooner)),
            reasons=(*found.reasons, *(why for _, why in sooner)),
        )
        reasons = _bounded(list(found.reasons))
        then = ReloadPlan(destinations=stale, reasons=_bounded(reload)) if reload else None
        if found.steps:
            return RuntimePlan(
                destinations=() if then else stale,
                steps=found.steps,
                reasons=reasons,
                then=then,
            )
        if then:
            return then
        if stale:
            runs_so = frozenset(n for n in stale if not self._changed(n))
            return WritePlan(
                destinations=stale,
                reasons=_only_on_disk(self._target, disk, stale, self._main, runs_so),
            )
        return NoChange()

    def _sooner(self) -> list[tuple[RetireServer, str]]:
        """End the drain of those that the registry no longer has in maintenance, but lost."""
        if self._balancer is None:
            return []
        cause = _causes(self._balancer)
        found = []
        for one in self._loaded.leftovers:
            if one.state is not Admin.DRAIN or one.cause != MAINTENANCE:
                continue
            now = cause(one.backend, Server(name=one.server, address=one.address, port=one.port))
            if now != MAINTENANCE:
                step = RetireServer(
                    backend=one.backend, server=one.server, cause=now, delete=one.delete
                )
                found.append((step, f"backend {one.backend}: server {one.server} ({now})"))
        return found

    def _changed(self, name: str) -> bool:
        """Tell whether what runs was made of another text of a file."""
        if name not in self._known:
            file = self._target.get(name)
            if name in self._maps:
                self._known[name] = file is not None and file.text != self._maps[name]
            else:
                runs = (self._loaded.files or {}).get(name)
                self._known[name] = file is not None and runs != digest(file.text)
        return self._known[name]

    def _compared(self) -> runtime.Comparison:
        replaced: list[tuple[ReplaceMap, str]] = []
        files = [
            f"{path} changed, and HAProxy reads it only when it loads"
            for path, was in self._loaded.named.items()
            if self._around.named.get(path, was) != was
        ]
        for file in self._target.files:
            name = file.destination
            if name in self._configs or not self._changed(name):
                continue
            step, why = self._map(name, file.seen_as or name, file.text)
            if step is not None:
                replaced.append((step, f"{name} changed"))
            elif why:
                files.append(why)
        mine = self._loaded.steps or any(self._changed(name) for name in self._configs)
        if not mine and not files:
            return runtime.Comparison(
                steps=tuple(step for step, _ in replaced),
                reasons=tuple(why for _, why in replaced),
            )
        old, new = self._read()
        if old is None or new is None:
            return runtime.Comparison(reload=("what HAProxy has loaded is not known as a text",))
        found = runtime.compare(
            old, new, self._loaded.steps, self._context(old, new), tuple(replaced), tuple(files)
        )
        if not found.reload:
            return found
        return self._before_a_reload(found)

    def _before_a_reload(self, found: runtime.Comparison) -> runtime.Comparison:
        """Leave new map entries to the reload: what they name may not be there before it."""
        late = {
            step.destination
            for step in found.steps
            if isinstance(step, ReplaceMap)
            and not maps.fewer(maps.entries(self._running(step.destination)) or (), step.entries)
        }
        if not late:
            return found
        told = tuple(f"{name} changed" for name in sorted(late))
        return runtime.Comparison(
            steps=tuple(
                s for s in found.steps if not isinstance(s, ReplaceMap) or s.destination not in late
            ),
            reasons=tuple(why for why in found.reasons if why not in told),
            reload=(*found.reload, *told),
        )

    def _running(self, name: str) -> str:
        return self._maps.get(name) or self._texts.get(name) or ""

    def _map(self, name: str, seen_as: str, new: str) -> tuple[ReplaceMap | None, str]:
        """Say how a file that is no configuration gets into HAProxy: as a map, or why not."""
        entries = maps.entries(new)
        configs = tuple(t for n in self._configs if (t := self._texts.get(n)) is not None)
        if (
            not self._capabilities.maps
            or entries is None
            or (name not in self._texts and name not in self._maps)
            or not maps.named(seen_as, configs)
        ):
            return None, f"{name} changed" if name in self._texts else f"{name} is new"
        if maps.entries(self._running(name)) == entries:
            return None, ""
        return ReplaceMap(destination=name, name=seen_as, entries=entries, text=new), ""

    def _read(self) -> tuple[proxies.Configuration | None, proxies.Configuration | None]:
        old: list[str] = []
        new: list[str] = []
        for name in self._configs:
            file = self._target.get(name)
            beside = self._around.texts.get(name)
            before = self._texts.get(name, beside if file is None else None)
            after = file.text if file else beside
            if before is None or after is None:
                return None, None
            old.append(before)
            new.append(after)
        running = proxies.configuration(tuple(old))
        return running, proxies.configuration(tuple(new), running)

    def _context(self, old: proxies.Configuration, new: proxies.Configuration) -> Context:
        @functools.cache
        def names() -> tuple[frozenset[str], frozenset[str]]:
            found = [proxies.named_servers(p.section.text) for p in old.proxies.values()]
            return (
                frozenset[str]().union(*(n for n, _ in found)),
                frozenset[str]().union(*(t for _, t in found)),
            )

        def named(backend: str, server: str) -> tuple[bool, bool]:
            spelt = {server, f"{backend}/{server}"}
            every, tracked = names()
            return not spelt.isdisjoint(every), not spelt.isdisjoint(tracked)

        @functools.cache
        def places() -> frozenset[tuple[str, int]]:
            return frozenset(s.place for p in new.proxies.values() for s in p.servers)

        @functools.cache
        def files() -> frozenset[tuple[str, str]]:
            return frozenset(
                pair
                for p in old.proxies.values()
                for s in p.servers
                for pair in s.options
                if pair[0] in vocabulary.FILES
            )

        return Context(
            capabilities=self._capabilities,
            release=vocabulary.release(self._capabilities.version),
            leftovers={(one.backend, one.server): one for one in self._loaded.leftovers},
            cause=_causes(self._balancer),
            named=named,
            files=files,
            places=places,
        )


def _causes(balancer: LoadBalancer | None) -> Cause:
    """Find the registry's word for a server that left: by its name, or by where it is.

    A template may name servers and sections otherwise than confsync does; a server of confsync's is
    named after its address and port, so that these find it too, if only one service has it.
    """

    @functools.cache
    def absent() -> dict[str, dict[str, str]]:
        return _absent(balancer)

    @functools.cache
    def anywhere() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for servers_of in absent().values():
            for name, status in servers_of.items():
                found.setdefault(name, set()).add(status)
        return found

    def cause(backend: str, server: Server) -> str:
        place = naming.server(server.address, server.port)
        own = absent().get(backend, {})
        told = own.get(server.name) or own.get(place)
        if told is None and backend not in absent():
            others = anywhere().get(place, set())
            told = next(iter(others)) if len(others) == 1 else None
        return told or "deregistered"

    return cause


def done(
    record: Record,
    plan: RuntimePlan,
    target: RenderedConfig,
    *,
    main: str,
    now: float,
    around: Surroundings | None = None,
) -> Record:
    """Give the record of what runs once all steps of a plan are confirmed. `now`: unix seconds."""
    configs = (around or Surroundings()).configs or (main,)
    beside = (around or Surroundings()).texts
    old = proxies.configuration(
        tuple(t for n in configs if (t := record.text.get(n, beside.get(n))) is not None)
    )
    leftovers = runtime.leftovers(old, record.steps, plan.steps, record.leftovers, now)
    if plan.then is not None:
        return replace(record, steps=(*record.steps, *plan.steps), leftovers=leftovers)
    digests = target.digests()
    return replace(
        record,
        files=digests,
        text={f.destination: f.text for f in target.files},
        promoted=digests,
        steps=(),
        leftovers=leftovers,
    )


def deleted(record: Record, backend: str, server: str) -> Record:
    """Give the record once a leftover is gone from HAProxy."""
    kept = (one for one in record.leftovers if (one.backend, one.server) != (backend, server))
    return replace(record, leftovers=tuple(kept))


def _only_on_disk(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    stale: tuple[str, ...],
    main: str,
    runs_so: frozenset[str] | None = None,
) -> tuple[str, ...]:
    """Say why files are written though HAProxy needs nothing. `runs_so`: it runs these (None: all)."""
    found = []
    for name in stale:
        file, old = target.get(name), disk.get(name)
        if old is None:
            found.append(f"{name} is missing")
        elif file and name == main and difference.equal_but_for_comments(old, file.text):
            found.append(f"{name}: comments and blanks only")
        elif runs_so is not None and name not in runs_so:
            found.append(f"{name}: nothing that HAProxy would run otherwise")
        else:
            found.append(f"{name} on disk is not what HAProxy runs")
    return tuple(found)


def _against_disk(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    stale: tuple[str, ...],
    main: str,
    balancer: LoadBalancer | None,
) -> tuple[str, ...]:
    found: list[str] = []
    for name in stale:
        file = target.get(name)
        if file:
            found.extend(_differences(name, disk.get(name), file.text, main, balancer))
    return _bounded(found)


def _differences(
    name: str, old: str | None, new: str, main: str, balancer: LoadBalancer | None
) -> tuple[str, ...]:
    if old is None:
        return (f"{name} is new",)
    if name != main:
        return (f"{name} changed",)
    return difference.reasons(old, new, _absent(balancer))


def _absent(balancer: LoadBalancer | None) -> dict[str, dict[str, str]]:
    if balancer is None:
        return {}
    return {
        b.slug: {server: status.value for server, status in b.absent} for b in balancer.backends
    }


def _bounded(reasons: list[str]) -> tuple[str, ...]:
    if len(reasons) <= MOST_REASONS:
        return tuple(reasons)
    return (*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more")
