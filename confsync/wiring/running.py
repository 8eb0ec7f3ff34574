"""The long-running agent put together: lock, recovery, loop, control socket, logs, notifications."""

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Self

from confsync import __version__, logs, ports
from confsync.adapters.control.server import serve
from confsync.adapters.systemd.notify import Notify
from confsync.domain.running import Observed
from confsync.domain.status import CycleReport
from confsync.engine import agent, holdoff, supervisor
from confsync.errors import TargetError
from confsync.settings.load import Loaded
from confsync.settings.model import DockerTarget
from confsync.wiring import assembly, lasting

_log = logging.getLogger("confsync")

_FIGURES = 0.5
"""Seconds that one worker may take to tell what it has served, for a status."""


class Telemetry:
    """Says what happens through the standard logger."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._lasting = lasting.Lasting()

    def cycle(self, report: CycleReport, *, news: bool) -> None:
        """Say what a cycle did, in one line; an error with HAProxy's words behind it."""
        logs.report(_log, report, news=news)
        self._lasting.now(report.servers)

    def event(self, level: str, text: str, **fields: object) -> None:
        """Say something else."""
        logs.event(_log, level, text, **fields)


class Running:
    """One agent from one reading of the settings."""

    def __init__(
        self,
        loaded: Loaded,
        telemetry: ports.Telemetry,
        notify: ports.Notifier,
        *,
        more: Callable[[], dict[str, object]] = dict,
        must: str = "",
        adopt: bool = False,
        began: Callable[[Observed], float] | None = None,
    ) -> None:
        """Raises SettingsError, RenderError: nothing of the outside has been touched then.

        `more`: what the status tells besides, over what the agent itself tells. `must`: why HAProxy is
        reloaded even when nothing differs. `adopt`: see agent.Options; `began`: see Outlook.
        """
        self.loaded = loaded
        self._telemetry = telemetry
        self._more = more
        self._parts = assembly.parts(loaded)
        self._parts.renderer.declared()
        self._parts.cycle.outlook.must = must
        if began is not None:
            self._parts.cycle.outlook.began = began
        settings = loaded.settings
        reload = settings.reload
        self._agent = agent.Agent(
            options=agent.Options(
                main=self._parts.main,
                destinations=self._parts.destinations,
                pace=holdoff.Pace(
                    first=reload.first,
                    quiet=reload.quiet,
                    ceiling=reload.ceiling,
                    interval=reload.interval,
                ),
                retry=reload.retry,
                adopt=adopt,
                fast=holdoff.Pace(
                    first=0,
                    quiet=settings.runtime.quiet,
                    ceiling=settings.runtime.ceiling,
                    interval=settings.runtime.quiet,
                ),
            ),
            cycle=self._parts.cycle,
            discoverer=self._parts.discoverer,
            target=self._parts.reached.target,
            store=self._parts.store,
            state=self._parts.state,
            telemetry=telemetry,
            notifier=notify,
        )

    def load(self, why: str) -> None:
        """Have HAProxy load its files anew."""
        self._agent.load(why)

    def prove(self, before: "Running") -> Self:
        """Try what only a start would try, before another agent makes room. Raises StateError."""
        if self.loaded.settings.state != before.loaded.settings.state:
            with self._parts.state:
                pass
        return self

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises Locked or StateError before anything is done."""
        log = self.loaded.settings.log
        logs.configure(level=log.level, form=log.format)
        for warning in assembly.warnings(self.loaded, self._parts):
            self._telemetry.event("warning", "settings", warning=warning)
        with assembly.claimed(self._parts) as found:
            for note in (*found, *self._parts.state.notes):
                self._telemetry.event("warning", "found at start", note=note)
            self._telemetry.event(
                "info",
                "agent starts",
                version=__version__,
                settings=self.loaded.file or "defaults",
                target=self.loaded.settings.target.type,
                config=self.loaded.settings.target.config,
            )
            try:
                await self._agent.run(stop, self._control, *self._watchers())
            finally:
                self._parts.reached.close()
        self._telemetry.event("info", "agent stopped")

    def _watchers(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        watch = self._parts.reached.watch
        return () if watch is None else (lambda: watch(self._agent.glance),)

    async def _control(self) -> None:
        await serve(assembly.control_socket(self.loaded), self._answer)

    async def _answer(self, command: str, args: dict[str, object]) -> dict[str, object]:
        """Answer one request of the control socket; a ConfsyncError becomes the reply."""
        match command:
            case "status":
                return {**self._status(), "workers": await self._workers()}
            case "release":
                return self._release(args)
            case "pause" | "resume":
                await self._agent.pause(paused=command == "pause")
                return {"ok": True, "paused": self._agent.paused}
            case _:
                return {"ok": False, "error": f"unknown command {command!r}", "exit_code": 2}

    def _status(self) -> dict[str, object]:
        now = self._agent
        report = now.report
        return {
            "ok": True,
            "version": __version__,
            "pid": os.getpid(),
            "started": now.started,
            "alive": now.alive,
            "paused": now.paused,
            "source": plain(now.source),
            "haproxy": plain(now.cycle.observed),
            "report": plain(report),
            "runtime": self._runtime(),
            "holds": plain(report.holds if report else ()),
            "problems": plain(report.problems if report else ()),
            "next_retry": now.retry_in,
            "exit_code": now.exit_code,
            **self._more(),
        }

    async def _workers(self) -> list[dict[str, object]]:
        """Tell what each worker has served, old ones too; nothing where none can be asked."""
        target = self.loaded.settings.target
        if isinstance(target, DockerTarget):
            return []
        from confsync.adapters.haproxy import figures  # noqa: PLC0415

        with contextlib.suppress(TargetError):
            seen = await figures.read(target.master_socket, timeout=_FIGURES)
            return [dataclasses.asdict(worker) for worker in seen.workers]
        return []

    def _runtime(self) -> dict[str, object]:
        """Tell what was done without a reload, what is left of it, and what is held by hand."""
        cycle = self._agent.cycle
        record = cycle.outlook.record
        return {
            "enabled": cycle.upkeep is not None,
            "counts": plain(cycle.stepper.counts),
            "leftovers": plain(record.leftovers if record else ()),
            "by_hand": [drift.what for drift in cycle.stepper.hands.found],
        }

    def _release(self, args: dict[str, object]) -> dict[str, object]:
        """Let held services go with the next cycle; without an argument, list what is held."""
        holds = self._agent.report.holds if self._agent.report else ()
        names = self._agent.cycle.guard.held
        service, everything = args.get("service"), bool(args.get("all"))
        registry = bool(args.get("registry")) or everything
        if service and service not in names:
            return {
                "ok": False,
                "error": f"{service!r} is not held",
                "remedy": f"held are: {', '.join(sorted(names)) or 'none'}",
                "exit_code": 2,
            }
        wanted = tuple(sorted(names)) if everything else (str(service),) if service else ()
        registry = registry and any(not h.service for h in holds)
        if wanted or registry:
            self._agent.release(wanted, registry=registry)
        released = [*wanted, *(["the registry"] if registry else [])]
        return {"ok": True, "holds": plain(holds), "released": released}


def plain(value: object) -> object:
    """Turn frozen values into JSON's."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


async def run(loaded: Loaded, *, reload: Callable[[], Loaded]) -> None:
    """Run the agent until TERM or INT. Raises what keeps it from starting: ConfsyncError."""
    notify = Notify()
    telemetry = Telemetry(notify)
    await supervisor.supervise(
        Running(loaded, telemetry, notify),
        supervisor.Hooks(
            renew=lambda old: Running(reload(), telemetry, notify).prove(old),
            reloading=notify.reloading,
            reloaded=notify.ready,
            stopping=notify.stopping,
        ),
        telemetry,
    )
