"""Put the demo on: find programs, start them in a folder of its own, play, and clear everything away.

The agent under show is `confsync run` in a process of its own, with a settings file as an operator
would write it; nothing in here reaches into it.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import confsync
from confsync import errors
from confsync.demo import (
    balancer,
    children,
    ledger,
    programs,
    registry,
    scenario,
    site,
    stage,
    view,
)

FIRST_CONFIG = 30.0  # seconds that the agent may take for its first configuration
FRAME = 0.125  # seconds between two pictures
COUNT = 1.0  # seconds between two looks at HAProxy's counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. `agent`: the command that `-c FILE` is added to."""

    seconds: float
    plain: bool
    haproxy: programs.Program
    consul: programs.Program | None
    agent: tuple[str, ...] = (sys.executable, "-m", "confsync", "run")


def run(
    *,
    seconds: float = 40.0,
    plain: bool = False,
    haproxy: str = "",
    consul: str = "",
    file_source: bool = False,
    color: bool = True,
) -> int:
    """Run the demo; returns 0 when nothing failed, 1 when something did, 128 + N on a signal.

    `seconds`: of the scenario; some more go into starting and ending. `plain`: lines even on a
    terminal. `haproxy`, `consul`: binaries, else found. `file_source`: no Consul even when there is
    one. `color`: where the output can show it.

    Raises ConfsyncError when the demo cannot begin (TargetUnavailable: no HAProxy).
    """
    options = Options(
        seconds=min(scenario.MOST, max(scenario.LEAST, seconds)),
        plain=plain,
        haproxy=programs.find_haproxy(haproxy),
        consul=None if file_source else programs.find_consul(consul),
    )
    return asyncio.run(perform(options, Console(no_color=None if color else True)))


async def perform(options: Options, console: Console) -> int:
    """Play until the end or a signal; in any case nothing is left."""
    received: list[signal.Signals] = []
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def interrupt(number: signal.Signals) -> None:
        # Only the first one cancels: a second must not tear the clearing away.
        if not received:
            task.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt, number)
    try:
        return await _in_folder(options, console)
    except asyncio.CancelledError:
        if not received:
            raise
        console.print("Interrupted; everything that the demo started has ended.")
        return 128 + received[0]


async def _in_folder(options: Options, console: Console) -> int:
    folder = site.folder(site.places())
    book = ledger.Ledger()
    try:
        port, stats_port = site.free_ports(2)
        place = site.Site(folder=folder, port=port, stats_port=stats_port)
        async with contextlib.AsyncExitStack() as closing:
            await _Show(options, place, book, console, closing).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    left_out = len(scenario.steps(("", ""))) - len(book.steps)
    view.summary(
        console, book, programs=_versions(options), left_out=0 if book.faults else left_out
    )
    return 1 if book.verdict() else 0


class _Show:
    """One performance; `closing` ends, in reverse order, what was started."""

    def __init__(
        self,
        options: Options,
        place: site.Site,
        book: ledger.Ledger,
        console: Console,
        closing: contextlib.AsyncExitStack,
    ) -> None:
        self._options = options
        self._place = place
        self._book = book
        self._closing = closing
        self._view = view.choose(console, plain=options.plain, title=_versions(options))
        self._watches: list[asyncio.Task[None]] = []
        self._act: stage.Stage | None = None
        self._load: children.Worker | None = None

    async def run(self) -> None:
        """Start everything, perform, and count to the end.

        Raises ConfsyncError for what goes wrong before the scenario begins; later it is a fault in
        the ledger.
        """
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._start(group)
                    await self._perform(group)
                finally:
                    for task in self._watches:
                        task.cancel()
        except BaseExceptionGroup as failures:
            ours, others = failures.split(errors.ConfsyncError)
            if others is not None:
                raise
            assert ours is not None
            first = _first(ours)
            if self._act is None:
                raise first from None
            self._book.faults.append(f"{first}\n{first.detail}" if first.detail else str(first))
        assert self._act is not None
        assert self._load is not None
        # The clients finish their requests, whatever has happened: what they meet is counted.
        self._load.finish()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._load.events(self._act.take), 15)
        await self._count()

    async def _start(self, group: asyncio.TaskGroup) -> None:
        place, closing = self._place, self._closing
        source = self._registry(group)
        self._view.note(
            f"Starting {source.title}, HAProxy {self._options.haproxy.version} and confsync ..."
        )
        closing.push_async_callback(source.stop)
        await source.start()
        text = place.settings(haproxy=self._options.haproxy.path, source=source.source)
        place.settings_file.write_text(text)
        agent = await children.Program.start(
            "confsync", [*self._options.agent, "-c", str(place.settings_file)], folder=place.folder
        )
        closing.push_async_callback(agent.stop)
        await _written(place.config, agent)
        self._watch(group, agent.guard())
        haproxy = await balancer.start(self._options.haproxy.path, place)
        closing.push_async_callback(haproxy.stop)
        await balancer.ready(haproxy, place.port)
        self._watch(group, haproxy.guard())
        backends = await self._worker("backends")
        self._load = await self._worker("load", str(place.port))
        self._act = stage.Stage(
            source=source,
            backends=backends,
            load=self._load,
            book=self._book,
            config=place.config,
        )
        self._watch(group, backends.events(self._act.take))
        self._watch(group, self._load.events(self._act.take))

    async def _perform(self, group: asyncio.TaskGroup) -> None:
        assert self._act is not None
        self._view.open(self._book, self._act.live, self._options.seconds)
        self._closing.callback(self._view.close)
        self._watch(group, self._draw())
        self._watch(group, self._keep_counting())
        await scenario.perform(self._act, self._options.seconds, self._view)

    def _registry(self, group: asyncio.TaskGroup) -> registry.Registry:
        folder, consul = self._place.folder, self._options.consul
        if consul is None:
            return registry.File(folder)
        return registry.Consul(consul, folder, lambda child: self._watch(group, child.guard()))

    async def _worker(self, name: str, *args: str) -> children.Worker:
        worker = await children.Worker.start(
            name, f"confsync.demo.{name}", *args, folder=self._place.folder
        )
        self._closing.push_async_callback(worker.stop)
        return worker

    def _watch(self, group: asyncio.TaskGroup, forever: Coroutine[Any, Any, None]) -> None:
        self._watches.append(group.create_task(forever))

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(FRAME)
            self._view.tick()

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(COUNT)
            await self._count()

    async def _count(self) -> None:
        counted = await balancer.count_reloads(self._place.master_socket)
        if counted is not None:
            self._book.reloads, failed = counted
            # HAProxy forgets failures at the next good reload.
            self._book.failed_reloads = max(self._book.failed_reloads, failed)


async def _written(config: Path, agent: children.Program) -> None:
    """Wait for the agent's first configuration; raises TargetUnavailable."""
    end = time.monotonic() + FIRST_CONFIG
    while not config.exists():  # noqa: ASYNC240 - one stat of a local file
        if agent.ended or time.monotonic() > end:
            raise errors.TargetUnavailable("confsync wrote no configuration", detail=agent.tail())
        await asyncio.sleep(0.02)


def _first(group: BaseExceptionGroup[errors.ConfsyncError]) -> errors.ConfsyncError:
    """Return the first plain error in a group of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _versions(options: Options) -> str:
    source = f"Consul {options.consul.version}" if options.consul else "file source"
    return f"confsync {confsync.__version__}, HAProxy {options.haproxy.version}, {source}"
