"""Stand-ins for a Docker engine: its HTTP on a unix socket, and the client above the SDK."""

import contextlib
import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from confsync.adapters.docker import faults
from confsync.adapters.docker.endpoint import Endpoint

Answer = tuple[int, object]
"""Status, and what becomes JSON (bytes: as they are)."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answer: Callable[[str, str], Answer | None]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        found = self.server.answer(self.command, self.path)
        if found is None:
            self.close_connection = True
            return
        status, said = found
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def http_engine(path: Path, answer: Callable[[str, str], Answer | None]) -> Iterator[None]:
    """Serve; `answer` gets method and path, and returns None to cut the connection."""
    with _Server(str(path), _Handler) as server:
        server.answer = lambda method, asked: (
            (200, {"ApiVersion": "1.41"}) if asked == "/version" else answer(method, asked)
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def listed(ident: str, name: str, state: str = "running", **labels: str) -> dict[str, Any]:
    """Write a container as GET /containers/json has it."""
    return {"Id": ident, "Names": [f"/{name}"], "State": state, "Labels": labels}


class FakeClient:
    """An engine of a few containers. `calls`: what was asked; `broken`: raised instead, once each.

    What is in `hanging` ends when the test sets `goes_on`.
    """

    version = "1.41"

    def __init__(self, *containers: Mapping[str, Any]) -> None:
        self.containers = [dict(each) for each in containers]
        self.calls: list[tuple[Any, ...]] = []
        self.made = 0
        self.broken: dict[str, Exception] = {}
        self.hanging: set[str] = set()
        self.goes_on = threading.Event()
        self.details: dict[str, Any] = {}
        self.files: dict[str, tuple[Mapping[str, Any], bytes]] = {}
        self.rows: list[list[str]] = []
        self.logged = b""
        self.closed = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(socket="/nowhere/docker.sock")

    def close(self) -> None:
        self.closed += 1

    def _called(self, name: str, *args: Any) -> None:
        self.calls.append((name, *args))
        if name in self.hanging:
            self.goes_on.wait(60)
        if error := self.broken.pop(name, None):
            raise error

    def inspect(self, name: str) -> dict[str, Any]:
        self._called("inspect", name)
        found = [c for c in self.containers if c["Id"].startswith(name) or f"/{name}" in c["Names"]]
        exact = [c for c in found if f"/{name}" in c["Names"] or c["Id"] == name]
        if len(found) > 1 and not exact:
            raise refusal(400, f"multiple IDs found with provided prefix: {name}")
        if not found:
            raise refusal(404, f"No such container: {name}")
        one = (exact or found)[0]
        return {
            "Id": one["Id"],
            "Name": one["Names"][0],
            "State": {"Status": one["State"], "ExitCode": 7},
            "Config": {"Labels": one["Labels"]},
            **self.details,
        }

    def list(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        self._called("list", label)
        name, equals, value = label.partition("=")
        return [
            c
            for c in self.containers
            if not label or (name in c["Labels"] and (not equals or c["Labels"][name] == value))
        ]

    def exec_create(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Sequence[str] = (),
        directory: str = "",
        user: str = "",
        stdin: bool = False,
    ) -> str:
        self._called("exec_create", container, tuple(argv), tuple(environment), directory, user)
        return "e1"

    def exec_code(self, exec_id: str) -> int | None:
        self._called("exec_code", exec_id)
        return 0

    def put(self, container: str, folder: str, packed: bytes) -> None:
        self._called("put", container, folder)

    def get(self, container: str, path: str, limit: int) -> tuple[Mapping[str, Any], bytes]:
        self._called("get", container, path)
        if path not in self.files:
            raise refusal(404, f"Could not find the file {path} in container {container}")
        return self.files[path]

    def kill(self, container: str, signal: str) -> None:
        self._called("kill", container, signal)

    def top(self, container: str, columns: str) -> Sequence[Sequence[str]]:
        self._called("top", container, columns)
        return self.rows

    def logs(self, container: str, since: float, lines: int, limit: int) -> bytes:
        self._called("logs", container, since, lines)
        return self.logged

    def create(self, container: str, argv: Sequence[str], made: Mapping[str, Any]) -> str:
        self._called("create", container, tuple(argv), made)
        self.containers.append(
            {
                "Id": "f" * 64,
                "Names": [f"/{made['name']}"],
                "State": "created",
                "Labels": dict(made["labels"]),
            }
        )
        self.made += 1
        return "f" * 64

    def start(self, container: str) -> None:
        self._called("start", container)
        for each in self.containers:
            if f"/{container}" in each["Names"]:
                each["State"] = "running" if "ended" in self.hanging else "exited"

    def remove(self, container: str) -> None:
        self._called("remove", container)
        self.containers = [
            c for c in self.containers if f"/{container}" not in c["Names"] and c["Id"] != container
        ]


def refusal(status: int, words: str) -> faults.Refusal:
    """Say no as the engine does."""
    return faults.Refusal(f"the Docker engine refuses: {words}", status=status, words=words)
