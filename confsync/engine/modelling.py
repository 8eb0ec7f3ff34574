"""From a catalog that passed the guard to a rendered set: model and render."""

import asyncio
import time
from collections.abc import Callable

from confsync.core import desired
from confsync.core.haproxy import text
from confsync.domain.catalog import Catalog, Status
from confsync.domain.loadbalancer import LoadBalancer, Problem
from confsync.domain.rendered import RenderedConfig
from confsync.domain.status import Stage
from confsync.engine.draft import Draft
from confsync.engine.keeping import keep
from confsync.engine.offloop import work
from confsync.ports import Renders, StateStore

QUICK = 0.002
"""Seconds of work: what was rendered within is rendered on the event loop the next time."""
_ANY = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


class Modeller:
    """Makes sets of catalogs; remembers which numbers servers were given."""

    def __init__(
        self,
        *,
        main: str,
        statuses: frozenset[Status],
        renderer: Renders,
        state: StateStore,
        is_local: Callable[[str], bool],
    ) -> None:
        self._main = main
        self._statuses = statuses
        self._renderer = renderer
        self._state = state
        self._is_local = is_local
        self._ids: dict[str, int] = {}
        self._memo = desired.Memo()
        self._took = float("inf")
        self._declared: tuple[frozenset[str], frozenset[tuple[str, int]]] | None = None

    def restore(self) -> None:
        """Take up what the state directory kept. Blocking."""
        ids = self._state.load("ids")
        if isinstance(ids, dict):
            self._ids = {k: v for k, v in ids.items() if isinstance(v, int)}

    async def rendered(
        self, catalog: Catalog, draft: Draft, *, remember: bool
    ) -> tuple[LoadBalancer, RenderedConfig]:
        """Type and render a catalog. Raises RenderError."""
        with draft.stage(Stage.MODEL):
            balancer = await self._model(catalog, draft, remember=remember)
        with draft.stage(Stage.RENDER):
            config, refused = await self._render(balancer, draft.servers)
            draft.problems = (*draft.problems, *refused)
            draft.rendered(config)
        return balancer, config

    async def _render(
        self, balancer: LoadBalancer, servers: int
    ) -> tuple[RenderedConfig, tuple[Problem, ...]]:
        """Render, in a thread where it is large or took long the last time: templates may do much."""

        def timed() -> tuple[RenderedConfig, tuple[Problem, ...]]:
            begin = time.thread_time()  # a busy machine makes no work of it
            try:
                return self._renderer.render(balancer)
            finally:
                self._took = time.thread_time() - begin

        if self._took > QUICK:
            return await asyncio.to_thread(timed)
        return await work(servers, timed)

    async def _model(self, catalog: Catalog, draft: Draft, *, remember: bool) -> LoadBalancer:
        if self._declared is None:
            self._declared = await asyncio.to_thread(self._declares)
        reserved, binds = self._declared
        balancer, ids = await work(
            sum(len(s.instances) for s in catalog.services),
            lambda: desired.desired(
                catalog,
                statuses=self._statuses,
                reserved=reserved,
                loops=self._loops(catalog, binds),
                ids=self._ids,
                memo=self._memo,
            ),
        )
        if ids != self._ids and remember:
            self._ids = ids
            await keep(draft, self._state.save, "ids", ids)
        draft.problems = balancer.problems
        draft.services = len(balancer.backends)
        draft.servers = sum(len(b.instances) for b in balancer.backends)
        return balancer

    def _declares(self) -> tuple[frozenset[str], frozenset[tuple[str, int]]]:
        """Find the proxies and the addresses that the templates have without any service."""
        configs = [
            f.text
            for f in self._renderer.declared().files
            if f.destination == self._main or f.destination.endswith(".cfg")
        ]
        return (
            frozenset[str]().union(*(text.proxies(t) for t in configs)),
            frozenset[tuple[str, int]]().union(*(text.binds(t) for t in configs)),
        )

    def _loops(
        self, catalog: Catalog, binds: frozenset[tuple[str, int]]
    ) -> frozenset[tuple[str, int]]:
        """Find instances that are HAProxy's own listeners on this host: each would be a loop."""
        ports = {port for _, port in binds}
        asked = {
            (i.address, i.port) for s in catalog.services for i in s.instances if i.port in ports
        }
        anywhere = {port for address, port in binds if address in _ANY}
        return frozenset(
            (address, port)
            for address, port in asked
            if (address, port) in binds or (port in anywhere and self._is_local(address))
        )
