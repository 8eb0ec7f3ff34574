"""The commands that ask a running agent: status, release, pause, resume.

They read no more of the settings than the state directory, so that a wrong settings file, which the
agent refused while it works on, does not make a health check fail.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from confsync.adapters.control import client
from confsync.cli import balanced, output, standing
from confsync.cli.printed import Printed
from confsync.settings import sources

SOCKET = "agent.sock"
NOT_ALIVE = 69


def perform(options: argparse.Namespace, environ: Mapping[str, str], *, color: bool) -> Printed:
    """Ask, and show the answer. Raises AgentUnreachable, TargetDenied, SettingsError."""
    directory = sources.state_directory(options.config, environ)
    path = os.path.join(directory, SOCKET)  # noqa: PTH118
    args: dict[str, object] = {}
    if options.command == "release":
        args = {
            "service": options.service,
            "registry": options.registry,
            "all": options.all,
        }
    reply = client.ask(path, options.command, args)
    if reply.get("ok") is not True:
        return _refused(reply)
    match options.command:
        case "status":
            return _status(reply, options, color=color)
        case "release":
            return Printed(out=standing.release(reply, now=time.time()))
        case _:
            return Printed(out=standing.pause(paused=options.command == "pause"))


def _status(reply: dict[str, Any], options: argparse.Namespace, *, color: bool) -> Printed:
    fit = balanced.fit(reply)
    code = 0 if reply.get("alive") is True and fit else NOT_ALIVE
    if options.check and code == 0:
        code = _code(reply)
    if options.output == "json":
        return Printed(out=json.dumps({"schema": 1, **reply}, indent=2) + "\n", exit_code=code)
    now = time.time()
    lines = balanced.lines(reply, now=now, color=color)
    return Printed(out=standing.status(reply, now=now, color=color, more=lines), exit_code=code)


def _refused(reply: dict[str, Any]) -> Printed:
    words = [reply.get(key) for key in ("error", "remedy", "detail")]
    what, remedy, detail = (word if isinstance(word, str) else "" for word in words)
    return Printed(
        err=output.error(what or "the agent refused", remedy, detail), exit_code=_code(reply) or 69
    )


def _code(reply: dict[str, Any]) -> int:
    code = reply.get("exit_code")
    return code if isinstance(code, int) and 0 <= code <= 125 else NOT_ALIVE
