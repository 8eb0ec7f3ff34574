"""Reads what all workers have served, over the master's socket.

The statistics page is the current worker's: after a reload it begins at 0, while the old one still
serves what it has. The master passes a command on to any worker (`@!PID`, management.txt 9.4), old
ones too; each is asked by itself, since one may end in between.
"""

import csv
import io

from confsync import errors
from confsync.adapters.haproxy import cli, show
from confsync.domain.figures import Figures, WorkerFigures

_FRONTENDS = 1
"""The kind of rows that `show stat` is asked for: what it counts at backends is the same again."""


async def read(master_socket: str, *, timeout: float = 2.0) -> Figures:  # noqa: ASYNC109
    """Ask each worker once; `timeout`: seconds for each. Raises TargetError: no master answers."""
    master = cli.Socket(master_socket, master=True)
    processes = show.processes(await master.ask("show proc", timeout=timeout))
    if processes is None:
        raise errors.TargetUnavailable(f"{master_socket} does not answer as HAProxy's master does")
    every = [(worker.pid, False) for worker in processes.workers]
    every += [(worker.pid, True) for worker in processes.old_workers]
    found = [await _of(master, pid, old=old, timeout=timeout) for pid, old in every]
    return Figures(workers=tuple(found))


async def _of(master: cli.Socket, pid: int, *, old: bool, timeout: float) -> WorkerFigures:  # noqa: ASYNC109
    try:
        answer = await master.ask(f"@!{pid} show stat -1 {_FRONTENDS} -1", timeout=timeout)
    except errors.TargetError:
        answer = ""
    return frontends(answer, pid, old=old)


def frontends(answer: str, pid: int, *, old: bool) -> WorkerFigures:
    """Sum the frontends' rows of `show stat`, by the names of its columns (2.6 to 3.2)."""
    if not answer.startswith("# "):
        return WorkerFigures(pid=pid, old=old, answered=False)
    rows = [
        row for row in csv.DictReader(io.StringIO(answer[2:])) if row.get("svname") == "FRONTEND"
    ]

    def total(column: str, instead: str = "") -> int:
        return sum(_number(row.get(column) or row.get(instead)) for row in rows)

    return WorkerFigures(
        pid=pid,
        old=old,
        sessions=total("scur"),
        # A frontend in mode tcp counts sessions alone.
        requests=total("req_tot", "stot"),
        bytes_in=total("bin"),
        bytes_out=total("bout"),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
