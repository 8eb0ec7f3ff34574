"""A HAProxy without a master socket: reloaded by a signal, proven by its processes and its log.

The proof is weaker, and said to be: a signal has no answer. Another worker answers on the stats
socket; or the master has a new child that stays, and the log has no alert since. Two signals close
together load the older files, or cut connections (measured: the second is lost on 2.6 and 3.0 within
the time of a reload, 3.2 resets connections), so they are kept apart.
"""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from confsync import errors, faults
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.engine import Engine, Process
from confsync.adapters.docker.inside import ROOT, Inside
from confsync.adapters.docker.master import Masters
from confsync.core.haproxy import verdict
from confsync.core.newcomer import Newcomer
from confsync.domain.running import Observed

_POLL = 0.1
_APART = 1.0
"""Seconds between two signals, at least."""
_STEADY = 0.5
"""Seconds that a new worker must live before it counts: one that cannot bind ends at once."""
_LOG_LAG = 0.3
"""Seconds within which the engine has what HAProxy wrote."""
_SIGNAL = "SIGUSR2"
_WEAKER = (
    "without a master socket reloads go by signal, and their proof is weaker ({proof}): start HAProxy "
    "with `-W -S PATH`, PATH being target.master_socket, best on a shared volume"
)
_BY_STATS = _WEAKER.format(proof="another worker answers on the stats socket")
_BY_PROCESS = _WEAKER.format(
    proof="the master has a new worker process, and no alert is in its log"
)
_NO_WAY = (
    "no socket of HAProxy answers, so every change is a reload: give it `stats socket PATH level "
    "admin`, PATH being target.stats_socket"
)


class Signalling:
    """Observes and reloads without a master socket. `timeout`: seconds of one reload, confirmed."""

    def __init__(
        self,
        engine: Engine,
        inside: Inside,
        masters: Masters,
        *,
        timeout: float,
        masked: Callable[[str], str],
    ) -> None:
        self._engine = engine
        self._inside = inside
        self._masters = masters
        self._timeout = timeout
        self._masked = masked
        self._reloading = asyncio.Lock()
        self._sent = float("-inf")

    async def observe(self, container: Container, seen: Observed) -> Observed:
        """Complete what the sockets tell, which is perhaps nothing, by the processes."""
        if seen.running:
            return dataclasses.replace(seen, notes=(*seen.notes, _BY_STATS), master=False)
        processes = await self._engine.processes(container.id)
        master, worker = _family(processes)
        if master is None:
            return Observed(running=False, why=f"no HAProxy runs in the container {container.name}")
        return Observed(
            running=True,
            master_pid=master.pid,
            worker_pid=worker.pid if worker else 0,
            worker_started=round(time.time() - worker.age) if worker else 0.0,
            notes=(*seen.notes, _BY_PROCESS, _NO_WAY),
        )

    async def reload(
        self, container: Container, observe: Callable[[], Awaitable[Observed]]
    ) -> Observed:
        """Signal once and wait for a new worker. Raises ReloadFailed, TargetUnavailable."""
        async with self._reloading:
            until = time.monotonic() + self._timeout
            start = await self._calm(observe)
            since = time.time()
            faults.point("before-reload")
            self._sent = time.monotonic()
            await self._signal(container)
            after = await self._confirmed(container, start, observe, since, until)
            faults.point("after-reload")
            return after

    async def _calm(self, observe: Callable[[], Awaitable[Observed]]) -> Observed:
        await asyncio.sleep(max(0.0, self._sent + _APART - time.monotonic()))
        seen = await observe()
        if not seen.running:
            raise errors.TargetUnavailable(
                f"HAProxy does not run: {seen.why}", remedy="start its container; confsync does not"
            )
        if not seen.worker_pid:
            raise errors.ReloadFailed(
                "HAProxy runs without a master process, so it cannot be reloaded",
                remedy="start it in master-worker mode: `haproxy -W -db ...`, as the official "
                "image's entrypoint does",
            )
        return seen

    async def _signal(self, container: Container) -> None:
        """Signal the master: the container's first process, or what an init or a script started."""
        processes = await self._engine.processes(container.id)
        master, _ = _family(processes)
        if master is not None and master.pid == container.pid:
            await self._engine.kill(container.id, _SIGNAL)
            return
        found = await self._masters.find(container)
        if found is None:
            raise errors.ReloadFailed(
                f"the master process is not to be found in the container {container.name}",
                remedy="make HAProxy its first process, or give it a master socket",
            )
        argv = ["sh", "-c", f"kill -USR2 {found.command.pid}"]
        code, said = await self._inside.run(container, argv, user=found.user or ROOT)
        if code:
            raise errors.ReloadFailed(
                f"the master in {container.name} cannot be signalled: "
                f"{said.decode('utf-8', 'replace').strip()}",
                remedy="give HAProxy a master socket",
            )

    async def _confirmed(
        self,
        container: Container,
        start: Observed,
        observe: Callable[[], Awaitable[Observed]],
        since: float,
        until: float,
    ) -> Observed:
        newcomer = Newcomer(start)
        while True:
            seen = await observe()
            now = time.monotonic()
            if not seen.running:
                raise await self._failed(container, f"HAProxy ended: {seen.why}", since)
            age = newcomer.age(seen, now)
            settled = now - self._sent >= _LOG_LAG if age is None else age >= _STEADY
            if settled and (words := await self._alerts(container, since)):
                raise _refused(words)
            if settled and age is not None:
                return seen
            if now >= until:
                what = (
                    f"the reload was not confirmed within {self._timeout:g} s: "
                    f"worker {start.worker_pid} is still the newest"
                )
                raise await self._failed(container, what, since)
            await asyncio.sleep(_POLL)

    async def _alerts(self, container: Container, since: float) -> str:
        """Return the log since then when it has an alert, else ""."""
        said = await self._log(container, since)
        alert = any(entry.level == "ALERT" for entry in verdict.entries(said, {}))
        return said if alert else ""

    async def _log(self, container: Container, since: float) -> str:
        try:
            said = await self._engine.logs(container.id, since)
        except errors.TargetError:
            return ""  # a log driver that cannot be read, say: the processes tell
        return self._masked(verdict.printable_lines(said))

    async def _failed(self, container: Container, what: str, since: float) -> errors.ReloadFailed:
        return errors.ReloadFailed(
            what,
            remedy=f"see `docker logs {container.name}`",
            detail=await self._log(container, since),
        )


def _refused(words: str) -> errors.ReloadFailed:
    first = verdict.headline(verdict.entries(words, {}))
    return errors.ReloadFailed(f"the reload failed: {first}", detail=words)


def _family(processes: tuple[Process, ...]) -> tuple[Process | None, Process | None]:
    """Find HAProxy's master, and its newest worker; without a worker it is no master."""
    found = {p.pid: p for p in processes if _is_haproxy(p.command)}
    masters = [p for p in found.values() if p.parent not in found]
    master = max(masters, key=lambda p: p.age, default=None)
    if master is None:
        return None, None
    workers = [p for p in found.values() if p.parent == master.pid]
    return master, min(workers, key=lambda p: (p.age, -p.pid), default=None)


def _is_haproxy(command: str) -> bool:
    program = command.split(" ", 1)[0].rpartition("/")[2]
    return program.rstrip(":") == "haproxy"
