"""The composition root: from settings to one turn or a check; running.py is for ever.

The only module that knows adapters by name. Imports that a command may not need stand in functions.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from confsync import __version__
from confsync.adapters.files.nothing import NoServices
from confsync.adapters.files.recovery import Recovery
from confsync.adapters.files.scratch import ScratchStore
from confsync.adapters.files.state import StateDirectory
from confsync.adapters.files.store import FileStore, StoreOptions
from confsync.adapters.files.templates import TemplateFiles, TemplateOption, TemplateOptions
from confsync.adapters.network.local import is_local
from confsync.core import guards, placement
from confsync.core.rendering import Renderer
from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog, Status
from confsync.domain.rendered import TemplateSet
from confsync.domain.running import Record
from confsync.domain.status import CycleReport
from confsync.engine import auditing, cycle, guarding, outlook
from confsync.errors import StateError, Unavailable
from confsync.ports import Discoverer
from confsync.settings.load import Loaded
from confsync.settings.model import ConsulSource, FileSource, Settings
from confsync.wiring import handwritten, reaching, variables


def control_socket(loaded: Loaded) -> str:
    """Name the agent's control socket."""
    return str(Path(loaded.settings.state.directory) / "agent.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a turn is made of. `templates`: read once, with the settings."""

    settings: Settings
    placement: placement.Placement
    templates: TemplateSet
    renderer: Renderer
    discoverer: Discoverer
    reached: reaching.Reached
    store: reaching.Store
    state: StateDirectory
    cycle: cycle.Cycle

    async def close(self) -> None:
        """Give connections back."""
        self.reached.close()
        await self.discoverer.close()

    @property
    def main(self) -> str:
        """HAProxy's main file, as confsync sees it."""
        return self.placement.local(self.settings.target.config)

    @property
    def destinations(self) -> tuple[str, ...]:
        """All files that the templates make."""
        return tuple(t.destination for t in self.templates.templates)


def _templates(loaded: Loaded, where: placement.Placement) -> TemplateSet:
    settings = loaded.settings
    options = TemplateOptions(
        base=Path(loaded.directory),
        main=settings.target.config,
        templates=(
            *(
                TemplateOption(
                    source=t.source,
                    destination=t.destination,
                    language=t.language,
                    mode=t.permissions,
                    variables=dict(t.vars),
                )
                for t in settings.template
            ),
            *handwritten.templates(loaded),
        ),
        builtin_variables=variables.builtin(settings, balancer=loaded.balancer),
        placement=where,
    )
    return TemplateFiles(options).load()


def _selection(source: ConsulSource | FileSource) -> Selection:
    return Selection(services=source.services, exclude=source.exclude, tags=source.tags)


def discoverer(source: ConsulSource | FileSource) -> Discoverer:
    """Build the source of services; Consul's client is imported only where it is used."""
    selection = _selection(source)
    if isinstance(source, FileSource):
        from confsync.adapters.files.services import ServicesFile  # noqa: PLC0415

        return ServicesFile(Path(source.path), selection)
    from confsync.adapters.consul.discoverer import ConsulDiscoverer  # noqa: PLC0415
    from confsync.adapters.consul.options import ConsulOptions  # noqa: PLC0415

    return ConsulDiscoverer(
        ConsulOptions(
            address=source.address,
            token_file=source.token_file,
            ca_file=source.ca_file,
            cert_file=source.cert_file,
            key_file=source.key_file,
            datacenter=source.datacenter,
            selection=selection,
            wait=source.wait,
            connections=source.connections,
            max_stale=source.max_stale,
        )
    )


def parts(loaded: Loaded, *, anywhere: bool = False) -> Parts:
    """Put everything together. Reads the templates; touches nothing else. Raises SettingsError.

    `anywhere`: for a check on a machine where the destinations' folders need not exist.
    """
    settings = loaded.settings
    where = reaching.placed(settings)
    main = where.local(settings.target.config)
    templates = _templates(loaded, where)
    renderer = Renderer(
        templates,
        version=__version__,
        stats_socket=settings.target.stats_socket,
        target=settings.target.type,
    )
    directory = Path(settings.state.directory)
    store = FileStore(
        StoreOptions(
            state=directory,
            main=main,
            destinations=tuple(t.destination for t in templates.templates),
        )
    )
    state = StateDirectory(directory)
    source = discoverer(settings.source) if loaded.discovers else NoServices()
    way = reaching.reached(settings, where, store, state)
    runtime, retire = settings.runtime, settings.retire
    guard = settings.guard
    return Parts(
        settings=settings,
        placement=where,
        templates=templates,
        renderer=renderer,
        discoverer=source,
        reached=way,
        store=way.store,
        state=state,
        cycle=cycle.Cycle(
            options=cycle.Options(
                main=main,
                placement=where,
                upkeep=auditing.Options(
                    drain=retire.drain,
                    leftovers=retire.leftovers,
                    audit=runtime.audit,
                    settle=runtime.settle,
                    operator=runtime.operator,
                ),
                guard=guarding.Options(
                    selection=_selection(settings.source),
                    served=frozenset(Status(s) for s in settings.source.status),
                    thresholds=guards.Thresholds(
                        share=guard.share,
                        least=guard.least,
                        window=guard.window,
                        confirm=guard.confirm,
                    ),
                ),
            ),
            discoverer=source,
            store=way.store,
            scratch=ScratchStore(anywhere=anywhere or where.mirrored),
            state=state,
            target=way.target,
            renderer=renderer,
            is_local=is_local,
            runtime=way.runtime,
            surveyor=way.surveyor,
        ),
    )


async def once(
    loaded: Loaded,
    *,
    apply: bool,
    adopt: bool = False,
    release: tuple[str, ...] = (),
    timeout: float = 10,  # noqa: ASYNC109 - of the registry's answer, as the command line gives it
) -> CycleReport:
    """One turn of `run`. Without `apply` it changes nothing and takes no lock.

    An error outside the turn (registry, lock, state) raises; inside it stands in the report.
    """
    made = parts(loaded)
    with claimed(made) if apply else contextlib.nullcontext(()) as found:
        if not apply:
            made.state.inspect()
        made.cycle.restore()
        try:
            catalog = await _fetch(made.discoverer, timeout)
            report = await made.cycle.turn(
                cycle.Turn(
                    catalog=catalog,
                    why="once",
                    apply=apply,
                    adopt=adopt,
                    paused=apply and bool(made.state.load("paused")),
                    released=frozenset(release),
                )
            )
        finally:
            await made.close()
    return replace(
        report,
        notes=(*warnings(loaded, made), *found, *made.state.notes, *report.notes),
    )


async def _fetch(source: Discoverer, seconds: float) -> Catalog:
    try:
        async with asyncio.timeout(seconds):
            return await source.fetch()
    except TimeoutError as error:
        raise Unavailable(
            f"the registry did not answer within {seconds:g} s",
            remedy="check source.address, or give --timeout more",
        ) from error


@contextlib.contextmanager
def claimed(made: Parts) -> Iterator[tuple[str, ...]]:
    """Lock the state directory and mend what a crash left; yields what was found, in words.

    What cannot be kept of it, on a full disk, is known to this process, and the journal stays.
    """
    with made.state:
        found = made.store.recover()
        notes = found.notes
        try:
            _remember(made.state, found)
        except StateError as error:
            notes = (*notes, f"not kept for a restart: {error}")
        yield notes


def _remember(state: StateDirectory, found: Recovery) -> None:
    """Have the state tell what a crash left. Raises StateError, when it tells this process alone."""
    record = state.load_record() or Record()
    # Steps to what was promoted may have been sent, and no record tells of them.
    unsure = found.unsure or any(
        record.files.get(name, told) != told for name, told in found.promoted.items()
    )
    try:
        if found.promoted:
            # What a crash left promoted is confsync's own hand, not a foreign one.
            state.save_record(replace(record, promoted={**record.promoted, **found.promoted}))
    finally:
        if unsure:
            state.save(outlook.SENDING, True)


def as_written(loaded: Loaded) -> Loaded:
    """Have a check of the load balancer's own configuration be about what somebody wrote.

    Where it is served without settings, and while there is no copy of it. Raises SettingsError.
    """
    if loaded.discovers or not handwritten.path(loaded):
        return loaded
    settings = loaded.settings
    target = settings.target.model_copy(update={"config": settings.lb.config})
    return replace(loaded, settings=settings.model_copy(update={"target": target}), as_it_is=True)


async def check(loaded: Loaded, *, services: str | None, haproxy: bool) -> CycleReport:
    """Check settings, templates and, with `haproxy`, HAProxy's own opinion; changes nothing.

    Without a settings file and services it is about HAProxy's main file as it is on disk.
    """
    made = parts(loaded, anywhere=True)
    try:
        if services is not None:
            from confsync.adapters.files.services import ServicesFile  # noqa: PLC0415

            selection = _selection(loaded.settings.source)
            catalog: Catalog | None = await ServicesFile(Path(services), selection).fetch()
        else:
            own = loaded.as_it_is or (loaded.file is None and not loaded.balancer)
            catalog = None if own and haproxy else Catalog()
        report = await made.cycle.check(catalog, haproxy=haproxy)
    finally:
        await made.close()
    return replace(report, notes=(*warnings(loaded, made), *report.notes))


def warnings(loaded: Loaded, made: Parts) -> tuple[str, ...]:
    """Say what an operator should know about the settings although they hold."""
    readable = tuple(
        f"{made.placement.told(t.destination)} has a password and everybody may read it: "
        'set mode = "0640" there'
        for t in made.templates.templates
        if t.secrets and t.mode & 0o004
    )
    return (*loaded.warnings, *handwritten.remarks(loaded), *readable)
