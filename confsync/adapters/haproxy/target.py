"""One HAProxy on this host, observed, checked for and reloaded over its sockets.

It never starts HAProxy and never signals it: a signal gives no answer, and a second one while the
first reload still loads is lost on 2.6 and 3.0 and resets connections on 3.2 (measured). What proves
a reload: the master says `Success=1` (2.7 and on) or counts one more without a failed one (2.6, whose
answer is empty), and the worker that answers is another one, which the master lists as current.
"""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from confsync import errors, faults
from confsync.adapters.haproxy import check, cli, listening, observer, process, show
from confsync.adapters.haproxy.options import SocketOptions
from confsync.core.haproxy import verdict
from confsync.core.haproxy.command import MasterCommand
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged, Wire

_POLL = 0.01
_HUNG = 0.5
"""Seconds after which a question during a reload is asked anew: 2.6 with a `program` section never ends
its answer to one of that moment (measured)."""


_RECENT = 0.1
"""Seconds for which a check goes by what the turn has just observed."""


class SocketTarget:
    """A HAProxy in master-worker mode, reached over its master and its stats socket.

    `master_pid`: asked for the master's pid where the master socket does not tell it (a unit knows).
    `wire`: how to reach sockets that are not local; who checks then, elsewhere, knows the secrets
    that `masked` hides in HAProxy's words.
    """

    def __init__(
        self,
        options: SocketOptions,
        *,
        master_pid: Callable[[], Awaitable[int]] | None = None,
        wire: Wire | None = None,
        masked: Callable[[str], str] | None = None,
    ) -> None:
        self._options = options
        self._observer = observer.Observer(options, wire)
        self._checker = check.Checker(options)
        self._masked = masked or self._checker.masked
        self._checks = masked is None
        self._compared = ""
        """The running version that a program for the check was last looked for."""
        self._fitness: tuple[str, tuple[str, ...]] = "", ()
        self._find_master = master_pid
        self._reloading = asyncio.Lock()
        self._unproven = False
        """A reload was asked for and its end was not seen: the next one must wait for it."""
        self._recent = (float("-inf"), Observed(running=False))
        self._waited = False

    async def observe(self) -> Observed:
        """Read back what runs, within a second; with one socket only as far as that tells.

        Raises TargetDenied when neither socket may be used.
        """
        until = time.monotonic() + (0 if self._waited else self._options.patience)
        while True:
            look = await self._observer.look()
            # Never heard before: a reload that another one asked for, or the file of a dead one.
            unclear = look.refused and look.info is None and self._observer.never_heard
            if not unclear or time.monotonic() >= until:
                break
            await asyncio.sleep(_POLL)
        self._waited = True
        observed = self._observer.observed(look)
        unfit, remarks = await self._fit(observed)
        if remarks:
            notes = (*observed.notes, *remarks)
            observed = dataclasses.replace(observed, unfit=unfit, notes=notes)
        self._recent = (time.monotonic(), observed)
        return observed

    async def _fit(self, observed: Observed) -> tuple[str, tuple[str, ...]]:
        """Tell at once, not at the first change, that no program here checks for what runs."""
        version = observed.version
        if self._checks and version and (self._compared != version or self._fitness[0]):
            self._compared = version
            pid = await self._master_pid() if observed.running or self._find_master else 0
            command = process.read(pid) if pid else None
            self._fitness = await self._checker.fitness(command, version)
        return self._fitness if version else ("", ())

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        """Have `haproxy -c` check the set; see ports.Target, check.py and listening.py.

        Also raises ReloadFailed when HAProxy could not listen where the set wants it to.
        """
        version = ""
        notes: tuple[str, ...] = ()
        try:
            seen, observed = self._recent
            if time.monotonic() - seen > _RECENT or observed.loading:
                observed = await self.observe()
            version = observed.version
        except errors.TargetError as error:
            observed = Observed(running=False)
            notes = (f"the version of the running HAProxy is not known: {error}",)
        pid = await self._master_pid() if observed.running or self._find_master else 0
        command = process.read(pid) if pid else None
        file = staged.config.get(main) if staged is not None else None
        probing = None
        if file is not None and pid and listening.same_network(pid):
            # Beside the check, which takes longer.
            loop = asyncio.get_running_loop()
            probing = loop.run_in_executor(None, listening.refusal, main, file.text)
        said = await self._checker.check(main, staged, command=command, version=version)
        if probing is not None and (refused := await probing) is not None:
            raise refused
        return said + notes

    async def _master_pid(self) -> int:
        """Return the master's pid as this host sees it; 0 when it does not."""
        pid = self._observer.master.peer
        return pid or (await self._find_master() if self._find_master is not None else 0)

    async def command(self) -> MasterCommand | None:
        """Tell how the running master was started (None: it cannot be seen from here)."""
        pid = await self._master_pid()
        return process.read(pid) if pid else None

    async def ready(self, before: Observed) -> None:
        """Raise what keeps us from the master's socket: without it nothing is to be promoted."""
        if before.master or before.loading:
            return
        look = await self._observer.look()
        if look.master_error is not None and not look.refused:
            raise look.master_error

    async def reload(self, before: Observed) -> Observed:
        """Reload once and return when the new worker is confirmed.

        One at a time, also when the caller of the last one was cancelled. Raises ReloadFailed with
        HAProxy's words, TargetUnavailable, TargetDenied.
        """
        async with self._reloading:
            until = time.monotonic() + self._options.timeout
            start = await self._calm(until)
            faults.point("before-reload")
            self._unproven = True
            look = await self._ask_and_confirm(start, until, before)
            self._unproven = False
            faults.point("after-reload")
            return self._observer.observed(look)

    async def servers(self) -> tuple[ServerState, ...]:
        """Read the state of all servers from the worker that takes new connections."""
        try:
            text = await self._observer.stats.ask(
                "show servers state", patience=self._options.patience
            )
        except errors.TargetError:
            text = await self._observer.master.ask(
                "@1 show servers state", patience=self._options.patience
            )
        return show.servers(text)

    # Reloading

    async def _calm(self, until: float) -> Observed:
        """Wait until no reload is under way, and return what runs then.

        Raises TargetUnavailable when no master answers, ReloadFailed when it never gets calm.
        """
        quiet_until = time.monotonic() + self._options.lost if self._unproven else 0.0
        while True:
            look = await self._observer.look()
            if look.processes is not None and not look.loading and look.info is not None:
                # An unproven reload may not have begun: none can begin later than this.
                if time.monotonic() >= quiet_until:
                    return self._observer.observed(look)
            elif look.master_error is not None and not look.refused:
                raise look.master_error
            if time.monotonic() >= until:
                raise errors.ReloadFailed(
                    "another reload of HAProxy does not end"
                    if look.info
                    else "the master does not answer",
                    remedy=self._where_words_are(""),
                )
            await asyncio.sleep(_POLL)

    async def _ask_and_confirm(
        self, start: Observed, until: float, before: Observed
    ) -> observer.Look:
        said = ""
        while True:
            reply = await self._ask(until)
            if reply.success is False:
                raise self._failed("HAProxy refused to reload", reply.log, start)
            if "Permission denied" in reply.log:
                self._unproven = False
                raise errors.TargetDenied(
                    f"{self._options.master_socket} may not be used to reload",
                    remedy="give the master socket `level operator` or higher",
                )
            said = reply.log or said
            again = time.monotonic() + self._options.lost
            while True:
                look = await self._observer.look(timeout=_HUNG)
                processes = look.processes
                if processes is not None and processes.reloads > start.reloads:
                    if processes.failed > 0 and not look.loading:
                        log = await self._startup_logs()
                        raise self._failed("the reload failed", log or said, start)
                    if self._proven(look, start):
                        return look
                now = time.monotonic()
                if now >= until:
                    raise errors.ReloadFailed(
                        f"the reload was not confirmed within {self._options.timeout:g} s: "
                        f"worker {before.worker_pid or start.worker_pid} still answers",
                        remedy=f"{self._where_words_are(start.version)}; a large configuration may "
                        "need a longer reload.timeout",
                        detail=self._masked(verdict.printable_lines(said)),
                    )
                if processes is not None and processes.reloads == start.reloads and now >= again:
                    break  # lost: the master was about to execute itself anew, or was busy
                await asyncio.sleep(_POLL)

    async def _ask(self, until: float) -> show.ReloadReply:
        left = max(until - time.monotonic(), 0.1)
        try:
            return show.reload_reply(
                await self._observer.master.ask("reload", timeout=left, patience=left)
            )
        except cli.NoReply:
            return show.ReloadReply(success=None, log="")
        except cli.Refused as error:
            raise errors.ReloadFailed(
                "the master does not answer", remedy=self._where_words_are("")
            ) from error

    def _proven(self, look: observer.Look, start: Observed) -> bool:
        if look.info is None or look.processes is None or look.processes.failed > 0:
            return False
        return look.current and not self._observer.observed(look).same_worker(start)

    async def _startup_logs(self) -> str:
        try:
            return show.startup_logs(await self._observer.master.ask("show startup-logs"))
        except errors.TargetError:
            return ""

    def _failed(self, what: str, log: str, start: Observed) -> errors.ReloadFailed:
        self._unproven = False
        log = self._masked(verdict.printable_lines(log))
        first = verdict.headline(verdict.entries(log, {}))
        return errors.ReloadFailed(
            f"{what}: {first}" if first else what,
            remedy="" if log else self._where_words_are(start.version),
            detail=log,
        )

    @staticmethod
    def _where_words_are(version: str) -> str:
        branch = show.release(version)
        if (0, 0) < branch < (2, 7):
            return (
                f"HAProxy {branch[0]}.{branch[1]} says why only in its own log: see its standard "
                "error, such as `journalctl -u haproxy`"
            )
        return "see HAProxy's log"
