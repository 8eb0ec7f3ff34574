"""From a catalog that passed the guard to a rendered set: model and render."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from confsync.core import desired, loops
from confsync.core.haproxy import text
from confsync.domain.catalog import Catalog, Status
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig
from confsync.domain.status import Stage
from confsync.engine.draft import Draft
from confsync.engine.keeping import keep
from confsync.engine.offloop import Work
from confsync.ports import Renders, StateStore

_ANY = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """What the templates have without any service. `ports` of `binds`; `anywhere`: of any address."""

    proxies: frozenset[str]
    binds: frozenset[tuple[str, int]]
    ports: frozenset[int]
    anywhere: frozenset[int]


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
        self._suspects = loops.Suspects()
        self._declared: _Declared | None = None
        self._before = Catalog()
        self._given: tuple[frozenset[tuple[str, int]], dict[str, int]] = (frozenset(), {})
        """What all services are typed with, beside themselves."""
        self._typing = Work()
        self._rendering = Work(known=False)  # templates may do much

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
            config, refused = await self._rendering(
                draft.fresh, lambda: self._renderer.render(balancer)
            )
            draft.problems = (*draft.problems, *refused)
            draft.rendered(config)
        return balancer, config

    async def _model(self, catalog: Catalog, draft: Draft, *, remember: bool) -> LoadBalancer:
        if self._declared is None:
            self._declared = await asyncio.to_thread(self._declares)
        declared = self._declared
        own = self._loops(catalog, declared)
        given = own, self._ids
        draft.fresh = catalog.fresh(self._before if given == self._given else Catalog())
        balancer, ids = await self._typing(
            draft.fresh,
            lambda: desired.desired(
                catalog,
                statuses=self._statuses,
                reserved=declared.proxies,
                loops=own,
                ids=self._ids,
                memo=self._memo,
            ),
        )
        self._before, self._given = catalog, given
        if ids != self._ids and remember:
            self._ids = ids
            await keep(draft, self._state.save, "ids", ids)
        draft.problems = balancer.problems
        draft.services = len(balancer.backends)
        draft.servers = sum(len(b.instances) for b in balancer.backends)
        return balancer

    def _declares(self) -> _Declared:
        """Find the proxies and the addresses that the templates have without any service."""
        configs = [
            f.text
            for f in self._renderer.declared().files
            if f.destination == self._main or f.destination.endswith(".cfg")
        ]
        binds = frozenset[tuple[str, int]]().union(*(text.binds(t) for t in configs))
        return _Declared(
            proxies=frozenset[str]().union(*(text.proxies(t) for t in configs)),
            binds=binds,
            ports=frozenset(port for _, port in binds),
            anywhere=frozenset(port for address, port in binds if address in _ANY),
        )

    def _loops(self, catalog: Catalog, declared: _Declared) -> frozenset[tuple[str, int]]:
        """Find instances that are HAProxy's own listeners on this host: each would be a loop."""
        return frozenset(
            (address, port)
            for address, port in self._suspects.of(catalog.services, declared.ports)
            if (address, port) in declared.binds
            or (port in declared.anywhere and self._is_local(address))
        )
