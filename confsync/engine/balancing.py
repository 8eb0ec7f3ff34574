"""The whole load balancer: what is started after what, who is watched how, and how all of it ends.

    leftovers of addresses removed -> certificates -> web server -> the configuration, checked
        -> HAProxy answers -> the shared address

Whoever has the address answers: an unhealthy HAProxy gives it away before it is started anew, and a
stop hands it over first.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from confsync.engine.children import Kept, Pauses
from confsync.engine.components import Agent, Certificates, Failover, Notifier, WebServer
from confsync.engine.health import Health
from confsync.errors import ConfsyncError, TargetUnavailable, leaves
from confsync.ports import Telemetry

LEAVE = 3.0
"""Seconds that handing the address over may take; then it is taken off as it is."""
AGENT = 1.0
"""Seconds that a stop waits for the agent's running cycle."""
LOOK = 3.0
"""Seconds between two looks at the web server's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Seconds, and counts; see the settings [lb] and [tls]."""

    interval: float = 0.25
    misses: int = 3
    answers: int = 3
    start: float = 20.0
    hung: float = 10.0
    drain: float = 8.0
    renew: float = 10.0
    pauses: Pauses = field(default_factory=Pauses)


class _Ended(Exception):
    """Ends the task group, on a signal."""


class Balancer:
    """One load balancer, from its start to its end."""

    def __init__(
        self,
        *,
        options: Options,
        haproxy: Kept,
        probe: Callable[[], Awaitable[str]],
        mute: Callable[[], bool] = lambda: True,
        agent: Agent,
        telemetry: Telemetry,
        notifier: Notifier,
        certificates: Certificates | None = None,
        nginx: Kept | None = None,
        web: WebServer | None = None,
        failover: Callable[[], Failover] | None = None,
    ) -> None:
        """`haproxy`: made with `haproxy_died` as its `died`. `failover`: makes one, for one run.

        `probe`: returns why HAProxy does not serve, "" when it does; `mute`: whether it did not even
        answer for itself then.
        """
        self.haproxy = haproxy
        self.nginx = nginx
        self.health = Health(misses=options.misses, answers=options.answers)
        self.failover: Failover | None = None
        self.certificates = certificates
        self._options = options
        self._probe = probe
        self._mute = mute
        self._make_failover = failover
        self._agent = agent
        self._telemetry = telemetry
        self._notifier = notifier
        self._web = web
        self._agent_ends = asyncio.Event()
        self._agent_hangup = asyncio.Event()
        self._apart: dict[str, asyncio.Task[None]] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._serves = False
        self._unfit_since: float | None = None

    # Its life

    async def run(self, ends: asyncio.Event, hangup: asyncio.Event) -> None:
        """Run until `ends`; `hangup` has everything read anew. Raises what keeps it from starting."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until(ends), name="stop")
                await self._begin(group)
                group.create_task(self._hangups(hangup), name="hangup")
        except* _Ended:
            pass
        finally:
            # What a stop began is not cut short by its own task's end.
            await asyncio.shield(loop.create_task(self._leave()))

    async def _until(self, ends: asyncio.Event) -> None:
        await ends.wait()
        raise _Ended

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        if self._make_failover is not None:
            self.failover = self._make_failover()
            await self.failover.clean()
        if self.certificates is not None:
            await self.certificates.prepare()
        if self.nginx is not None and self._web is not None:
            await self._web.check()
            self._keep(group, self.nginx)
        self._set_apart(
            group, "agent", self._agent.run(ends=self._agent_ends, hangup=self._agent_hangup)
        )
        await self._agent.written()
        await self._first_answer(group)
        if self.failover is not None:
            self._set_apart(group, "failover", self._take_part(self.failover))
            self._tell(news=False)
        group.create_task(self._watch(), name="probe")
        if self.certificates is not None:
            group.create_task(self._renew(self.certificates), name="certificates")
        if self._web is not None and self.nginx is not None:
            group.create_task(self._look(self._web), name="web server's files")
        self._notifier.ready()

    def _keep(self, group: asyncio.TaskGroup, child: Kept) -> None:
        task = group.create_task(child.run(), name=child.name)
        self._keeping.append(task)

    def _set_apart(self, group: asyncio.TaskGroup, name: str, work: Awaitable[None]) -> None:
        """Have a task that a stop does not cancel: it ends in its own order."""

        async def guarded() -> None:
            await work

        task = asyncio.get_running_loop().create_task(guarded(), name=name)
        self._apart[name] = task

        async def watched() -> None:
            await asyncio.shield(task)

        group.create_task(watched(), name=f"{name}, watched")

    async def _take_part(self, failover: Failover) -> None:
        """Take part until the end; who fails is replaced, since HAProxy itself still serves."""
        assert self._make_failover is not None
        loop, pauses = asyncio.get_running_loop(), self._options.pauses
        pause, again = pauses.first, False
        while True:
            began = loop.time()
            try:
                if again:
                    await failover.clean()
                    self._tell(news=False)
                await failover.run()
            except* Exception as group:  # noqa: BLE001 - a bug as well: HAProxy serves on
                why = "; ".join(str(each) or type(each).__name__ for each in leaves(group))
            else:
                return
            if loop.time() - began > pauses.longest:
                pause = pauses.first
            self._telemetry.event("error", "failover ended", why=why, again_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, pauses.longest)
            self.failover, again = (failover := self._make_failover()), True

    async def _first_answer(self, group: asyncio.TaskGroup) -> None:
        """Start HAProxy, and wait until it answers. Raises TargetUnavailable when it does not."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.start
        self._keep(group, self.haproxy)
        while True:
            why = await self._probe()
            self.health.told(why)
            if self.health.ok:
                self._serves = True
                self._telemetry.event("info", "HAProxy answers")
                return
            if self.haproxy.last:
                raise self.haproxy.failed()
            if loop.time() >= until:
                raise TargetUnavailable(
                    f"HAProxy did not answer within {self._options.start:g} s of its start: {why}",
                    remedy="see its lines in the log; a large configuration may need a longer lb.start",
                )
            await asyncio.sleep(min(0.02, self._options.interval))

    # While it serves

    def haproxy_died(self, why: str) -> None:
        """Give the address away at once; before HAProxy ever answered there is none to give."""
        was = self.health.ok
        self.health.dead(f"HAProxy ended: {why}")
        if self._serves:
            self._tell(news=was)

    async def _watch(self) -> None:
        """Ask HAProxy again and again whether it answers."""
        loop = asyncio.get_running_loop()
        while True:
            why = await self._probe() if self.haproxy.pid else self.health.why
            self._tell(news=self.health.told(why))
            if self.health.ok or not self.haproxy.pid or not self._mute():
                self._unfit_since = None
            elif self._unfit_since is None:
                self._unfit_since = loop.time()
            elif loop.time() - self._unfit_since >= self._options.hung:
                self._telemetry.event(
                    "error", "HAProxy hangs and is started anew", why=self.health.why
                )
                self._unfit_since = None
                self.haproxy.hung()
            await asyncio.sleep(self._options.interval)

    def _tell(self, *, news: bool) -> None:
        if self.failover is not None:
            self.failover.health(self.health.ok, self.health.why)
        if news and self.health.ok:
            self._telemetry.event("info", "HAProxy answers again")
        elif news:
            self._telemetry.event("error", "HAProxy does not answer", why=self.health.why)

    async def _hangups(self, hangup: asyncio.Event) -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            self._notifier.reloading()
            self._telemetry.event("info", "everything is read anew")
            if self.certificates is not None:
                await self._said("certificates", self.certificates.renew())
            if self._web is not None and self.nginx is not None:
                await self._said("web server", self._reload(self._web))
            # Last: what it checks may name the files of the others.
            self._agent_hangup.set()
            self._notifier.ready()

    async def _renew(self, certificates: Certificates) -> None:
        while True:
            # The first time it learns what HAProxy has loaded, and what of it ends.
            await self._said("certificates", certificates.renew())
            await asyncio.sleep(self._options.renew)

    async def _look(self, web: WebServer) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if await web.changed():
                await self._said("web server", self._reload(web))

    async def _reload(self, web: WebServer) -> None:
        """Have the web server take its files, once it finds nothing wrong with them."""
        await web.check()
        if self.nginx is not None and self.nginx.pid:
            await web.reload()
            self._telemetry.event("info", "web server reloaded")

    async def _said(self, what: str, work: Awaitable[object]) -> None:
        """Do it; an error is told, and what was before stays."""
        try:
            await work
        except ConfsyncError as error:
            why, detail = str(error), error.detail
        except Exception as error:  # noqa: BLE001 - a bug as well: HAProxy serves on
            why, detail = f"{type(error).__name__}: {error}", ""
        else:
            return
        self._telemetry.event("error", "refused, the old stays", of=what, error=why, detail=detail)

    # Its end

    async def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.drain
        self._notifier.stopping()
        self._agent_ends.set()
        for task in self._keeping:
            task.cancel()
        if self.failover is not None:
            await self._hand_over(self.failover)
        await self._end_of("agent", AGENT)
        await self.haproxy.end(signal.SIGUSR1, until - loop.time())
        if self.nginx is not None:
            # Whatever HAProxy still had to ask of it has been answered.
            await self.nginx.end(signal.SIGQUIT, max(until - loop.time(), 0.5))

    async def _hand_over(self, failover: Failover) -> None:
        try:
            async with asyncio.timeout(LEAVE):
                await failover.leave()
        except (TimeoutError, ConfsyncError) as error:
            self._telemetry.event(
                "error", "the address was not handed over", why=str(error) or "it took too long"
            )
        # Also where it ended in disorder: its own end takes the addresses off.
        await self._end_of("failover", 0.1)

    async def _end_of(self, name: str, seconds: float) -> None:
        task = self._apart.pop(name, None)
        if task is None:
            return
        await asyncio.wait((task,), timeout=seconds)
        task.cancel()
        await asyncio.wait((task,), timeout=seconds)
        if task.done() and not task.cancelled():
            task.exception()  # told by the group, or of no interest any more
