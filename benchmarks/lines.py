"""Whole lines for changes without a reload: a Consul, a HAProxy, and who brings one to the other.

In each, service `web` has a server that stays and one that comes and goes. All times are milliseconds
from before the PUT to Consul.
"""

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import asking, reloading, site
from benchmarks.measuring import cpu_seconds
from tests.support.consul import Consul
from tests.support.process import Process, wait_until

SERVICE = reloading.SERVICE
CONSUL_TEMPLATE = "consul-template"
RELOADING = 0.2
"""Seconds that a reload may hold a client up: that is the tool's doing."""


@dataclass(kw_only=True)
class Line:
    """One line. `ports`: of the servers that come and go in turn. `begun`: when
    each change began (the monotonic clock's ms). `log`: what the tool printed."""

    name: str
    consul: Consul
    place: site.Site
    tool: Process
    ports: Sequence[int]
    came: list[float] = field(default_factory=list)
    went: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    turn: int = 0
    held_up: float = asking.HELD_UP

    @property
    def port(self) -> int:
        return self.ports[self.turn % len(self.ports)]

    def put(self) -> None:
        with asking.came(SERVICE, self.port).made(self.consul.port):
            pass

    def take(self) -> None:
        with asking.went(SERVICE, self.port).made(self.consul.port):
            pass

    def add(self) -> None:
        """Register a server, and time its first answer."""
        change, name = asking.came(SERVICE, self.port), f"s{self.port}".encode()
        self.begun.append(time.monotonic() * 1000)
        self.came.append(self._client().first(self.consul.port, change, name))

    def remove(self) -> None:
        """Deregister it, and time its last answer."""
        change, name = asking.went(SERVICE, self.port), f"s{self.port}".encode()
        self.begun.append(time.monotonic() * 1000)
        found = self._client().last(self.consul.port, change, name, self.held_up)
        if found is not None:
            self.went.append(found)
        self.turn += 1

    def _client(self) -> asking.Client:
        return asking.Client(self.place.port, SERVICE)

    def cpu(self) -> float:
        """Tell the tool's CPU seconds so far, those of its children in it."""
        return cpu_seconds(self.tool.pid)


class Maker:
    """Makes lines, and ends them with the stack. `stays`: the port of the server that stays."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        folder: Path,
        version: str,
        stays: int,
        environ: Mapping[str, str],
        *,
        fill: Callable[[Consul], None],
        template: str = "",
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._version = version
        self._stays = stays
        self._environ = environ
        self._fill = fill
        self._template = template
        self._model: site.Site | None = None

    def confsync(self, ports: Sequence[int], *, beats: Path | None = None) -> Line:
        """Make confsync's line, the first of all: the others get the configuration it has made.

        `beats`: a file for what benchmarks.beating tells.
        """
        place, consul = self._place("confsync")
        source = {"address": f"http://{consul.address}"}
        template = self._template or "builtin:haproxy.cfg"
        settings = place.settings("confsync", source, template=template)
        place.begin(settings)
        argv = [site.CONFSYNC]
        if beats is not None:
            argv = [site.PYTHON, "-m", "benchmarks.beating", str(beats)]
        log = place.folder / "confsync.log"
        tool = self._run([*argv, "-c", str(settings), "run"], log)
        wait_until(lambda: "cycle: in step" in log.read_text(), f"in step ({log})", timeout=120)
        self._model = place
        return Line(name="confsync", consul=consul, place=place, tool=tool, ports=ports)

    def floor(self, ports: Sequence[int]) -> Line:
        """Make the line of floor.py."""
        return self._script("floor", ports)

    def keeping(self, ports: Sequence[int]) -> Line:
        """Make the line of keeping.py."""
        return self._script("keeping", ports)

    def _script(self, name: str, ports: Sequence[int]) -> Line:
        place, consul = self._like(name)
        place.haproxy.start()
        plan = {
            "consul": consul.address,
            "service": SERVICE,
            "stats": str(place.haproxy.admin_socket),
            "cfg": str(place.haproxy.cfg),
        }
        (place.folder / "plan.json").write_text(json.dumps(plan))
        log = place.folder / f"{name}.log"
        script = f"benchmarks.{name}"
        tool = self._run([site.PYTHON, "-m", script, f"{place.folder}/plan.json"], log)
        wait_until(lambda: "ready" in log.read_text(), f"{name} works ({log})")
        return Line(name=name, consul=consul, place=place, tool=tool, ports=ports)

    def consul_template(self, ports: Sequence[int]) -> Line | None:
        """Make consul-template's line: a template, `haproxy -c`, a signal (None: it is missing)."""
        program = shutil.which(CONSUL_TEMPLATE)
        if program is None:
            return None
        place, consul = self._like(CONSUL_TEMPLATE)
        place.haproxy.start()
        head, backend, rest = place.haproxy.cfg.read_text().partition(f"\nbackend {SERVICE}\n")
        servers = (
            f'{{{{range service "{SERVICE}"}}}}    server {{{{.Address}}}}_{{{{.Port}}}} '
            "{{.Address}}:{{.Port}}\n{{end}}"
        )
        template = place.folder / "template"
        template.write_text(
            head + backend + re.sub(r"^    server .*\n", servers, rest, count=1, flags=re.MULTILINE)
        )
        cfg = place.haproxy.cfg
        command = f"{place.haproxy.binary} -c -f {cfg} && kill -USR2 {place.haproxy.pid}"
        settings = place.folder / "ct.hcl"
        settings.write_text(
            f'consul {{ address = "{consul.address}" }}\n'
            f'template {{\n source = "{template}"\n destination = "{cfg}"\n'
            f" command = {json.dumps(['/bin/sh', '-c', command])}\n}}\n"
        )
        log = place.folder / "ct.log"
        tool = self._run([program, "-config", str(settings)], log)
        wait_until(lambda: "_" in cfg.read_text().partition(f"\nbackend {SERVICE}\n")[2], "a file")
        time.sleep(1)  # its first reload
        return Line(
            name=CONSUL_TEMPLATE,
            consul=consul,
            place=place,
            tool=tool,
            ports=ports,
            held_up=RELOADING,
        )

    def _place(self, name: str) -> tuple[site.Site, Consul]:
        folder = self._folder / name
        folder.mkdir(parents=True)
        place = site.Site(folder, self._version, self._environ)
        self._stack.callback(place.haproxy.close)
        consul = self._stack.enter_context(Consul(folder / "consul"))
        consul.register(SERVICE, address="127.0.0.1", port=self._stays)
        self._fill(consul)
        return place, consul

    def _like(self, name: str) -> tuple[site.Site, Consul]:
        assert self._model is not None, "confsync's line comes first"
        place, consul = self._place(name)
        reloading.copy_configuration(self._model, place)
        return place, consul

    def _run(self, argv: Sequence[str], log: Path) -> Process:
        tool = Process(argv, log=log, env=self._environ)
        self._stack.callback(tool.stop)
        return tool
