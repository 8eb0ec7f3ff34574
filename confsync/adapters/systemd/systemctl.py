"""Asks systemd about one unit, and for its reload. Never starts, stops or enables anything.

`systemctl` and not D-Bus: `show` takes 12 ms and needs no right, and a reload is no faster over the
bus (research: 85 ms either way, most of it Debian's ExecReload). What the answers mean is unit.py's.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from confsync import errors
from confsync.adapters.process import child

_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "MainPID", "StatusText")
_NOT_ALLOWED = ("authentication required", "Access denied", "Permission denied", "not permitted")
_WORDS = 30
_READINGS = 5
_JOURNAL_LAG = 0.1
"""Seconds between two readings: the journal may hear of a failure after systemctl has told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A unit as `systemctl show` tells it (systemd.unit(5), org.freedesktop.systemd1(5)).

    `status`: what its process says of itself; HAProxy says "Reload failed!" there from 3.0 on.
    """

    load: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    main_pid: int = 0
    status: str = ""

    @property
    def runs(self) -> bool:
        """Tell whether its main process is there."""
        return self.active in {"active", "reloading", "activating"} and self.main_pid > 0

    @property
    def calm(self) -> bool:
        """Tell whether it neither starts nor reloads."""
        return self.active == "active" and self.sub == "running"


class Systemctl:
    """One unit's state and reload."""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    async def show(self) -> State:
        """Read the unit's state. Raises TargetUnavailable when there is no systemd or no such unit."""
        argv = ["systemctl", "show", "--no-pager", "-p", ",".join(_PROPERTIES), "--", self.unit]
        code, said = await _run(argv, timeout=10)
        if code:
            raise errors.TargetUnavailable(
                f"systemd does not tell about {self.unit}: {_first(said)}",
                remedy='without systemd, set target.type = "socket"',
            )
        state = parse(said)
        if state.load == "not-found":
            raise errors.TargetUnavailable(
                f"there is no unit {self.unit}", remedy="set target.unit, or install HAProxy"
            )
        return state

    async def main_pid(self) -> int:
        """Return the pid of the unit's main process, HAProxy's master; 0 when it has none."""
        try:
            return (await self.show()).main_pid
        except errors.TargetError:
            return 0

    async def reload(self, timeout: float) -> None:  # noqa: ASYNC109
        """Have systemd reload the unit; returns when it has asked HAProxy, within `timeout` seconds.

        Raises TargetDenied, or ReloadFailed when the unit's ExecReload fails.
        """
        argv = ["systemctl", "reload", "--no-ask-password", "--", self.unit]
        code, said = await _run(argv, timeout=timeout)
        if not code:
            return
        if any(words in said for words in _NOT_ALLOWED):
            raise errors.TargetDenied(
                f"this user may not reload {self.unit}",
                remedy="run confsync as root, or allow its user by a polkit rule "
                "(docs/systemd.md has one) the action org.freedesktop.systemd1.manage-units "
                "with the verb reload for this unit",
            )
        raise errors.ReloadFailed(f"`systemctl reload {self.unit}` failed: {_first(said)}")

    async def words(self, since: float) -> str:
        """Return what the unit logged since `since` (unix seconds); "" when it may not be read."""
        argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(_WORDS)]
        argv += [f"--since=@{int(since)}", "-u", self.unit]
        for _ in range(_READINGS):
            try:
                code, said = await _run(argv, timeout=10)
            except errors.TargetError:
                return ""
            if code or said.strip():
                break
            await asyncio.sleep(_JOURNAL_LAG)
        else:
            return ""
        lines = ("".join(c if c.isprintable() else " " for c in each) for each in said.splitlines())
        return "" if code else "\n".join(lines)


def parse(text: str) -> State:
    """Read `systemctl show`: one NAME=VALUE a line."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    pid = fields.get("MainPID", "")
    return State(
        load=fields.get("LoadState", ""),
        active=fields.get("ActiveState", ""),
        sub=fields.get("SubState", ""),
        result=fields.get("Result", ""),
        main_pid=int(pid) if pid.isdigit() else 0,
        status=fields.get("StatusText", ""),
    )


async def _run(argv: Sequence[str], *, timeout: float) -> tuple[int, str]:  # noqa: ASYNC109
    """Run a program; return its exit code and all that it said. Raises TargetUnavailable."""
    try:
        return await child.run(
            argv, environment={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"}, timeout=timeout
        )
    except TimeoutError as error:
        raise errors.TargetUnavailable(
            f"`{' '.join(argv[:2])}` was not done within {timeout:g} s"
        ) from error
    except OSError as error:
        raise errors.TargetUnavailable(
            f"cannot run {argv[0]}: {error.strerror or error}",
            remedy='without systemd, set target.type = "socket"',
        ) from error


def _first(said: str) -> str:
    return next((line.strip() for line in said.splitlines() if line.strip()), "no word why")
