"""From a catalog that passed the guard to a rendered set: model and render."""

import asyncio
from collections.abc import Callable

from confsync.core import desired
from confsync.core.haproxy import text
from confsync.domain.catalog import Catalog, Status
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig
from confsync.domain.status import Stage
from confsync.engine.draft import Draft
from confsync.engine.keeping import keep
from confsync.engine.offloop import Work
from confsync.engine.ownplaces import OwnPlaces
from confsync.ports import Renders, StateStore


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
        self._declared: tuple[frozenset[str], OwnPlaces] | None = None
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
        reserved, places = self._declared
        own = await places.among(catalog.services)
        given = own, self._ids
        draft.fresh = catalog.fresh(self._before if given == self._given else Catalog())
        balancer, ids = await self._typing(
            draft.fresh,
            lambda: desired.desired(
                catalog,
                statuses=self._statuses,
                reserved=reserved,
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

    def _declares(self) -> tuple[frozenset[str], OwnPlaces]:
        """Find the proxies and the addresses that the templates have without any service."""
        configs = [
            f.text
            for f in self._renderer.declared().files
            if f.destination == self._main or f.destination.endswith(".cfg")
        ]
        binds = frozenset[tuple[str, int]]().union(*(text.binds(t) for t in configs))
        return (
            frozenset[str]().union(*(text.proxies(t) for t in configs)),
            OwnPlaces(binds, self._is_local),
        )
