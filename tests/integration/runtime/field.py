"""One HAProxy with an operator's own template, an agent, and a registry that tests change at will.

Consul is shared by a module's tests. What each test registers is known here, so that HAProxy, the
file and the registry can be compared at any time by means that are not confsync's.
"""

import dataclasses
import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support import machine
from tests.support.agent import Agent
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.haproxy import Haproxy
from tests.support.load import Load
from tests.support.process import wait_until

TEMPLATES = Path(__file__).with_name("templates")
QUICK = "[reload]\ninterval = 0.5\nretry = [0.5, 2]\n"
MAINT, DRAIN = 0x01, 0x08


@dataclasses.dataclass(slots=True, kw_only=True)
class Instance:
    """What is registered. `name`: what the toy server calls itself, where the field has started it.

    `out`: "" while it serves, else "critical" or "maintenance".
    """

    service: str
    port: int
    name: str = ""
    weight: int = 1
    out: str = ""

    @property
    def id(self) -> str:
        """Its id in Consul."""
        return f"{self.service}-{self.port}"

    @property
    def server(self) -> str:
        """Its name in the templates."""
        return f"127.0.0.1:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A server as `show servers state` has it. `state`: ready, drain or maint, as forced."""

    state: str
    weight: int
    place: str
    number: int


class Field:
    """Everything of one test. `times`: what the template multiplies weights with."""

    def __init__(
        self,
        folder: Path,
        version: str,
        consul: Consul,
        backends: Backends,
        *,
        template: str,
        runtime: str = "",
        extra: str = "",
        stats_socket: Path | None = None,
    ) -> None:
        """`runtime`: more lines of [runtime]; `stats_socket`: what the agent takes for HAProxy's."""
        self.folder = folder
        self.consul = consul
        self.backends = backends
        self.haproxy = Haproxy(version, folder / "hap")
        self.port, self.plain = machine.free_ports(2)
        self.times = 10 if template == "hashing" else 1
        self.instances: dict[str, Instance] = {}
        source = f'[source]\naddress = "http://{consul.address}"\nwait = 5\n'
        variables = (
            f'bind = "127.0.0.1:{self.port}"\nplain = "127.0.0.1:{self.plain}"\n'
            f'admin = "{self.haproxy.admin_socket}"\n'
        )
        template = (
            f'[[template]]\nsource = "{TEMPLATES / template}.cfg.j2"\n'
            f'destination = "{self.haproxy.cfg}"\n[template.vars]\n{variables}'
        )
        # A link, as a package's upgrade would replace the program.
        self.binary = folder / "haproxy"
        self.binary.symlink_to(self.haproxy.binary)
        self.agent = Agent(
            folder / "confsync",
            config=self.haproxy.cfg,
            master_socket=self.haproxy.master_socket,
            stats_socket=stats_socket or self.haproxy.admin_socket,
            binary=str(self.binary),
            source=source,
            bind="",
            template=template,
            extra=f"{QUICK}[runtime]\n{runtime}\n{extra}",
        )

    # Its life

    def up(self) -> None:
        """Start the agent, which writes the first configuration, then HAProxy."""
        self.agent.start()
        self.agent.wait_cycle("written")
        self.haproxy.start()
        self.agent.wait(lambda line: "HAProxy runs" in str(line.get("why")), "HAProxy was noticed")
        self.agreed()

    def upgrade(self, version: str, *, kill: bool = False) -> None:
        """Replace HAProxy and its program by another release, on the same files."""
        (self.haproxy.kill9 if kill else self.haproxy.stop)()
        self.haproxy.close()
        self.haproxy = Haproxy(version, self.haproxy.directory)
        self.binary.unlink()
        self.binary.symlink_to(self.haproxy.binary)
        self.haproxy.start()

    def close(self) -> None:
        """End both, and leave nothing in the registry."""
        for instance in list(self.instances.values()):
            self.drop(instance)
        if self.agent._process is not None:
            self.agent.stop()
        self.haproxy.close()

    # The registry

    def add(self, service: str = "web", *, port: int = 0, weight: int = 1) -> Instance:
        """Open a port, unless one is given, and register it."""
        name = "" if port else f"{service}.{len(self.instances)}.{machine.free_port()}"
        port = port or self.backends.start(name)
        instance = Instance(service=service, port=port, weight=weight, name=name)
        self.instances[instance.id] = instance
        self.register(instance)
        return instance

    def register(self, instance: Instance) -> None:
        """Write an instance to Consul, with a check that the test passes or fails."""
        self.consul.register(
            instance.service,
            id=instance.id,
            address="127.0.0.1",
            port=instance.port,
            weights={"Passing": instance.weight, "Warning": 1},
            checks=[{"TTL": "3600s", "Status": "critical" if instance.out else "passing"}],
        )

    def drop(self, instance: Instance) -> None:
        """Deregister an instance; it goes on running."""
        self.consul.deregister(instance.id)
        del self.instances[instance.id]

    def weigh(self, instance: Instance, weight: int) -> None:
        instance.weight = weight
        self.register(instance)

    def fail(self, instance: Instance) -> None:
        instance.out = "critical"
        self.consul.check(f"service:{instance.id}", "fail")

    def recover(self, instance: Instance) -> None:
        instance.out = ""
        self.consul.check(f"service:{instance.id}", "pass")

    def maintain(self, instance: Instance, *, enable: bool = True) -> None:
        instance.out = "maintenance" if enable else ""
        self.consul.maintenance(instance.id, enable=enable)

    def serving(self, service: str = "") -> list[Instance]:
        """List what should take requests."""
        return [
            one
            for one in self.instances.values()
            if not one.out and (not service or one.service == service)
        ]

    # HAProxy and the file

    def rows(self) -> dict[tuple[str, str], Row]:
        """Read all servers that HAProxy has, by backend and name."""
        found = {}
        for line in self.haproxy.runtime("show servers state").splitlines():
            row = line.split()
            if len(row) < 19 or row[0] == "#":
                continue
            admin = int(row[6])
            found[row[1], row[3]] = Row(
                state="maint" if admin & MAINT else "drain" if admin & DRAIN else "ready",
                weight=int(row[7]),
                place=f"{row[4]}:{row[18]}",
                number=int(row[2]),
            )
        return found

    def row(self, instance: Instance, *, backend: str = "") -> Row | None:
        return self.rows().get((backend or instance.service, instance.server))

    def differences(self) -> str:
        """Say how what HAProxy gives traffic to differs from the registry ("": not at all)."""
        wanted = {(i.service, i.server): i.weight * self.times for i in self.serving()}
        found = {place: row for place, row in self.rows().items() if row.state == "ready"}
        for place in wanted.keys() | found.keys():
            if place not in found:
                return f"{place} should serve"
            if place not in wanted:
                return f"{place} serves"
            if wanted[place] != found[place].weight:
                return f"{place} weighs {found[place].weight}, not {wanted[place]}"
        return ""

    def agreed(self, *, timeout: float = 20) -> None:
        """Wait until HAProxy gives traffic to those that the registry serves, with their weights."""
        said = [""]

        def agrees() -> bool:
            said[0] = self.differences()
            return not said[0]

        try:
            wait_until(agrees, "HAProxy agrees with the registry", timeout=timeout)
        except TimeoutError as error:
            log = self.agent.output()[-3000:]
            raise AssertionError(f"{error}: {said[0]}; the log ends:\n{log}") from None

    def whole(self) -> None:
        """HAProxy, the file and the registry say the same, and a reload changes nothing of it."""
        self.agreed()
        code, words = self.haproxy.check()
        assert code == 0, words
        text = self.haproxy.cfg.read_text()
        written = sorted(w[1] for w in map(str.split, text.splitlines()) if w[:1] == ["server"])
        assert written == sorted(i.server for i in self.serving())
        self.in_step()
        before = _alive(self.rows())
        self.haproxy.reload()
        assert _alive(self.rows()) == before

    def in_step(self) -> None:
        """Wait until a dry run finds nothing to do: the record is kept some 0.4 s after a change."""
        said = [""]

        def nothing() -> bool:
            done = self.agent.run("once")
            said[0] = done.stdout + done.stderr
            return done.returncode == 0

        try:
            wait_until(nothing, "a dry run that would change nothing", timeout=10)
        except TimeoutError as error:
            raise AssertionError(f"{error}:\n{said[0]}") from None

    def reload_reasons(self, *, since: int = 0) -> list[str]:
        """List what confsync gave as reasons of its reloads, one text a reload."""
        lines = self.agent.log()[since:]
        return [str(one.get("done")) for one in lines if one.get("event") == "cycle: reloaded"]

    # Clients

    def load(self, *, port: int = 0, **options: object) -> Load:
        return Load(port or self.port, **options)  # type: ignore[arg-type]

    def get(self, path: str = "/", *, cookie: str = "") -> tuple[int, str, str]:
        """Ask once; return the status, who answered, and the cookie that came with it."""
        with Client(self.port) as client:
            return client.get(path, cookie=cookie)

    def requests(self, instance: Instance) -> int:
        """Count what a toy server has answered."""
        return self.backends.counts()[instance.port].requests


class Client:
    """A client with one connection, kept alive."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str = "/", *, cookie: str = "") -> tuple[int, str, str]:
        headers: Mapping[str, str] = {"Cookie": cookie} if cookie else {}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        answer.read()
        given = answer.headers.get("Set-Cookie", "").partition(";")[0]
        return answer.status, answer.headers.get("X-Server", ""), given


def _alive(rows: Mapping[tuple[str, str], Row]) -> dict[tuple[str, str], tuple[object, ...]]:
    """What must be the same before and after a reload; a number only where the file gives it."""
    return {
        place: (row.state, row.weight, row.place, row.number if row.number > 65_535 else 0)
        for place, row in rows.items()
        if row.state == "ready"
    }
