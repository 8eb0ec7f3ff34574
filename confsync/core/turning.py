"""One comparison of texts and files for a HAProxy that can be told things while it runs.

It gathers what runtime.py needs, and decides about files that are no configuration. What becomes of
the outcome is planning.py's.
"""

import bisect
import functools
from dataclasses import replace

from confsync.core import naming, runtime
from confsync.core.circumstances import Cause, Context
from confsync.core.haproxy import configuration, difference, maps, proxies, vocabulary
from confsync.core.haproxy.configuration import Configuration
from confsync.core.haproxy.servers import Server
from confsync.core.known import Loaded, Surroundings
from confsync.core.serving import MAINTENANCE
from confsync.domain.change import Admin, ReplaceMap, RetireServer
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Capabilities


class Turn:
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
        self._balancer = balancer
        self._capabilities = capabilities
        self._around = around
        self._configs = around.configs or (main,)
        self._texts = loaded.texts or {}
        self._known: dict[str, bool] = {}
        self._maps = {s.destination: s.text for s in loaded.steps if isinstance(s, ReplaceMap)}

    def compared(self) -> runtime.Comparison:
        """Tell the steps that bring what runs to the target, and why a reload is needed."""
        found = self._compared()
        sooner = self._sooner()
        return replace(
            found,
            steps=(*found.steps, *(step for step, _ in sooner)),
            reasons=(*found.reasons, *(why for _, why in sooner)),
        )

    def _sooner(self) -> list[tuple[RetireServer, str]]:
        """End the drain of those that the registry no longer has in maintenance, but lost.

        Not of one that is back: no word for its absence does not mean that it is absent.
        """
        draining = [
            one
            for one in self._loaded.leftovers
            if one.state is Admin.DRAIN and one.cause == MAINTENANCE
        ]
        if self._balancer is None or not draining:
            return []
        cause = causes(self._balancer)
        _, target = self._read()
        wanted = {
            (proxy.section.name, server.name)
            for proxy in (target.proxies.values() if target else ())
            if proxy.bearing
            for server in proxy.servers
        }
        found = []
        for one in draining:
            now = cause(one.backend, Server(name=one.server, address=one.address, port=one.port))
            if now != MAINTENANCE and (one.backend, one.server) not in wanted:
                step = RetireServer(
                    backend=one.backend, server=one.server, cause=now, delete=one.delete
                )
                found.append((step, f"backend {one.backend}: server {one.server} ({now})"))
        return found

    def changed(self, name: str) -> bool:
        """Tell whether what runs was made of another text of a file."""
        if name not in self._known:
            file = self._target.get(name)
            if name in self._maps:
                self._known[name] = file is not None and file.text != self._maps[name]
            else:
                runs = (self._loaded.files or {}).get(name)
                self._known[name] = file is not None and runs != digest(file.text)
        return self._known[name]

    def _runs(self, name: str, now: str) -> bool:
        """Tell whether a configuration that is not rendered was loaded as it is on disk now."""
        was = self._texts.get(name, now)
        return was == now or difference.equal_but_for_comments(was, now)

    def _compared(self) -> runtime.Comparison:
        replaced: list[tuple[ReplaceMap, str]] = []
        files = [
            f"{path} changed, and HAProxy reads it only when it loads"
            for path, was in self._loaded.named.items()
            if self._around.named.get(path, was) != was
        ]
        files += [
            f"{name} changed, and HAProxy reads it only when it loads"
            for name, now in self._around.texts.items()
            if name in self._configs and not self._runs(name, now)
        ]
        for file in self._target.files:
            name = file.destination
            if name in self._configs or not self.changed(name):
                continue
            step, why = self._map(name, file.seen_as or name, file.text)
            if step is not None:
                replaced.append((step, f"{name} changed"))
            elif why:
                files.append(why)
        mine = self._loaded.steps or any(self.changed(name) for name in self._configs)
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
        return self._maps.get(name, self._texts.get(name, ""))

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

    def _read(self) -> tuple[Configuration | None, Configuration | None]:
        old: list[str] = []
        new: list[str] = []
        for name in self._configs:
            file = self._target.get(name)
            before = self._texts.get(name, self._around.texts.get(name))
            after = file.text if file else before  # what is not ours changes by a load only
            if before is None or after is None:
                return None, None
            old.append(before)
            new.append(after)
        return configuration.read(tuple(old)), configuration.read(tuple(new))

    def _context(self, old: Configuration, new: Configuration) -> Context:
        @functools.cache
        def names() -> tuple[frozenset[str], frozenset[str]]:
            found = [each for pieces in old.pieces for each in proxies.named(pieces)]
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
            cause=causes(self._balancer),
            named=named,
            files=files,
            places=places,
        )


def causes(balancer: LoadBalancer | None) -> Cause:
    """Find the registry's word for a server that left: by its name, or by where it is.

    A template may name servers and sections otherwise than confsync does; a server of confsync's is
    named after its address and port, so that these find it too, if only one service has it.
    """
    backends = balancer.backends if balancer else ()

    @functools.cache
    def anywhere() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for each in backends:
            for name, status in each.absent:
                found.setdefault(name, set()).add(status.value)
        return found

    def cause(backend: str, server: Server) -> str:
        place = naming.server(server.address, server.port)
        at = bisect.bisect_left(backends, backend, key=lambda each: each.slug)
        if at < len(backends) and backends[at].slug == backend:
            own = {name: status.value for name, status in backends[at].absent}
            told = own.get(server.name) or own.get(place)
        else:
            others = anywhere().get(place, set())
            told = next(iter(others)) if len(others) == 1 else None
        return told or "deregistered"

    return cause
