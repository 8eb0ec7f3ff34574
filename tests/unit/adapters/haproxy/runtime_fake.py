"""A HAProxy worker made of one unix socket, which speaks prompt sessions and keeps servers and maps.

Its answers are those of a real release (captured/VERSION/runtime.json), by the kind of command.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

CAPTURED = Path(__file__).with_name("captured")
VERSIONS = ("2.6", "2.8", "3.0", "3.2")
HEAD = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
    "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl "
    "srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
_ADMIN = {"ready": 0, "maint": 1, "drain": 8}


def captured(version: str) -> list[tuple[str, str]]:
    """Each command that a real one was told, and its answer, in order."""
    text = (CAPTURED / version / "runtime.json").read_text(encoding="utf-8")
    return [(command, answer) for command, answer in json.loads(text)]


@dataclass
class Server:
    address: str
    port: int
    number: int = 0
    admin: int = 0
    weight: int = 1
    maxconn: int = 0
    checks: int = 6
    agent: int = 0
    busy: int = 0
    """How many deletions are refused yet."""
    runtime: bool = False
    up: bool = True
    """By its checks."""
    checked: int = 1
    """srv_check_status: 1 until the first check."""


@dataclass
class FakeWorker:
    """`asked`: all commands. `odd`: command's beginning -> what is answered in place of doing it.

    `cut_at`: the connection ends when this command comes. `moves_late`: an address changes only after
    so many further commands, as from 3.0 on. `drips`: answers come byte by byte. `remembers`:
    runtime servers keep their settings.
    """

    path: Path
    version: str = "3.2.26"
    release: str = "3.2"
    pid: int = 101
    stopping: int = 0
    level: str = "admin"
    remembers: bool = True
    moves_late: int = 0
    cut_at: str = ""
    drips: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    maps: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: int = 0
    after: Callable[[str], None] = lambda _: None
    _open: list[asyncio.StreamWriter] = field(default_factory=list)
    _late: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._converse, self.path, limit=1 << 22)
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
            for writer in self._open:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    def told(self, *beginnings: str) -> list[str]:
        """The commands that change something, or those that begin so."""
        wanted = beginnings or ("add ", "set ", "del ", "enable ", "disable ", "commit ")
        return [command for command in self.asked if command.startswith(wanted)]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.append(writer)
        with contextlib.suppress(ConnectionError):
            while line := (await reader.readline()).decode():
                command = line.rstrip("\n")
                if command == "quit" or (self.cut_at and command.startswith(self.cut_at)):
                    break
                payload: list[str] = []
                if command.endswith("<<"):
                    while row := (await reader.readline()).decode().rstrip("\n"):
                        payload.append(row)
                self.asked.append(command)
                answer = self._answer(command, payload)
                dots = "+ " * (len(payload) + 1) if payload and self.release < "3.1" else ""
                said = f"{dots}{answer}\n> ".encode()
                for piece in [bytes([byte]) for byte in said] if self.drips else [said]:
                    writer.write(piece)
                    await asyncio.sleep(0)
                self.after(command)
            await writer.drain()
        writer.close()

    def _answer(self, command: str, payload: list[str]) -> str:
        self._late = [(left - 1, change) for left, change in self._late]
        for left, change in self._late:
            if left == 0:
                change()
        for beginning, answer in self.odd.items():
            if command.startswith(beginning):
                return answer
        words = command.split()
        match words:
            case ["prompt"]:
                return ""
            case ["show", "info"]:
                return (
                    f"Name: HAProxy\nVersion: {self.version}\nPid: {self.pid}\n"
                    f"Stopping: {self.stopping}\nStart_time_sec: 5\n\n"
                )
            case ["show", "cli", "level"]:
                return f"{self.level}\n\n"
            case ["help"] | ["add", "server", "help"]:
                return dict(captured(self.release))[command]
            case ["show", "servers", "state", *backend]:
                return self._states(*backend)
            case ["show", "servers", "conn", backend]:
                head = "# bkname/svname bkid/svid addr port - purge_delay used_cur\n"
                return head + "".join(
                    f"{name} 3/1 x 1 - {0 if s.runtime and not self.remembers else 5000} 0\n"
                    for name, s in self.servers.items()
                    if name.startswith(f"{backend}/")
                )
            case ["show", "stat", number, "4", "-1"]:
                return "# pxname,svname,qcur,qmax,scur,smax,slim\n" + "".join(
                    f"{name.replace('/', ',')},0,0,0,0,{s.maxconn or ''}\n"
                    for name, s in self.servers.items()
                    if str(self._number(name)) == number
                )
            case ["add", "server", name, place, *rest]:
                return self._add(name, place, rest)
            case ["del", "server", name]:
                return self._delete(name)
            case ["wait", _, "srv-removable", name]:
                return "Done.\n" if name in self.servers else "Failed.\n"
            case [_, "map", *_]:
                return self._map(words, payload)
            case [_, *_]:
                return self._set(words)
        return "Unknown command\n"

    def _states(self, backend: str = "") -> str:
        rows = [
            f"{self._number(name)} {name.replace('/', f' {s.number} ')} {s.address} "
            f"{0 if s.admin & 1 or not s.up else 2} {s.admin} "
            f"{s.weight} 1 1 {s.checked} 0 2 {s.checks} {s.agent} 0 0 - {s.port} - 0 0 - - 0"
            for name, s in self.servers.items()
            if not backend or name.startswith(f"{backend}/")
        ]
        return "\n".join(("1", HEAD, *rows, "", ""))

    def _number(self, name: str) -> int:
        """A backend's number."""
        backends = list(dict.fromkeys(each.partition("/")[0] for each in self.servers))
        return 3 + backends.index(name.partition("/")[0])

    def _add(self, name: str, place: str, rest: list[str]) -> str:
        if name in self.servers:
            return "Already exists a server with the same name in backend.\n"
        address, _, port = place.rpartition(":")

        def after(word: str, default: int) -> int:
            return int(rest[rest.index(word) + 1]) if word in rest else default

        self.servers[name] = Server(
            address=address.strip("[]"),
            port=int(port),
            number=after("id", 3),
            weight=after("weight", 1),
            maxconn=after("maxconn", 0),
            admin=1,
            checks=2 if "check" in rest else 0,
            runtime=True,
            up="init-state" not in rest,
        )
        return "New server registered.\n"

    def _delete(self, name: str) -> str:
        server = self.servers.get(name)
        if server is None:
            return "No such server.\n"
        if not server.admin & 1:
            return "Only servers in maintenance mode can be deleted.\n"
        if server.busy:
            server.busy -= 1
            return "Server still has connections attached to it, cannot remove it.\n"
        del self.servers[name]
        return "Server deleted.\n"

    def _map(self, words: list[str], payload: list[str]) -> str:
        match words:
            case ["prepare", _, name] if name in self.maps:
                version = max(self.maps[name]) + 1
                self.maps[name][version] = []
                return f"New version created: {version}\n"
            case ["add", _, version, name, "<<"]:
                self.maps[name][int(version[1:])] += payload
                return ""
            case ["show", _, version, name]:
                return "".join(f"0x7f {row}\n" for row in self.maps[name][int(version[1:])])
            case ["commit", _, version, name]:
                self.current[name] = int(version[1:])
                return ""
            case ["clear", _, version, name]:
                del self.maps[name][int(version[1:])]
                return ""
            case ["show", "map"]:
                return "".join(
                    f"0 ({name}) pattern loaded from file '{name}' curr_ver={version} next_ver=9\n"
                    for name, version in self.current.items()
                )
        return "Unknown map identifier. Please use #<id> or <file>.\n"

    def _set(self, words: list[str]) -> str:
        name = next((word for word in words if "/" in word), "")
        server = self.servers.get(name)
        if server is None:
            return "No such server.\n"
        match [word for word in words if word != name]:
            case ["set", "server", "state", state]:
                server.admin = (server.admin & 4) | _ADMIN[state]
            case ["set", "server", "weight", weight]:
                server.weight = int(weight)
            case ["set", "maxconn", "server", limit]:
                server.maxconn = int(limit)
            case ["set", "server", "addr", address, "port", port]:
                self._move(server, address, int(port))
                return f"IP changed from '{server.address}' to '{address}'\n"
            case ["set", "server", "health", health]:
                server.up = health == "up"
            case ["enable", "health"]:
                server.checks = 6
            case ["enable" | "disable" as verb, "agent"]:
                server.agent = 6 if verb == "enable" else 2
        return ""

    def _move(self, server: Server, address: str, port: int) -> None:
        def change() -> None:
            server.address, server.port = address, port

        if self.moves_late:
            self._late.append((self.moves_late, change))
        else:
            change()
