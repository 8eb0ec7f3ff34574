"""A HAProxy of values: it loads a text into a state and obeys runtime steps as the manual says.

Written apart from the core: it shares no table and no parser with it, so that both must be right to
agree. It knows the words that tests use, and stops at any other.
"""

import copy
import shlex
from dataclasses import dataclass, field

from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)

SECTIONS = ("global", "defaults", "frontend", "backend", "listen", "peers")
FLAGS = ("check", "check-ssl", "ssl", "backup", "agent-check", "send-proxy", "check-send-proxy")
VALUED: tuple[str, ...] = (
    "inter",
    "rise",
    "verify",
    "cookie",
    "resolvers",
    "init-addr",
    "minconn",
    "port",
    "track",
)
VALUED += ("agent-port", "on-marked-down", "observe")
NOT_AT_RUNTIME = ("resolvers", "init-addr")
HASHES = ("source", "uri")


class Refused(Exception):
    """What HAProxy would not do; the test was about to send it."""


@dataclass
class Server:
    """One server, with what only a load gives it."""

    name: str
    address: str
    port: int
    number: int = 0
    forced: bool = False
    weight: int = 1
    maxconn: int = 0
    state: Admin = Admin.READY
    options: dict[str, str] = field(default_factory=dict)
    checking: bool = False
    asked: bool = False
    """Its agent is asked."""
    loaded: bool = True
    gone: bool = False
    """Retired by us, not deleted."""

    @property
    def serves(self) -> bool:
        return self.state is Admin.READY and self.weight > 0 and "backup" not in self.options


@dataclass
class Proxy:
    keyword: str
    name: str
    lines: list[str] = field(default_factory=list)
    default: Server = field(default_factory=lambda: Server("", "", 0))
    servers: list[Server] = field(default_factory=list)

    def last(self, keyword: str) -> list[str]:
        found = [line.split() for line in self.lines if line.split()[0] == keyword]
        return found[-1][1:] if found else []

    @property
    def static(self) -> bool:
        balance = (self.last("balance") or ["roundrobin"])[0]
        consistent = self.last("hash-type")[:1] == ["consistent"]
        return balance == "static-rr" or (balance in HASHES and not consistent)

    @property
    def by_number(self) -> bool:
        balance = (self.last("balance") or ["roundrobin"])[0].partition("(")[0]
        return balance in {"first", "random", *HASHES} or bool(self.last("stick"))

    @property
    def all_backups(self) -> bool:
        said = [line for line in self.lines if line.endswith("option allbackups")]
        return bool(said) and not said[-1].startswith("no ")


class HAProxy:
    """What runs."""

    def __init__(
        self, text: str, maps: dict[str, str] | None = None, *, cookies: bool = True
    ) -> None:
        """`cookies`: this build's `add server` takes `cookie` (3.0 and on)."""
        self.cookies = cookies
        self.proxies: dict[tuple[str, str], Proxy] = {}
        self.maps = {path: _entries(content) for path, content in (maps or {}).items()}
        named: dict[str, Proxy] = {}
        last = Proxy("defaults", "")
        current: Proxy | None = None
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[0] in SECTIONS:
                base = named[words[words.index("from") + 1]] if "from" in words else last
                name = words[1] if len(words) > 1 and words[1] != "from" else ""
                current = Proxy(words[0], name)
                if words[0] == "defaults":
                    if "from" in words:
                        current.lines, current.default = (
                            list(base.lines),
                            copy.deepcopy(base.default),
                        )
                    last = current
                    named[name] = current
                elif words[0] in {"frontend", "backend", "listen"}:
                    current.lines, current.default = list(base.lines), copy.deepcopy(base.default)
                if words[0] != "defaults":
                    self.proxies[current.keyword, name] = current
                continue
            assert current is not None
            if words[0] == "default-server":
                _apply(current.default, words[1:])
            elif words[0] == "server" and current.keyword in {"backend", "listen"}:
                self._load(current, words)
            else:
                current.lines.append(" ".join(words))
        for proxy in self.proxies.values():
            for server in proxy.servers:
                server.number = server.number or _free(proxy)

    def _load(self, proxy: Proxy, words: list[str]) -> None:
        server = copy.deepcopy(proxy.default)
        server.name = words[1]
        server.address, _, port = words[2].rpartition(":")
        server.port = int(port)
        _apply(server, words[3:])
        _checked(server)
        server.checking = "check" in server.options
        server.asked = "agent-check" in server.options
        if "port" not in server.options:
            for word, its in (("ssl", "check-ssl"), ("send-proxy", "check-send-proxy")):
                if word in server.options and server.checking:
                    server.options[its] = ""
        _distinct(proxy, server.name, server.number)
        proxy.servers.append(server)

    def find(self, backend: str, name: str) -> Server:
        proxy = self.backend(backend)
        for server in proxy.servers:
            if server.name == name:
                return server
        raise Refused(f"no such server {backend}/{name}")

    def backend(self, name: str) -> Proxy:
        for keyword in ("backend", "listen"):
            if (keyword, name) in self.proxies:
                return self.proxies[keyword, name]
        raise Refused(f"no such backend {name}")

    def do(self, step: Step) -> None:
        """Obey one step. Raises Refused."""
        match step:
            case AddServer():
                self._add(step)
            case RetireServer():
                server = self.find(step.backend, step.server)
                assert step.state is not Admin.READY
                if server.gone:
                    # Retired already: only the end of its drain is sense.
                    assert (server.state, step.state) == (Admin.DRAIN, Admin.MAINT)
                elif "agent-check" in server.options and not step.agent:
                    raise Refused("an agent would bring it back")
                server.state, server.gone = step.state, step.gone
            case SetState():
                server = self.find(step.backend, step.server)
                server.state, server.gone = step.state, False
            case SetWeight():
                if self.backend(step.backend).static:
                    raise Refused("static algorithms take 0 % and 100 % only")
                self.find(step.backend, step.server).weight = step.weight
            case SetMaxconn():
                self.find(step.backend, step.server).maxconn = step.maxconn
            case SetAddress():
                server = self.find(step.backend, step.server)
                server.address, server.port = step.address, step.port
            case ReplaceMap():
                if step.name not in self.maps:
                    raise Refused(f"unknown map {step.name}")
                self.maps[step.name] = list(step.entries)

    def _add(self, step: AddServer) -> None:
        proxy = self.backend(step.backend)
        if step.again:
            server = self.find(step.backend, step.server)
            assert server.gone
            server.address, server.port = step.address, step.port
            server.weight, server.maxconn = step.weight, step.maxconn
            server.state, server.gone = step.state, False
            return
        if proxy.static:
            raise Refused("must use a dynamic load balancing")
        server = Server(step.server, step.address, step.port, loaded=False)
        banned = {*NOT_AT_RUNTIME, "enabled", "disabled"} | (set() if self.cookies else {"cookie"})
        if banned.intersection(step.words) or any(w.startswith("no-") for w in step.words):
            raise Refused(f"not accepted for dynamic servers: {step.words}")
        _apply(server, list(step.words))
        _checked(server)
        if "check" in server.options and "option external-check" in proxy.lines:
            raise Refused("HAProxy has ended")
        if "ssl" in server.options and server.options.get("verify") != "none":
            raise Refused("verify is enabled but no CA file specified")
        _distinct(proxy, server.name, server.number)
        server.forced = bool(server.number)
        server.number = server.number or _free(proxy)
        assert step.server_id == (server.number if server.forced else 0)
        assert step.weight == server.weight
        server.checking, server.asked = step.checked, step.agent
        server.state = step.state
        proxy.servers.append(server)

    def delete(self, backend: str, name: str) -> None:
        """Do what the adapter does later to a retired server."""
        proxy = self.backend(backend)
        server = self.find(backend, name)
        assert server.gone
        proxy.servers.remove(server)

    def serving(self, backend: str) -> int:
        """Count the servers that take requests."""
        return sum(s.serves and not s.gone for s in self.backend(backend).servers)

    def state(self) -> object:
        """Give all that makes a difference to traffic now or at the next reload."""
        found: dict[object, object] = {("maps",): self.maps}
        for key, proxy in self.proxies.items():
            live = [s for s in proxy.servers if not s.gone]
            shown = {s.name: _shown(proxy, s) for s in live}
            backups = [s.name for s in live if "backup" in s.options]
            order: list[str] = []
            if proxy.static or (proxy.by_number and not all(s.forced for s in live)):
                order = [s.name for s in live]
            elif not proxy.all_backups:
                order = backups
            found[key] = (proxy.lines, shown, order)
        return found


def _shown(proxy: Proxy, s: Server) -> tuple[object, ...]:
    options = {k: v for k, v in s.options.items() if k != "init-addr"}
    number = s.number if s.forced or proxy.by_number else None
    dynamic = s.loaded or "dynamic" not in proxy.last("cookie")
    alerts = s.loaded or not proxy.last("email-alert")
    return (
        *(s.address, s.port, number, s.weight, s.maxconn, s.state, options),
        *(s.checking, s.asked, dynamic, alerts),
    )


def _apply(server: Server, words: list[str]) -> None:
    rest = iter(words)
    for word in rest:
        match word:
            case "id":
                server.number, server.forced = int(next(rest)), True
            case "weight":
                server.weight = int(next(rest))
            case "maxconn":
                server.maxconn = int(next(rest))
            case "disabled":
                server.state = Admin.MAINT
            case "enabled":
                server.state = Admin.READY
            case _ if word in FLAGS:
                server.options[word] = ""
            case _ if word.startswith("no-") and word[3:] in FLAGS:
                server.options.pop(word[3:], None)
            case _ if word in VALUED:
                server.options[word] = next(rest)
            case _:
                raise Refused(f"unknown keyword {word}")


def _checked(server: Server) -> None:
    if not 0 <= server.weight <= 256:
        raise Refused("weight")


def _distinct(proxy: Proxy, name: str, number: int) -> None:
    for other in proxy.servers:
        if other.name == name:
            raise Refused(f"already exists a server with name {name}")
        if number and other.number == number:
            raise Refused(f"custom id {number} already used")


def _free(proxy: Proxy) -> int:
    taken = {s.number for s in proxy.servers}
    return next(n for n in range(1, len(taken) + 2) if n not in taken)


def _entries(content: str) -> list[tuple[str, str]]:
    found = []
    for line in content.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            key, value = line.split(None, 1)
            found.append((key, value.strip()))
    return found
