"""`confsync lb` put together: the agent, HAProxy, the web server, certificates, the shared address."""

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from confsync import logs
from confsync.adapters.haproxy.binary import Binaries
from confsync.adapters.haproxy.probe import Probe, ProbeOptions
from confsync.adapters.process import lasting
from confsync.adapters.systemd.notify import Notify
from confsync.core import output
from confsync.core.haproxy import command
from confsync.domain.running import Observed
from confsync.engine import balancing, supervisor
from confsync.engine.children import Kept, Pauses
from confsync.engine.components import Failover
from confsync.engine.tending import Heard, Tended
from confsync.engine.webserver import WebServer
from confsync.errors import ConfsyncError, SettingsError
from confsync.settings.load import Loaded
from confsync.settings.model import Settings, SocketTarget
from confsync.wiring import handwritten, nginx, readying, tls
from confsync.wiring.running import Running, Telemetry, plain

_log = logging.getLogger("confsync")

SECRET = ("PASSWORD",)
"""Variables that no child gets."""
_TLS_AT_START = ("enabled", "certificates", "names", "interval", "warn")


class _Quiet:
    """The agent's voice to systemd: whether the whole serves is not its to say."""

    def __init__(self, notify: Notify) -> None:
        self.status = notify.status
        self.watchdog = notify.watchdog

    def ready(self) -> None:
        """Say nothing."""


class Parts:
    """Everything of one load balancer."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        password: str,
        reload: Callable[[], Loaded],
        environ: Mapping[str, str],
    ) -> None:
        """Raises SettingsError, RenderError: nothing of the outside has been touched then."""
        settings = loaded.settings
        if not isinstance(settings.target, SocketTarget):
            fault = f'[target] type = "{settings.target.type}": `confsync lb` starts HAProxy itself'
            raise SettingsError([f"{fault}; remove it"])
        self.loaded = loaded
        self._reload = reload
        self._notify = Notify()
        self._quiet = _Quiet(self._notify)
        self._source = handwritten.path(loaded)
        self._environment = {
            name: value for name, value in command.clean(environ).items() if name not in SECRET
        }
        self.telemetry = Telemetry(self._notify)
        self._heard = Heard(self.telemetry, self._named)
        lb = settings.lb
        self._pauses = Pauses(first=lb.restart[0], longest=lb.restart[1])
        self._program = Binaries(settings.target.binary)
        self.balancer = self._balancer(settings, password)

    def _balancer(self, settings: Settings, password: str) -> balancing.Balancer:
        lb, target = settings.lb, settings.target
        probe = Probe(
            ProbeOptions(
                master_socket=target.master_socket,
                stats_socket=target.stats_socket,
                url=lb.probe,
                timeout=lb.interval,
            )
        )
        haproxy = Kept(
            "haproxy",
            functools.partial(self._start_haproxy, settings),
            self.telemetry,
            pauses=self._pauses,
            died=self._died,
        )
        self._certificates = tls.certificates(settings, self.telemetry, reload=self._load)
        web = nginx.nginx(settings)
        return balancing.Balancer(
            options=balancing.Options(
                interval=lb.interval,
                misses=lb.misses,
                answers=lb.answers,
                start=lb.start,
                hung=lb.hung,
                drain=lb.drain,
                renew=settings.tls.interval,
                pauses=self._pauses,
            ),
            haproxy=haproxy,
            probe=probe.ask,
            mute=lambda: probe.mute,
            agent=self._agent(),
            telemetry=self.telemetry,
            notifier=self._notify,
            certificates=self._certificates,
            nginx=None if web is None else self._nginx(web),
            web=web,
            failover=functools.partial(self._failover, settings, password)
            if settings.vip.addresses
            else None,
        )

    def _nginx(self, web: WebServer) -> Kept:
        async def start() -> lasting.Lasting:
            return await lasting.start(
                web.command(),
                environment=self._environment,
                tell=functools.partial(self._line, "nginx"),
            )

        return Kept("nginx", start, self.telemetry, pauses=self._pauses)

    def _failover(self, settings: Settings, password: str) -> Failover:
        from confsync.wiring import vip  # noqa: PLC0415

        def say(level: str, text: str, /, **fields: object) -> None:
            self.telemetry.event(level, text, **fields)

        made = vip.failover(
            settings.vip,
            password=password,
            event=say,
            directory=settings.lb.directory,
            # More than the slowest round: socket and page, each asked twice, and the pause.
            stale=settings.vip.lease + 6 * settings.lb.interval,
        )
        assert made is not None, "there is a shared address"
        return made

    def _load(self, why: str) -> None:
        """Have the agent reload HAProxy."""
        self._running_now.load(why)

    def _died(self, why: str) -> None:
        self.balancer.haproxy_died(why)

    # The agent

    def _agent(self) -> Tended[Running]:
        config = self.loaded.settings.target.config
        return Tended(
            self._running(self.loaded),
            build=lambda: self._running(self._again()),
            hooks=supervisor.Hooks(
                renew=lambda old: self._running(
                    self._again(), must="everything is read anew" if self._source else ""
                ).prove(old),
                reloading=lambda: None,
                reloaded=lambda: None,
                stopping=lambda: None,
            ),
            heard=self._heard,
            there=Path(config).exists,
            pauses=self._pauses,
        )

    def _running(self, loaded: Loaded, *, must: str = "") -> Running:
        handwritten.make_room(loaded)
        private = str(Path(loaded.settings.target.config).parent) == loaded.settings.lb.directory
        self._running_now = Running(
            loaded,
            self._heard,
            self._quiet,
            more=self._status,
            must=must,
            adopt=private,
            began=self._began,
        )
        return self._running_now

    def _began(self, observed: Observed) -> float:
        """Know better than HAProxy, which tells whole seconds, when it was started."""
        haproxy = self.balancer.haproxy
        if observed.reloads == 0 and haproxy.pid and observed.master_pid == haproxy.pid:
            return haproxy.since
        return observed.worker_started

    def _again(self) -> Loaded:
        """Read the settings anew. What only a start can change is told, and stays."""
        loaded, before = self._reload(), self.loaded.settings
        after = loaded.settings
        kept = {"lb": before.lb, "nginx": before.nginx, "vip": before.vip}
        # TLS cannot come without its folder, which a start fills; how it is spoken can change.
        first = {name: getattr(before.tls, name) for name in _TLS_AT_START}
        kept["tls"] = after.tls.model_copy(update=first)
        for name, table in kept.items():
            if getattr(after, name) != table:
                self.telemetry.event(
                    "warning", "a change takes effect with the next start", table=name
                )
        if self.balancer.nginx is None and nginx.nginx(after) is not None:
            self.telemetry.event(
                "warning", "nginx starts with the next start", sites=after.nginx.directory
            )
        if before.target != after.target:
            raise SettingsError(["[target]: cannot change while HAProxy runs; start confsync anew"])
        loaded = replace(loaded, settings=after.model_copy(update=kept))
        self._source = handwritten.still(loaded, self._source)
        return loaded

    def _named(self, text: str) -> str:
        """Name the file that somebody wrote, not its copy: the lines have the same numbers."""
        if not self._source:
            return text
        return text.replace(self.loaded.settings.target.config, self._source)

    # Programs

    async def _start_haproxy(self, settings: Settings) -> lasting.Lasting:
        target = settings.target
        if self.balancer.haproxy.starts > 1:
            try:
                await self._certificates.prepare()
            except ConfsyncError as error:
                self.telemetry.event("error", "certificates refused", error=str(error))
        program = (await self._program.found(""))[0].path
        return await lasting.start(
            # -db: also where the configuration says `daemon`, it stays our child.
            [program, "-W", "-db", "-S", f"{target.master_socket},mode,600", "-f", target.config],
            environment=self._environment,
            tell=functools.partial(self._line, "haproxy"),
        )

    def _line(self, child: str, line: str) -> None:
        self.telemetry.event(output.level(line), "said", child=child, line=output.shown(line))

    # Looking at it

    def _status(self) -> dict[str, object]:
        balancer = self.balancer
        children = [each for each in (balancer.haproxy, balancer.nginx) if each is not None]
        health = balancer.health
        said: dict[str, object] = {
            "healthy": health.ok,
            "why": health.why,
            "children": [
                {
                    "name": each.name,
                    "pid": each.pid,
                    "since": each.since,
                    "starts": each.starts,
                    "last": each.last,
                }
                for each in children
            ],
        }
        if balancer.failover is not None:
            said["vip"] = plain(balancer.failover.standing())
        if balancer.certificates is not None:
            said["certificates"] = plain(balancer.certificates.standing())
        return {"balancer": said}


async def run(
    loaded: Loaded, *, password: str, reload: Callable[[], Loaded], environ: Mapping[str, str]
) -> None:
    """Run the load balancer until TERM or INT. Raises what keeps it from starting: ConfsyncError."""
    logs.configure(level=loaded.settings.log.level, form=loaded.settings.log.format)
    parts = Parts(loaded, password=password, reload=reload, environ=environ)
    readying.ready(loaded.settings)
    await supervisor.signalled(parts.balancer.run)
