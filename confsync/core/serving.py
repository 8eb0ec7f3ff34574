"""The servers of one proxy, those that run against those that should: steps, or why a reload.

Each rule here was a surprise once; tests/unit/core/test_text_vs_state.py has them one by one.
"""

from dataclasses import dataclass, field, replace

from confsync.core.additions import Additions
from confsync.core.circumstances import Context
from confsync.core.haproxy import difference, servers, weighing
from confsync.core.haproxy.proxies import Proxy
from confsync.core.haproxy.servers import Server
from confsync.core.haproxy.weighing import Verdict
from confsync.domain.change import (
    AddServer,
    Admin,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)

MAINTENANCE = "maintenance"


@dataclass(slots=True)
class Work:
    """What one section needs. `early`: retirements, which a reload may make too early."""

    giving: list[Step] = field(default_factory=list)
    taking: list[Step] = field(default_factory=list)
    early: list[tuple[RetireServer, Server, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    """The reasons for what is `taking`."""
    reload: list[str] = field(default_factory=list)


_FOLDED = frozenset({"default-server"})
_ABOUT_SERVERS = frozenset({"server", "default-server", "server-template"})


def removed(proxy: Proxy, running: tuple[Server, ...], context: Context) -> Work:
    """Take the servers of a removed proxy out, as far as nothing of the target is there."""
    work = Work(reload=[f"{proxy.title} removed"])
    if proxy.bearing and not proxy.doubt:
        for server in running:
            _retire(work, proxy, server, Verdict(), context, gone=False)
    return work


def compare(
    old: Proxy, new: Proxy, running: tuple[Server, ...], context: Context, inherited: list[str]
) -> Work:
    """Compare one section; `inherited` collects what differs by its `defaults` alone."""
    work = Work()
    if old.defaults.others != new.defaults.others:
        inherited.append(f"{new.title}: what it inherits from `defaults` changed")
    if not new.bearing:
        but = _FOLDED if new.section.keyword == "defaults" else frozenset[str]()
        work.reload += difference.line_changes(old.section, new.section, but)
        return work
    if old.doubt or new.doubt:
        if old.section != new.section or old.defaults != new.defaults or old.doubt != new.doubt:
            work.reload.append(f"{new.title} changed, and it {new.doubt or old.doubt}")
        return work
    work.reload += difference.line_changes(old.section, new.section, _ABOUT_SERVERS)
    if not work.reload and old.templates != new.templates:
        work.reload.append(f"{new.title}: what `server-template` lines make changed")
    sound = not work.reload and old.defaults.others == new.defaults.others
    _Servers(old, new, running, sound=sound, context=context).into(work)
    return work


class _Servers:
    """The servers of one proxy: those that run against those that should."""

    def __init__(
        self, old: Proxy, new: Proxy, running: tuple[Server, ...], *, sound: bool, context: Context
    ) -> None:
        """`sound`: the proxy's own lines are the same, so that it may be changed at runtime."""
        self._old = old
        self._new = new
        self._title = new.title
        self._backend = new.section.name
        self._running = {server.name: server for server in running}
        self._target = {server.name: server for server in new.servers}
        self._sound = sound
        self._context = context
        self._verdict = weighing.weigh(new, context.capabilities, context.release)
        self._numbered = not new.templates and all(
            server.server_id for server in (*running, *new.servers)
        )
        self._additions = Additions(
            backend=self._backend,
            running=self._running,
            target=self._target,
            verdict=self._verdict,
            context=context,
            numbered=self._numbered,
        )

    def into(self, work: Work) -> None:
        """Collect what it takes."""
        if len(self._target) != len(self._new.servers):
            work.reload.append(f"{self._title}: two servers have one name")
            return
        ready = 0
        for name, server in self._target.items():
            known = self._running.get(name)
            if known is None:
                is_so = self._add(work, server)
            elif known != server:
                is_so = self._change(work, known, server)
            else:
                is_so = True
            ready += server.serves and is_so
        self._order(work)
        for server in self._running.values():
            if server.name not in self._target:
                why = self._why_not_retire()
                _retire(work, self._old, server, why, self._context, gone=self._sound)
        if work.reload and not ready and any(s.serves or s.odd for s in self._target.values()):
            # All that should serve waits for the reload: until then, what served goes on.
            work.taking.clear()
            work.taken.clear()
            work.early.clear()

    def _add(self, work: Work, server: Server) -> bool:
        what = f"{self._title}: server {server.name}"
        leftover = self._context.leftovers.get((self._backend, server.name))
        why = self._additions.why_not(server, leftover)
        if not self._sound:
            if work.reload:
                return False  # the section's reasons are told
            why = why or "its section changed"
        if why:
            work.reload.append(f"{what} added: {why}")
            return False
        again = leftover is not None
        work.giving.append(
            AddServer(
                backend=self._backend,
                server=server.name,
                address=server.address,
                port=server.port,
                words=server.words,
                server_id=server.server_id,
                weight=server.weight,
                maxconn=server.maxconn,
                checked=server.has("check"),
                agent=server.agent,
                state=server.state,
                again=again,
            )
        )
        work.reasons.append(f"{what} {'is back' if again else 'added'}")
        return True

    def _change(self, work: Work, old: Server, new: Server) -> bool:
        """Bring a server to what it should be; tells whether it will be so, as far as it serves."""
        what = f"{self._title}: server {new.name}"
        if told := _same_but_values(old, new):
            work.reload.append(f"{what}: {told}")
            return old.serves
        if old.state != new.state:
            # Every proxy takes it, and it may be we who put the server out of service.
            if new.state is Admin.READY:
                work.reasons.append(f"{what}: enabled")
            else:
                work.taken.append(f"{what}: disabled")
            _set_state(work, self._backend, new)
            old = replace(old, state=new.state)
        why = self._verdict.change or ("" if self._sound else "its section changed")
        if old.place != new.place:
            why = why or self._why_not_move(new)
        if old.weight != new.weight and new.agent:
            why = why or "an agent sets its weight"
        if old.maxconn != new.maxconn and new.has("minconn"):
            why = why or "`minconn` goes with its maxconn"
        changes = _changes(old, new)
        if not changes:
            return True
        if why:
            if self._sound or not work.reload:
                work.reload.append(f"{what}: {', '.join(changes)}: {why}")
            return old.serves
        lighter = new.weight < old.weight and len(changes) == 1
        (work.taken if lighter else work.reasons).append(f"{what}: {', '.join(changes)}")
        _set(work, self._backend, old, new)
        return True

    def _why_not_move(self, new: Server) -> str:
        """A checked server in place stays UP on a dead port, so its health is forgotten first.

        Then it takes no request until its check passes: another one must serve meanwhile.
        """
        stays = any(
            s.serves and s.place == self._running[name].place and self._running[name].serves
            for name, s in self._target.items()
            if name in self._running
        )
        if new.has("check") and not stays:
            return "no other server stays to serve until it is checked there"
        return self._verdict.move

    def _order(self, work: Work) -> None:
        """The order counts for static algorithms, and among backup servers of which one serves."""
        old = [n for n in self._running if n in self._target]
        new = [n for n in self._target if n in self._running]
        if old == new:
            return
        ordered = self._verdict.ordered or (self._verdict.numbers and not self._numbered)
        if not self._verdict.all_backups:
            backups = {n for n, s in self._target.items() if s.may_be_backup}
            ordered = ordered or [n for n in old if n in backups] != [
                n for n in new if n in backups
            ]
        if ordered:
            work.reload.append(f"{self._title}: the order of servers changed")

    def _why_not_retire(self) -> Verdict:
        verdict = self._verdict
        if verdict.numbers and not self._numbered:
            return replace(verdict, retire=f"{verdict.numbers}, and not all have an `id`")
        return verdict


def _retire(
    work: Work, proxy: Proxy, server: Server, verdict: Verdict, context: Context, *, gone: bool
) -> None:
    """Take a server out; `gone` False, or a reason for a reload: what runs keeps it until then."""
    backend = proxy.section.name
    cause = context.cause(backend, server)
    named, tracked = context.named(backend, server.name)
    why = verdict.retire or ("another line of the configuration names it" if named else "")
    told = f"{proxy.title}: server {server.name} removed ({cause})"
    if not why and not servers.is_plain(server.name):
        why = "its name can't be said over HAProxy's socket"
    if why:
        work.reload.append(f"{told}: {why}")
    if tracked or not servers.is_plain(server.name):
        return
    # Where maintenance would cut running requests, or the registry says that they may take their
    # time, no new session comes and the old ones end. One that is out already stays out.
    gently = cause == MAINTENANCE or server.has("on-marked-down")
    state = Admin.DRAIN if gently and server.state is not Admin.MAINT else Admin.MAINT
    gone = gone and not why
    if not gone and server.state in {state, Admin.MAINT}:
        return
    step = RetireServer(
        backend=backend,
        server=server.name,
        state=state,
        cause=cause,
        delete=context.capabilities.deletes and gone,
        agent=server.agent,
        gone=gone,
    )
    work.early.append((step, server, told))


def _same_but_values(old: Server, new: Server) -> str:
    """Say what differs that no runtime command sets ("" if nothing)."""
    if old.odd or new.odd:
        return f"changed, and {new.odd or old.odd}"
    if old.server_id != new.server_id:
        return f"id {old.server_id or 'none'} -> {new.server_id or 'none'}"
    if old.options != new.options:
        before, after = dict(old.options), dict(new.options)
        words = [w for w in {**before, **after} if before.get(w) != after.get(w)]
        shown = ", ".join(
            f"{w} {before[w]} -> {after[w]}" if before.get(w) and after.get(w) else f"`{w}`"
            for w in words
        )
        return f"{shown} can't be changed at runtime"
    return ""


def _changes(old: Server, new: Server) -> list[str]:
    found = []
    if old.place != new.place:
        found.append(f"address {old.address}:{old.port} -> {new.address}:{new.port}")
    if old.weight != new.weight:
        found.append(f"weight {old.weight} -> {new.weight}")
    if old.maxconn != new.maxconn:
        found.append(f"maxconn {old.maxconn} -> {new.maxconn}")
    return found


def _set(work: Work, backend: str, old: Server, new: Server) -> None:
    if old.place != new.place:
        work.giving.append(
            SetAddress(
                backend=backend,
                server=new.name,
                address=new.address,
                port=new.port,
                down=new.has("check"),
            )
        )
    if old.maxconn != new.maxconn:
        work.giving.append(SetMaxconn(backend=backend, server=new.name, maxconn=new.maxconn))
    if old.weight != new.weight:
        # What takes traffic away comes behind what gives it.
        lighter = work.taking if new.weight < old.weight else work.giving
        lighter.append(SetWeight(backend=backend, server=new.name, weight=new.weight))


def _set_state(work: Work, backend: str, new: Server) -> None:
    step = SetState(backend=backend, server=new.name, state=new.state, agent=new.agent)
    (work.giving if new.state is Admin.READY else work.taking).append(step)
