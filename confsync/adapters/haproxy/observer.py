"""Looks at a running HAProxy over its two sockets, and says what it saw. Changes nothing.

When to look, and what follows from it, is target.py's.
"""

import os
import time
from dataclasses import dataclass

from confsync import errors
from confsync.adapters.haproxy import cli, show
from confsync.adapters.haproxy.options import SocketOptions
from confsync.domain.running import Observed
from confsync.ports import Wire

_UNSEEN = 5.0
"""Seconds for which a master that refuses is believed to reload where it was not heard before, or
cannot be seen as a process (a foreign pid namespace)."""
_TELL_RELOADS_FROM = 10
_REFUSED = (cli.Refused, cli.NoReply)


@dataclass(slots=True, kw_only=True)
class Look:
    """One look at both sockets: what each said, or the error that it gave.

    `foreign`: the pid of who answers on the stats socket when the master does not list it. `stale`:
    the master's socket has refused for longer than a reload takes: it is the file of a dead one.
    """

    info: show.Info | None = None
    processes: show.Processes | None = None
    stats_error: errors.TargetError | None = None
    master_error: errors.TargetError | None = None
    foreign: int = 0
    stale: bool = False

    @property
    def refused(self) -> bool:
        """Tell whether the master's socket is there and refuses, as it does while it reloads."""
        return isinstance(self.master_error, _REFUSED) and not self.stale

    @property
    def loading(self) -> bool:
        """Tell whether a reload is under way: the master refuses, or its new worker is not ready."""
        if self.refused:
            return self.info is not None
        if self.info is None or self.processes is None or not self.processes.workers:
            return False
        return not self.current

    @property
    def current(self) -> bool:
        """Tell whether the worker that answers is one that the master lists as current."""
        if self.info is None or self.processes is None:
            return False
        return any(worker.pid == self.info.pid for worker in self.processes.workers)


class Observer:
    """The sockets of one HAProxy, and when its master was last heard."""

    def __init__(self, options: SocketOptions, wire: Wire | None = None) -> None:
        self._options = options
        self.stats = cli.Socket(options.stats_socket, wire=wire)
        self.master = cli.Socket(options.master_socket, master=True, wire=wire)
        self._answered = float("-inf")
        """When a master last answered (monotonic)."""
        self._refused_since: float | None = None
        self._limit: tuple[int, int] = (0, 0)

    @property
    def never_heard(self) -> bool:
        """Tell whether no master has answered yet, so that a refusal may mean anything."""
        return self._answered < 0

    async def look(self, *, timeout: float = 5.0) -> Look:  # noqa: ASYNC109
        """Ask both sockets once (0.1 ms of CPU); their errors are part of the answer.

        `timeout`: seconds for each command.
        """
        look = await self._look_once(timeout)
        # Foreign may be only a reload that ended in between.
        return await self._look_once(timeout) if look.foreign else look

    async def _look_once(self, timeout: float) -> Look:  # noqa: ASYNC109
        look = Look()
        try:
            look.info = show.info(await self.stats.ask("show info", timeout=timeout))
        except errors.TargetError as error:
            look.stats_error = error
        try:
            look.processes = show.processes(await self.master.ask("show proc", timeout=timeout))
            self._answered = time.monotonic()
            if look.processes is not None:
                known = {w.pid for w in (*look.processes.workers, *look.processes.old_workers)}
                if look.info is not None and look.info.pid not in known:
                    look.foreign, look.info = look.info.pid, None
                if look.info is None:
                    look.info = show.info(await self.master.ask("@1 show info", timeout=timeout))
        except errors.TargetError as error:
            look.master_error = error
        look.stale = self._stale(look)
        return look

    def _stale(self, look: Look) -> bool:
        now = time.monotonic()
        if not isinstance(look.master_error, _REFUSED):
            self._refused_since = None
            return False
        if self._refused_since is None:
            self._refused_since = now
        longest = _UNSEEN if self.never_heard else self._options.timeout
        return now - self._refused_since > longest

    def observed(self, look: Look) -> Observed:
        """Put a look in the domain's words. Raises TargetDenied when both sockets keep us out."""
        if look.info is None and look.processes is None:
            return self._silent(look)
        info, processes = look.info, look.processes
        old = processes.old_workers if processes else ()
        pid = info.pid if info else 0
        return Observed(
            running=True,
            version=info.version if info else processes.version if processes else "",
            master_pid=processes.master_pid if processes else self.master.peer,
            worker_pid=pid,
            worker_started=_started(info) if info else 0.0,
            reloads=processes.reloads if processes else -1,
            failed=processes.failed if processes else -1,
            loading=look.loading or bool(info and info.stopping),
            master=processes is not None,
            old_workers=tuple(worker for worker in old if worker.pid != pid),
            notes=self._notes(look),
        )

    def _silent(self, look: Look) -> Observed:
        """Neither socket answers: HAProxy has ended, cannot be reached, or keeps us out."""
        for error in (look.master_error, look.stats_error):
            if isinstance(error, errors.TargetDenied):
                raise error
        if look.refused and self._may_be_loading():
            return Observed(running=True, loading=True, master_pid=self.master.peer)
        said = [e for e in (look.master_error, look.stats_error) if e is not None]
        why = "; ".join(dict.fromkeys(e.what for e in said)) or "HAProxy's sockets answer nonsense"
        return Observed(
            running=False, why=why, notes=tuple(f"{e.what}: {e.remedy}" for e in said if e.remedy)
        )

    def _may_be_loading(self) -> bool:
        """Tell whether a master that refuses us may be the one that answered before."""
        age = time.monotonic() - self._answered
        pid = self.master.peer
        if pid > 0:
            return age < self._options.timeout and os.path.exists(f"/proc/{pid}")  # noqa: PTH110
        return age < _UNSEEN

    def _notes(self, look: Look) -> tuple[str, ...]:
        notes = []
        if look.foreign:
            notes.append(
                f"{self._options.stats_socket} is answered by process {look.foreign}, which is no "
                "worker of this master: set target.stats_socket, or end that HAProxy"
            )
        if look.stats_error is not None:
            notes.append(str(look.stats_error))
        if look.master_error is not None and not look.loading:
            notes.append(f"reloads have no proof without the master socket: {look.master_error}")
        if look.processes is not None:
            version = look.info.version if look.info else look.processes.version
            notes += self._outlived(look.processes, version)
        return tuple(notes)

    def _outlived(self, processes: show.Processes, version: str) -> list[str]:
        """Say when reloads will soon end a worker with what it still serves."""
        most = max((w.reloads for w in (*processes.workers, *processes.old_workers)), default=0)
        if most < _TELL_RELOADS_FROM:
            return []
        limit = self._max_reloads(version)
        if not limit or most * 2 < limit:
            return []
        note = (
            f"a worker has outlived {most} reloads of the {limit} that mworker-max-reloads allows: "
            "HAProxy then ends it with the connections that it still serves"
        )
        return [note]

    def _max_reloads(self, version: str) -> int:
        try:
            changed = os.stat(self._options.config).st_mtime_ns  # noqa: PTH116
            if changed != self._limit[0]:
                with open(self._options.config, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                    self._limit = (changed, show.max_reloads(file.read(), version))
        except OSError:
            return 0
        return self._limit[1]


def _started(info: show.Info) -> float:
    return info.started or round(time.time() - info.uptime)
