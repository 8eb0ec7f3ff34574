"""The commands that do the work themselves: run, once, check."""

import argparse
import asyncio
import os
from collections.abc import Mapping

from confsync import errors, logs
from confsync.cli import document, output
from confsync.cli.printed import Printed
from confsync.domain.status import CycleReport, Outcome
from confsync.settings.load import Loaded, load


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
        report = asyncio.run(
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
    from confsync.wiring import assembly  # noqa: PLC0415

    _quiet(options)
    report = asyncio.run(
        assembly.check(
            _load(options, environ, options.config),
            services=options.services,
            haproxy=not options.no_haproxy,
        )
    )
    return Printed(
        out=output.check(report, haproxy=not options.no_haproxy, color=color),
        err=output.error(report.error, "", report.detail) if report.error else "",
        exit_code=report.exit_code,
    )


def _load(options: argparse.Namespace, environ: Mapping[str, str], path: str | None) -> Loaded:
    flags = {"log.level": "debug"} if options.debug else {}
    return load(path, environ=environ, flags=flags)


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
