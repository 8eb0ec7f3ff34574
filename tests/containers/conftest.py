"""A site whose HAProxy is in a container: real engine, real Consul, toy servers, confsync outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.agent import Agent
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.lb import Lb
from tests.support.load import Load

# No way to HAProxy but its process.
NO_SOCKETS = """
global
    hard-stop-after 10m
defaults
    mode http
    option idle-close-on-response
    timeout connect 3s
    timeout client 30s
    timeout server 30s
frontend http
    bind 127.0.0.1:PORT
    default_backend web
backend web
{% for each in service("web").instances %}
    server {{ each.server }} {{ each.address }}:{{ each.port }} id {{ each.server_id }}
{% endfor %}
"""
QUICK = "[reload]\ninterval = 0.5\nretry = [0.5, 2]\n"


class Site:
    """Everything of one test; `lb` is created by the test, after the agent or before."""

    def __init__(self, folder: Path, consul: Consul, backends: Backends) -> None:
        self.folder = folder
        self.consul = consul
        self.backends = backends
        self.port, self.stats = machine.free_ports(2)
        self.lb: Lb
        self.agent: Agent
        self._made: list[Lb] = []
        self._count = 0
        self.ports: dict[str, int] = {}

    def build(
        self,
        version: str = "2.6",
        *,
        shared: bool = True,
        way: str = "shared",
        container: str = "",
        env: dict[str, str] | None = None,
        runtime: bool = False,
    ) -> Lb:
        """Choose the container and write the settings for it; starts nothing.

        `runtime` False: every change is a reload, which is what most tests here are about.
        """
        self.lb = Lb(self.folder / "lb", version, shared=shared, way=way)
        self._made.append(self.lb)
        template = ""
        if way == "none":
            source = self.folder / "haproxy.cfg.j2"
            source.write_text(NO_SOCKETS.replace("PORT", str(self.port)))
            template = f'[[template]]\nsource = "{source}"\ndestination = "{self.lb.config}"\n'
        self.agent = Agent(
            self.folder / "confsync",
            config=Path(self.lb.config),
            master_socket=self.lb.master_socket,
            stats_socket=self.lb.stats_socket,
            source=f'[source]\naddress = "http://{self.consul.address}"\nwait = 5\n',
            bind=f"127.0.0.1:{self.port}",
            stats_bind=f"127.0.0.1:{self.stats}",
            template=template,
            target=self.lb.target(container.format(name=self.lb.name)),
            extra=f"{QUICK}[runtime]\nenabled = {str(runtime).lower()}\n",
            env=env,
        )
        return self.lb

    def up(self) -> None:
        """Have a HAProxy that serves one server, from nothing: created, written for, started."""
        self.add()
        self.lb.create(start=False)
        self.agent.start()
        self.agent.wait_cycle("written")
        mark = self.agent.mark()
        self.lb.start()
        self.agent.wait(
            lambda line: str(line.get("event")).startswith("cycle: ") and self._sees(line),
            "HAProxy was noticed",
            since=mark,
        )
        self.lb.wait_worker()

    @staticmethod
    def _sees(line: dict[str, object]) -> bool:
        return line["event"] in {"cycle: in step", "cycle: reloaded"}

    def add(self) -> str:
        """Start a server and register it; returns its name."""
        self._count += 1
        name = f"web-{self._count}"
        self.ports[name] = self.backends.start(name)
        self.register(name)
        return name

    def register(self, name: str, **more: object) -> None:
        """Register one of the servers, perhaps otherwise than before."""
        port = self.ports[name]
        self.consul.register("web", id=name, address="127.0.0.1", port=port, **more)  # type: ignore[arg-type]

    def change(self, load: Load | None = None, outcome: str = "reloaded") -> str:
        """Add a server and wait until HAProxy has it; with a load, until it answers."""
        mark = self.agent.mark()
        name = self.add()
        self.agent.wait_cycle(outcome, since=mark)
        if load is not None:
            load.wait_server(name)
        return name

    def load(self, **options: object) -> Load:
        return Load(self.port, host_header="web", **options)  # type: ignore[arg-type]

    def close(self) -> None:
        if hasattr(self, "agent") and self.agent._process is not None:
            self.agent.stop()
        for lb in self._made:
            lb.__exit__()


@pytest.fixture
def site(tmp_short: Path, consul: Consul, backends: Backends) -> Iterator[Site]:
    made = Site(tmp_short, consul, backends)
    try:
        yield made
    finally:
        made.close()
