"""HAProxy as a systemd unit: Debian's haproxy.service as it is.

Its sockets are asked first, by a target that is handed in; the unit's state says why they are silent,
and the unit's reload stands in where there is no master socket. A unit that does not run stays so:
the operator stopped it. The weaker proof of that reload, weakest last: another worker answers on the
stats socket; or the master has a new child and systemd says that the reload is over.
"""

import asyncio
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path

from confsync import errors, faults
from confsync.adapters.systemd.systemctl import State, Systemctl
from confsync.core.newcomer import Newcomer
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged, Target

_POLL = 0.1
_SIGNAL_AGE = 1.0
"""Seconds within which a master has taken up a signal, so that systemd says "reloading"."""
_STEADY = 0.5
"""Seconds that a new worker must live before it counts: one that cannot bind ends at once."""
_NOTHING_NEW = 3.0
"""Seconds after which a unit that is calm with its old worker will have no other: while HAProxy
loads, however long, systemd says "reloading"."""
_REMEMBERED = 10.0
"""Seconds for which a unit's state is believed while its sockets say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdOptions:
    """`unit`: its name; `timeout`: seconds for one reload, until it is confirmed."""

    unit: str = "haproxy.service"
    timeout: float = 30.0


class SystemdTarget:
    """A unit. `socket`: the same HAProxy over its sockets (a target of adapters.haproxy)."""

    def __init__(
        self,
        options: SystemdOptions,
        socket: Target,
        *,
        systemctl: Systemctl | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self._options = options
        self._socket = socket
        self._systemctl = systemctl or Systemctl(options.unit)
        self._proc = proc
        self._reloading = asyncio.Lock()
        self._unproven = float("-inf")
        """When a reload was asked for whose end was not seen (monotonic)."""
        self._state: tuple[float, int, State] | None = None

    async def observe(self) -> Observed:
        """Read back what runs: from the sockets, else from the unit and its processes.

        Raises TargetUnavailable when neither tells.
        """
        denied: errors.TargetError | None = None
        try:
            seen = await self._socket.observe()
        except errors.TargetError as error:
            seen, denied = Observed(running=False), error
        if seen.running and (seen.master or seen.loading):
            return seen
        state = await self._known(seen)
        if seen.running:
            return dataclasses.replace(
                seen,
                master_pid=state.main_pid,
                loading=not state.calm,
                notes=(*seen.notes, self._weaker("another worker answers on the stats socket")),
            )
        if not state.runs:
            return Observed(running=False, why=self._why(state))
        notes = (str(denied),) if denied else seen.notes
        pid, started = self._worker(state.main_pid)
        return Observed(
            running=True,
            master_pid=state.main_pid,
            worker_pid=pid,
            worker_started=started,
            loading=not state.calm,
            notes=(*notes, self._weaker("the master has a new worker process")),
        )

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        """Have HAProxy check the set; see ports.Target."""
        return await self._socket.check(main, staged)

    async def servers(self) -> tuple[ServerState, ...]:
        """Read the state of all servers; see ports.Target."""
        return await self._socket.servers()

    async def ready(self, before: Observed) -> None:
        """Nothing to find out: the unit's reload stands in for the master socket."""

    async def reload(self, before: Observed) -> Observed:
        """Reload over the master socket, else by the unit; one at a time.

        Raises ReloadFailed with the unit's journal as far as it may be read, TargetDenied,
        TargetUnavailable when the unit does not run.
        """
        async with self._reloading:
            until = time.monotonic() + self._options.timeout
            start = await self._calm(until)
            if start.master:
                return await self._socket.reload(before)
            since = time.time()
            faults.point("before-reload")
            self._unproven = time.monotonic()
            try:
                await self._systemctl.reload(self._options.timeout)
                after = await self._confirmed(start, until)
            except errors.ReloadFailed as error:
                raise errors.ReloadFailed(
                    error.what,
                    remedy=error.remedy or f"see `journalctl -u {self._options.unit}`",
                    detail=await self._systemctl.words(since),
                ) from error
            self._unproven = float("-inf")
            faults.point("after-reload")
            return after

    async def _calm(self, until: float) -> Observed:
        """Wait until no reload is under way: a second signal meanwhile would be lost."""
        while True:
            self._state = None
            seen = await self.observe()
            if not seen.running:
                raise errors.TargetUnavailable(
                    f"{self._options.unit} does not run: {seen.why}",
                    remedy=f"`systemctl start {self._options.unit}` when it should; confsync does not",
                )
            settled = time.monotonic() - self._unproven >= _SIGNAL_AGE
            if not seen.loading and (settled or seen.master):
                return seen
            if time.monotonic() >= until:
                raise errors.ReloadFailed("another reload of HAProxy does not end")
            await asyncio.sleep(_POLL)

    async def _confirmed(self, start: Observed, until: float) -> Observed:
        """Wait for a new worker that stays, and for a unit that is done."""
        asked = time.monotonic()
        newcomer = Newcomer(start)
        while True:
            self._state = None
            seen = await self.observe()
            now = time.monotonic()
            if not seen.running:
                raise errors.ReloadFailed(f"{self._options.unit} ended: {seen.why}")
            age = newcomer.age(seen, now)
            if age is not None and not seen.loading and age >= _STEADY:
                return seen
            if age is None and not seen.loading and self._failed(now - asked):
                raise errors.ReloadFailed(
                    f"HAProxy did not load the new configuration: worker {seen.worker_pid} stays"
                )
            if now >= until:
                raise errors.ReloadFailed(
                    f"the reload was not confirmed within {self._options.timeout:g} s: "
                    f"worker {start.worker_pid} is still the newest"
                )
            await asyncio.sleep(_POLL)

    def _failed(self, age: float) -> bool:
        """Tell whether a calm unit with its old worker, `age` seconds after the reload, has failed."""
        says_so = self._state is not None and self._state[2].status.startswith("Reload failed")
        return age >= (_SIGNAL_AGE if says_so else _NOTHING_NEW)

    async def _known(self, seen: Observed) -> State:
        """Return the unit's state, asked again when it is old or the processes are others."""
        now = time.monotonic()
        if self._state is not None:
            age, worker, state = now - self._state[0], self._state[1], self._state[2]
            gone = state.runs and not (self._proc / str(state.main_pid)).exists()
            if (
                age < _REMEMBERED
                and worker == seen.worker_pid
                and not gone
                and self._settled(state)
            ):
                return state
        state = await self._systemctl.show()
        self._state = (now, seen.worker_pid, state)
        return state

    @staticmethod
    def _settled(state: State) -> bool:
        return state.calm or not state.runs

    def _why(self, state: State) -> str:
        unit = self._options.unit
        if state.load == "masked":
            return f"{unit} is masked"
        if state.active == "failed":
            return f"{unit} has failed ({state.result})"
        return f"{unit} is {state.active or 'not known'}"

    def _weaker(self, proof: str) -> str:
        return (
            "without the master socket reloads go through `systemctl reload "
            f"{self._options.unit}`, and their proof is weaker: {proof}"
        )

    def _worker(self, master: int) -> tuple[int, float]:
        """Find the newest child that is the same program as the master; (0, 0) when there is none."""
        name = self._stat(master)[0]
        children = [(self._stat(pid), pid) for pid in self._children(master)]
        workers = [(started, pid) for (comm, started), pid in children if comm == name and started]
        if not workers:
            return 0, 0.0
        started, pid = max(workers)
        return pid, self._booted() + started

    def _children(self, pid: int) -> list[int]:
        try:
            text = (self._proc / str(pid) / "task" / str(pid) / "children").read_text()
        except OSError:
            return []
        return [int(word) for word in text.split()]

    def _stat(self, pid: int) -> tuple[str, float]:
        """Return a process's name and its start in seconds since the boot (proc(5), stat)."""
        try:
            text = (self._proc / str(pid) / "stat").read_text()
        except OSError:
            return "", 0.0
        name, _, rest = text.partition("(")[2].rpartition(")")
        return name, int(rest.split()[19]) / os.sysconf("SC_CLK_TCK")

    def _booted(self) -> float:
        text = (self._proc / "stat").read_text()
        line = next((each for each in text.splitlines() if each.startswith("btime ")), "btime 0")
        return float(line.split()[1])
