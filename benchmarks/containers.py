"""From a write to Consul to live traffic, for HAProxy in a container: by a reload, and without one.

Each way to the files and to the sockets has a whole line of its own, beside the host's: a Consul, a
HAProxy 2.6 and an agent. They take turns; reloads come after a calm of their own.
"""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import reloading
from benchmarks.measuring import HEADS, Spread
from benchmarks.report import Section, Table
from tests.support import machine
from tests.support.agent import Agent
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.haproxy import Haproxy
from tests.support.lb import Lb

VERSION = "2.6"
HOST = "host"

Way = tuple[str, bool]
"""See Lb: where the sockets are, and whether the files' folder is shared."""
Ways = Mapping[str, Way]
WAYS = {
    "container: shared folder, master socket on a shared folder": ("shared", True),
    "container: shared folder, master socket inside (bridge)": ("inside", True),
    "container: shared folder, signal (stats socket inside)": ("stats", True),
    "container: files over the API, master socket inside (bridge)": ("inside", False),
}
RUNTIME_WAYS = {
    "container: shared folder, stats socket on a shared folder": ("shared", True),
    "container: shared folder, stats socket inside (bridge)": ("inside", True),
    "container: files over the API, stats socket inside (bridge)": ("inside", False),
}
_PAUSE = 0.3
"""Seconds between two changes without a reload, of all lines together."""


class Line:
    """One whole line; `change` gives the one instance another port."""

    def __init__(
        self, consul: Consul, port: int, agent: Agent, ports: list[int], outcome: str
    ) -> None:
        self.agent = agent
        self.times: list[float] = []
        self._consul = consul
        self._port = port
        self._ports = ports
        self._outcome = outcome

    def register(self) -> None:
        name = reloading.SERVICE
        self._consul.register(name, id=f"{name}-1", address="127.0.0.1", port=self._ports[0])

    def change(self) -> None:
        """Change the port, and add the milliseconds until the new one answers to `times`."""
        self._ports.reverse()
        mark = self.agent.mark()
        self.times.append(
            reloading.until_answer(self.register, self._port, f"s{self._ports[0]}".encode())
        )
        self.agent.wait_cycle(self._outcome, since=mark)


def measure(rounds: int, folder: Path, environ: Mapping[str, str]) -> Section:
    """Measure each way, `rounds` changes of each."""
    section = Section(title="HAProxy in a container: Consul write to live traffic")
    try:
        machine.docker_image(f"stock-{VERSION}")
    except machine.Missing as missing:
        section.parts.append(f"Not measured: {missing}.")
        return section
    reloads = _alternate(rounds, folder / "reloads", WAYS, environ, runtime=False)
    _tell(section, reloads, "a reload")
    changes = _alternate(5 * rounds, folder / "changes", RUNTIME_WAYS, environ, runtime=True)
    _tell(section, changes, "a change without a reload")
    return section


def _alternate(
    rounds: int, folder: Path, ways: Ways, environ: Mapping[str, str], *, runtime: bool
) -> dict[str, list[float]]:
    """Measure the host and these ways in turns; returns the milliseconds of each."""
    with contextlib.ExitStack() as stack:
        backends = stack.enter_context(Backends())
        lines: dict[str, Line] = {}
        for number, (name, way) in enumerate({HOST: None, **ways}.items()):
            place = folder / str(number)
            ports = backends.start_many(2)
            lines[name] = _line(stack, place, way, ports, environ, runtime=runtime)
        pause = _PAUSE if runtime else reloading.CALM
        for number in range(rounds + 2):
            for line in lines.values():
                line.change()
                time.sleep(pause / len(lines))
            if number == 1:
                for line in lines.values():
                    line.times.clear()
        return {name: line.times for name, line in lines.items()}


def _line(
    stack: contextlib.ExitStack,
    place: Path,
    reached: Way | None,
    ports: list[int],
    environ: Mapping[str, str],
    *,
    runtime: bool,
) -> Line:
    place.mkdir(parents=True)
    consul = stack.enter_context(Consul(place / "consul"))
    port, stats = machine.free_ports(2)
    lb = haproxy = None
    if reached is None:
        haproxy = Haproxy(VERSION, place)
        stack.callback(haproxy.close)
    else:
        way, shared = reached
        lb = stack.enter_context(Lb(place, VERSION, shared=shared, way=way))
        lb.create(start=False)
    agent = Agent(
        place / "confsync",
        config=haproxy.cfg if haproxy else Path(lb.config if lb else ""),
        master_socket=haproxy.master_socket if haproxy else place / "none",
        stats_socket=haproxy.admin_socket if haproxy else place / "none",
        binary=haproxy.binary if haproxy else "haproxy",
        source=f'[source]\naddress = "http://{consul.address}"\n',
        bind=f"127.0.0.1:{port}",
        stats_bind=f"127.0.0.1:{stats}",
        target=lb.target() if lb else "",
        extra=f"[runtime]\nenabled = {str(runtime).lower()}\n",
        env=environ,
    )
    line = Line(consul, port, agent, ports, "applied" if runtime else "reloaded")
    line.register()
    stack.enter_context(agent)
    agent.wait_cycle("written", timeout=60)
    mark = agent.mark()
    (lb or haproxy).start()  # type: ignore[union-attr]
    agent.wait(lambda each: "HAProxy runs" in str(each.get("why")), "HAProxy runs", since=mark)
    return line


def _tell(section: Section, lines: Mapping[str, list[float]], through: str) -> None:
    host = Spread.of(lines[HOST]).median
    rows = []
    for name, times in lines.items():
        spread = Spread.of(times)
        rows.append([name, *spread.cells(), f"{spread.median / host:.2f}"])
        section.raw[f"{through}, {name}"] = times
    words = (
        f"Milliseconds from before the PUT to the first answer of the new server, HAProxy {VERSION}"
    )
    section.parts += [
        f"{words}, through {through}; the last column is the ratio to the host's.",
        Table(heads=["ms", *HEADS, "ratio"], rows=rows),
    ]
