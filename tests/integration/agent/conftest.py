"""A whole site: real Consul, real HAProxy of a version, toy servers, and confsync between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.agent import Agent
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.haproxy import Haproxy
from tests.support.load import Load

QUICK = "[reload]\ninterval = 0.5\nretry = [0.5, 2]\n"
RELOADS = f"{QUICK}[runtime]\nenabled = false\n"


class Site:
    """Everything of one test. Servers are named after their service and a number."""

    def __init__(self, folder: Path, consul: Consul, haproxy: Haproxy, backends: Backends) -> None:
        self.folder = folder
        self.consul = consul
        self.haproxy = haproxy
        self.backends = backends
        self.port, stats = machine.free_ports(2)
        self.agent = self.agent_with(stats=stats)
        self._numbers: dict[str, int] = {}
        self.ports: dict[str, int] = {}

    def agent_with(
        self, *, stats: int = 0, source: str = "", extra: str = "", template: str = ""
    ) -> Agent:
        return Agent(
            self.folder / "confsync",
            config=self.haproxy.cfg,
            master_socket=self.haproxy.master_socket,
            stats_socket=self.haproxy.admin_socket,
            binary=self.haproxy.binary,
            source=source or f'[source]\naddress = "http://{self.consul.address}"\nwait = 5\n',
            bind=f"127.0.0.1:{self.port}",
            stats_bind=f"127.0.0.1:{stats or machine.free_port()}",
            extra=extra or QUICK,
            template=template,
        )

    def add(self, service: str = "web") -> str:
        """Start a server and register it; returns its name."""
        number = self._numbers[service] = self._numbers.get(service, 0) + 1
        name = f"{service}-{number}"
        self.ports[name] = self.backends.start(name)
        self.consul.register(service, id=name, address="127.0.0.1", port=self.ports[name])
        return name

    def drop(self, name: str) -> None:
        """Deregister a server; it goes on running."""
        self.consul.deregister(name)

    def up(self) -> None:
        """Start the agent, which writes the first configuration, then HAProxy."""
        self.agent.start()
        self.agent.wait(lambda _: self.haproxy.cfg.exists(), "the first configuration")
        self.agent.wait_cycle("written")
        self.haproxy.start()
        self.agent.wait(lambda line: "HAProxy runs" in str(line.get("why")), "HAProxy was noticed")

    def load(self, service: str = "web", **options: object) -> Load:
        return Load(self.port, host_header=service, **options)  # type: ignore[arg-type]

    def agrees(self) -> None:
        """HAProxy's own check accepts the file, and what serves is what the file says."""
        code, words = self.haproxy.check()
        assert code == 0, words
        states = self.haproxy.runtime("show servers state").splitlines()
        rows = [words for words in map(str.split, states) if len(words) > 6 and words[0] != "#"]
        serving = {words[3] for words in rows if not int(words[6]) & 1}  # 1: in maintenance
        text = self.haproxy.cfg.read_text()
        written = {
            line.split()[1] for line in text.splitlines() if line.strip().startswith("server ")
        }
        assert written == serving


@pytest.fixture
def site(tmp_short: Path, consul: Consul, haproxy: Haproxy, backends: Backends) -> Iterator[Site]:
    made = Site(tmp_short, consul, haproxy, backends)
    yield made
    if made.agent._process is not None:
        made.agent.stop()


on_26 = pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
on_28 = pytest.mark.parametrize("haproxy_version", ["2.8"], indirect=True)
