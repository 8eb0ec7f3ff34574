"""The registries that the demo writes to: a real Consul agent, or the file of the file source.

Both are the other side of confsync's sources: what registrator, a deployment or an operator does.
"""

import asyncio
import contextlib
import http.client
import json
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from confsync import errors
from confsync.demo import children, programs, site

START = 30.0  # seconds that a Consul may take to elect itself

Guard = Callable[[children.Program], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """An instance as it is registered; hostile ones may hold any text."""

    service: str
    id: str
    address: str = "127.0.0.1"
    port: int
    tags: tuple[str, ...] = ()


class Registry(Protocol):
    """What the scenario does to a registry. All raise Unavailable."""

    @property
    def title(self) -> str:
        """What it is, for the operator."""

    @property
    def source(self) -> dict[str, str]:
        """The agent's settings for it: the keys of [source]."""

    @property
    def mishap(self) -> tuple[str, str]:
        """What `lose` and `recover` do, in words."""

    async def start(self) -> None:
        """Make it ready."""

    async def put(self, registration: Registration) -> None:
        """Register an instance."""

    async def remove(self, registration: Registration) -> None:
        """Take an instance back."""

    async def lose(self) -> None:
        """Have it break."""

    async def recover(self) -> None:
        """Have it back with all that is registered."""

    async def stop(self) -> None:
        """End what `start` began."""


class File:
    """`services.json`, replaced as a whole on each change, as interface.md describes it."""

    title = "the file source"
    mishap = (
        "services.json is cut in half by a careless editor",
        "services.json is whole again",
    )

    def __init__(self, folder: Path) -> None:
        self._path = folder / "services.json"
        self._all: dict[str, Registration] = {}

    @property
    def source(self) -> dict[str, str]:
        """The agent's settings for it: the keys of [source]."""
        return {"type": "file", "path": str(self._path)}

    async def start(self) -> None:
        """Write a file without services."""
        self._write()

    async def put(self, registration: Registration) -> None:
        """Register an instance."""
        self._all[registration.id] = registration
        self._write()

    async def remove(self, registration: Registration) -> None:
        """Take an instance back."""
        del self._all[registration.id]
        self._write()

    async def lose(self) -> None:
        """Leave half of the file."""
        text = self._path.read_text()
        self._path.write_text(text[: len(text) // 2])

    async def recover(self) -> None:
        """Write the whole file again."""
        self._write()

    async def stop(self) -> None:
        """Nothing runs."""

    def _write(self) -> None:
        services: dict[str, list[dict[str, Any]]] = {}
        for each in self._all.values():
            services.setdefault(each.service, []).append(
                {"id": each.id, "address": each.address, "port": each.port, "tags": each.tags}
            )
        content = [{"name": name, "instances": rows} for name, rows in services.items()]
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"services": content}, indent=1))
        new.replace(self._path)


class Consul:
    """A Consul agent in development mode: in memory, on loopback, asking nobody for updates."""

    mishap = (
        "Consul is killed",
        "Consul is back, empty; its services register again",
    )

    def __init__(
        self,
        program: programs.Program,
        folder: Path,
        guard: Guard,
        *,
        ports: tuple[int, ...] = (),
    ) -> None:
        """`guard` is called with each process, so that an unexpected end is noticed.

        `ports`: of HTTP, RPC and both gossips; free ones by default.
        """
        self.title = f"Consul {program.version}"
        self._program = program
        self._folder = folder
        self._guard = guard
        self._ports = ports or site.free_ports(4)
        self._child: children.Program | None = None
        self._all: dict[str, Registration] = {}

    @property
    def source(self) -> dict[str, str]:
        """The agent's settings for it: the keys of [source]."""
        return {"type": "consul", "address": f"http://127.0.0.1:{self._ports[0]}"}

    async def start(self) -> None:
        """Start the agent and wait until it leads itself."""
        self._child = await children.Program.start("consul", self.argv(), folder=self._folder)
        self._guard(self._child)
        end = time.monotonic() + START
        while time.monotonic() < end:
            with contextlib.suppress(errors.Unavailable):
                nodes = await self._ask("GET", "/v1/catalog/nodes")
                if nodes and await self._ask("GET", "/v1/status/leader"):
                    return
            await asyncio.sleep(0.05)
        raise errors.Unavailable("Consul does not get ready", detail=self._child.tail())

    async def put(self, registration: Registration) -> None:
        """Register an instance."""
        self._all[registration.id] = registration
        await self._register(registration)

    async def remove(self, registration: Registration) -> None:
        """Take an instance back."""
        del self._all[registration.id]
        name = urllib.parse.quote(registration.id, safe="")
        await self._ask("PUT", f"/v1/agent/service/deregister/{name}")

    async def lose(self) -> None:
        """Kill it."""
        assert self._child is not None
        await self._child.kill()

    async def recover(self) -> None:
        """Start it, which knows nothing any more, and register all, as registrator does."""
        await self.start()
        for registration in self._all.values():
            await self._register(registration)

    async def stop(self) -> None:
        """End the agent."""
        if self._child is not None:
            await self._child.stop()

    def argv(self) -> list[str]:
        """Return the command that starts it."""
        http_port, server, lan, wan = self._ports
        argv = [
            *(self._program.path, "agent", "-dev", "-node=demo", "-log-level=warn"),
            *("-bind=127.0.0.1", "-client=127.0.0.1", "-hcl=disable_update_check = true"),
            *(f"-http-port={http_port}", f"-server-port={server}"),
            *(f"-serf-lan-port={lan}", f"-serf-wan-port={wan}", "-dns-port=-1", "-grpc-port=-1"),
        ]
        # Since 1.14 development mode opens one port more, which older ones do not know.
        if self._program.number >= (1, 14):
            argv.append("-grpc-tls-port=-1")
        return argv

    async def _register(self, registration: Registration) -> None:
        await self._ask(
            "PUT",
            "/v1/agent/service/register",
            {
                "ID": registration.id,
                "Name": registration.service,
                "Address": registration.address,
                "Port": registration.port,
                "Tags": registration.tags,
            },
        )

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(_request, self._ports[0], method, path, body)


def _request(port: int, method: str, path: str, body: object) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise errors.Unavailable(f"Consul: {method} {path}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise errors.Unavailable(f"Consul: {method} {path}: {answer.status} {text!r}")
    return json.loads(text) if text else None
