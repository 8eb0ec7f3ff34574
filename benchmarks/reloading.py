"""From a write to Consul to live traffic through a reload: confsync against a minimal script.

Two whole lines stand side by side, each with its own Consul, HAProxy (the same configuration but
for the changing server's line, its name and its number) and agent. A change gives the one instance
of a service another port. They take turns, each after a calm, and the clock stops at the first
answer of the new port to a client that asks without pause over new connections.
"""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import site
from benchmarks.measuring import HEADS, Spread
from benchmarks.report import Section, Table, Target
from tests.support import machine
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.haproxy import VERSIONS
from tests.support.process import Process, wait_until

SERVICE = "web"
OTHERS, INSTANCES = 10, 3
CALM = 2.3
"""Seconds between two changes of one line: more than reload.interval."""
LONGEST = 20.0

GET = f"GET / HTTP/1.1\r\nHost: {SERVICE}\r\nConnection: close\r\n\r\n".encode()
STEPS = (("woken", "Consul to watch"), ("written", "render, write"), ("checked", "haproxy -c"))


class Line:
    """One whole line; `change` gives the instance another port."""

    def __init__(self, consul: Consul, place: site.Site, ports: list[int]) -> None:
        self.consul = consul
        self.place = place
        self.begun: list[float] = []
        self.times: list[float] = []
        self._ports = ports

    def register(self) -> None:
        self.consul.register(SERVICE, id=f"{SERVICE}-1", address="127.0.0.1", port=self._ports[0])

    def change(self) -> None:
        """Change the port, and add the milliseconds until the new one answers to `times`."""
        self._ports.reverse()
        self.begun.append(time.monotonic() * 1000)
        wanted = f"s{self._ports[0]}".encode()
        self.times.append(until_answer(self.register, self.place.port, wanted))


def until_answer(change: Callable[[], None], port: int, wanted: bytes) -> float:
    """Make a change; return the milliseconds until the server of this name answers at a port."""
    begin = time.monotonic()
    change()
    while answer(port) != wanted:
        if time.monotonic() - begin > LONGEST:
            raise TimeoutError(f"no traffic within {LONGEST} s at port {port}")
        time.sleep(0.0005)
    return (time.monotonic() - begin) * 1000


def answer(port: int) -> bytes:
    """Ask over a new connection; returns the name of the server that answered, else b""."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 5) as sock,
    ):
        sock.sendall(GET)
        said = b"".join(iter(lambda: sock.recv(65536), b""))
        return said.rpartition(b"\r\n\r\n")[2]
    return b""


def measure(
    rounds: int, folder: Path, environ: Mapping[str, str], versions: Sequence[str] = VERSIONS
) -> Section:
    """Measure those of the versions of HAProxy that this machine has."""
    section = Section(title="Consul write to live traffic, through a reload")
    section.parts.append(
        f"Milliseconds from before the PUT to the first answer of the new server; beside the service "
        f"that changes, {OTHERS} others of {INSTANCES}. After a calm of over 2 s each."
    )
    for version in versions:
        try:
            machine.haproxy_binary(version)
            if version not in {"2.6", "2.8"}:
                machine.docker_image(version)
        except machine.Missing as missing:
            section.parts.append(f"**HAProxy {version}**: not measured, {missing}.")
            continue
        _version(section, version, rounds, folder / version, environ)
    return section


def _version(
    section: Section, version: str, rounds: int, folder: Path, environ: Mapping[str, str]
) -> None:
    with contextlib.ExitStack() as stack:
        backends = stack.enter_context(Backends())
        lines = {
            name: _line(stack, folder / name, version, backends.start_many(2), environ)
            for name in ("confsync", "minimal")
        }
        agent = _confsync(stack, lines["confsync"], environ)
        script = _minimal(stack, lines["minimal"], lines["confsync"], environ)
        for number in range(rounds + 2):
            for line in lines.values():
                line.change()
                time.sleep(CALM / 2)
            if number == 1:
                for line in lines.values():
                    line.begun.clear()
                    line.times.clear()
    _tell(section, version, lines, _stages(agent, rounds), _steps(script, lines["minimal"]))


def _line(
    stack: contextlib.ExitStack,
    folder: Path,
    version: str,
    ports: list[int],
    environ: Mapping[str, str],
) -> Line:
    folder.mkdir(parents=True)
    place = site.Site(folder, version, environ)
    stack.callback(place.haproxy.close)
    line = Line(stack.enter_context(Consul(folder / "consul")), place, ports)
    line.register()
    for service in site.services(OTHERS, INSTANCES)["services"]:
        for each in service["instances"]:
            line.consul.register(service["name"], **each)
    return line


def _confsync(stack: contextlib.ExitStack, line: Line, environ: Mapping[str, str]) -> Path:
    """Start HAProxy and the agent; returns its log."""
    place = line.place
    settings = place.settings(
        "confsync", {"address": f"http://{line.consul.address}"}, runtime=False
    )
    place.begin(settings)
    log = place.folder / "confsync.log"
    agent = Process([site.CONFSYNC, "-c", str(settings), "run"], log=log, env=environ)
    stack.callback(agent.stop)
    wait_until(lambda: "cycle: in step" in log.read_text(), f"in step ({log})")
    return log


def copy_configuration(other: site.Site, place: site.Site) -> None:
    """Give a HAProxy the configuration that confsync has made for another one."""
    for path in other.haproxy.etc.iterdir():
        text = path.read_text().replace(str(other.folder), str(place.folder))
        for old, new in ((other.port, place.port), (other.stats_port, place.stats_port)):
            text = text.replace(f"127.0.0.1:{old}\n", f"127.0.0.1:{new}\n")
        (place.haproxy.etc / path.name).write_text(text)


def _minimal(
    stack: contextlib.ExitStack, line: Line, model: Line, environ: Mapping[str, str]
) -> Path:
    """Start a HAProxy with the other one's configuration, and the script; returns its log."""
    place = line.place
    copy_configuration(model.place, place)
    head, name, rest = place.haproxy.cfg.read_text().partition(f"\nbackend {SERVICE}\n")
    template = place.folder / "template"
    template.write_text(
        head + name + re.sub(r"^    server .*$", "@@SERVERS@@", rest, count=1, flags=re.MULTILINE)
    )
    plan = {
        "consul": f"http://{line.consul.address}",
        "service": SERVICE,
        "template": str(template),
        "config": str(place.haproxy.cfg),
        "master": str(place.haproxy.master_socket),
        "stats": str(place.haproxy.admin_socket),
        "binary": place.haproxy.binary,
    }
    (place.folder / "plan.json").write_text(json.dumps(plan))
    place.haproxy.start()
    log = place.folder / "minimal.log"
    argv = [site.PYTHON, str(Path(__file__).with_name("minimal.py")), f"{place.folder}/plan.json"]
    script = Process(argv, log=log, env=environ)
    stack.callback(script.stop)
    # Its first reload is about the server's name.
    wait_until(lambda: "confirmed" in log.read_text(), f"the script works ({log})")
    return log


def _stages(log: Path, rounds: int) -> dict[str, list[float]]:
    """Read the stages' milliseconds from the summary lines of the reloads that counted."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    cycles = [line["ms"] for line in lines if line["event"] == "cycle: reloaded"][-rounds:]
    return {stage: [cycle.get(stage, 0.0) for cycle in cycles] for stage in cycles[-1]}


def _steps(log: Path, line: Line) -> dict[str, list[float]]:
    """Read what the script printed, as milliseconds of each step."""
    lines = [json.loads(each) for each in log.read_text().splitlines()][-len(line.begun) :]
    found: dict[str, list[float]] = {text: [] for _, text in STEPS}
    for begun, steps in zip(line.begun, lines, strict=True):
        before = begun
        for step, text in STEPS:
            found[text].append(steps[step] - before)
            before = steps[step]
        found.setdefault("reload, proof", []).append(steps["confirmed"] - before)
    return found


def _tell(
    section: Section,
    version: str,
    lines: Mapping[str, Line],
    stages: Mapping[str, list[float]],
    steps: Mapping[str, list[float]],
) -> None:
    ours, floor = (Spread.of(lines[name].times) for name in ("confsync", "minimal"))
    rows = [["confsync", *ours.cells()], ["minimal script", *floor.cells()]]
    rows += [[f"confsync: {stage}", *Spread.of(ms).cells()] for stage, ms in stages.items()]
    rows += [[f"script: {step}", *Spread.of(ms).cells()] for step, ms in steps.items()]
    section.parts += [f"**HAProxy {version}**", Table(heads=["ms", *HEADS], rows=rows)]
    section.targets.append(
        Target(
            what=f"Consul to traffic by a reload, HAProxy {version}: `confsync` : minimal script, p50",
            limit=1.3,
            found=ours.median / floor.median,
        )
    )
    raw: dict[str, Any] = {name: line.times for name, line in lines.items()}
    section.raw[version] = raw | {"stages": stages, "steps": steps}
