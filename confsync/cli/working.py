"""The commands that do the work themselves: run, once, check."""

import argparse
import asyncio
import dataclasses
import os
import signal
from collections.abc import Coroutine, Mapping
from typing import Any

from confsync import errors, logs
from confsync.cli import document, output
from confsync.cli.printed import Printed
from confsync.domain.status import CycleReport, Outcome
from confsync.settings.load import Loaded, load
from confsync.settings.sources import HOME_VARIABLE

TERMINATED = 143
"""As a shell shows a process that SIGTERM ended."""


def perform(options: argparse.Namespace, environ: Mapping[str, str], *, color: bool) -> Printed:
    """Run one of them. Raises ConfsyncError."""
    match options.command:
        case "run":
            return _run(options, environ)
        case "once":
            return _once(options, environ, color=color)
        case _:
            return _check(options, environ, color=color)


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> Printed:
    from confsync.wiring import running  # noqa: PLC0415 - the agent needs more than one turn does

    # A later reading must find the same file, wherever the process stands by then.
    start = os.getcwd()  # noqa: PTH109
    path = os.path.join(start, options.config) if options.config else None  # noqa: PTH118
    asyncio.run(
        running.run(_load(options, environ, path), reload=lambda: _load(options, environ, path))
    )
    return Printed()


def _once(options: argparse.Namespace, environ: Mapping[str, str], *, color: bool) -> Printed:
    from confsync.wiring import assembly  # noqa: PLC0415

    _quiet(options)
    try:
        report = _ended(
            assembly.once(
                _load(options, environ, options.config),
                apply=options.apply,
                adopt=options.adopt,
                release=tuple(options.release),
                timeout=options.timeout,
            )
        )
    except errors.ConfsyncError as error:
        if options.output == "text":
            raise
        # Whoever reads JSON gets JSON, whatever happens.
        return Printed(
            out=document.text(_failed(error)),
            err=output.error(error.what, error.remedy, error.detail),
            exit_code=error.exit_code,
        )
    return Printed(
        out=document.text(report)
        if options.output == "json"
        else output.once(report, applied=options.apply, color=color),
        err=output.error(report.error, "", report.detail) if report.error else "",
        exit_code=report.exit_code,
    )


def _check(options: argparse.Namespace, environ: Mapping[str, str], *, color: bool) -> Printed:
    from confsync.cli.balancer import SHORT  # noqa: PLC0415
    from confsync.wiring import assembly  # noqa: PLC0415

    _quiet(options)
    # In the image its short variables count too: those that a start would read.
    short = SHORT if environ.get(HOME_VARIABLE) else None
    loaded = assembly.as_written(_load(options, environ, options.config, short))
    remarks = _of_the_address(loaded)
    haproxy = not options.no_haproxy
    if loaded.balancer and haproxy:
        report = _ended(_checked_at_home(loaded, options.services))
    else:
        report = _ended(assembly.check(loaded, services=options.services, haproxy=haproxy))
    report = dataclasses.replace(report, notes=(*remarks, *report.notes))
    return Printed(
        out=output.check(report, haproxy=not options.no_haproxy, color=color),
        err=output.error(report.error, "", report.detail) if report.error else "",
        exit_code=report.exit_code,
    )


def _of_the_address(loaded: Loaded) -> tuple[str, ...]:
    """Check what the settings say of a shared address; returns remarks. Raises SettingsError."""
    if not loaded.settings.vip.addresses:
        return ()
    from confsync.wiring import vip  # noqa: PLC0415

    return vip.check(loaded.settings.vip)


async def _checked_at_home(loaded: Loaded, services: str | None) -> CycleReport:
    """Check the load balancer's home as a whole."""
    from confsync.wiring import assembly, rehearsing  # noqa: PLC0415

    notes = rehearsing.Notes()
    async with rehearsing.home(loaded, notes):
        report = await assembly.check(loaded, services=services, haproxy=True)
    return dataclasses.replace(report, notes=(*notes.found, *report.notes))


def _ended(turn: Coroutine[Any, Any, CycleReport]) -> CycleReport:
    """Run a turn. SIGTERM ends it as SIGINT does: what it staged, passwords too, is removed."""
    terminated = False

    async def whole() -> CycleReport:
        task = asyncio.current_task()

        def end() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await turn

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        if not terminated:
            raise
        raise SystemExit(TERMINATED) from None


def _load(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    path: str | None,
    short: Mapping[str, str] | None = None,
) -> Loaded:
    flags = {"log.level": "debug"} if options.debug else {}
    return load(path, environ=environ, flags=flags, short=short)


def _quiet(options: argparse.Namespace) -> None:
    """Have only warnings logged, since the command itself says what it did."""
    logs.configure(level="warning", form="text", debug=options.debug)


def _failed(error: errors.ConfsyncError) -> CycleReport:
    return CycleReport(
        outcome=Outcome.FAILED,
        error=str(error),
        detail=error.detail,
        exit_code=error.exit_code,
    )
