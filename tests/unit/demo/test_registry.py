"""The registries: a file that is whole at any time, and a Consul's errors in our own words."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.demo import children, programs, registry


def web(number: int) -> registry.Registration:
    return registry.Registration(service="web", id=f"web-{number}", port=8000 + number)


async def test_the_file_holds_what_is_registered(tmp_path: Path) -> None:
    source = registry.File(tmp_path)
    path = Path(source.source["path"])
    await source.start()
    assert json.loads(path.read_text()) == {"services": []}
    await source.put(web(1))
    await source.put(web(2))
    await source.remove(web(1))
    assert json.loads(path.read_text()) == {
        "services": [
            {
                "name": "web",
                "instances": [{"id": "web-2", "address": "127.0.0.1", "port": 8002, "tags": []}],
            }
        ]
    }
    await source.stop()
    assert list(tmp_path.iterdir()) == [path]


async def test_the_file_breaks_and_comes_back(tmp_path: Path) -> None:
    source = registry.File(tmp_path)
    path = Path(source.source["path"])
    await source.put(web(1))
    whole = path.read_text()
    await source.lose()
    assert path.read_text() == whole[: len(whole) // 2]
    await source.recover()
    assert path.read_text() == whole


class Refusing(http.server.BaseHTTPRequestHandler):
    asked: list[tuple[str, bytes]]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.path, body))
        self.send_response(400 if b"bad" in body else 200)
        self.end_headers()
        self.wfile.write(b"no" if b"bad" in body else b"")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    Refusing.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], Refusing.asked
        server.shutdown()
        thread.join()


def consul(tmp_path: Path, port: int) -> registry.Consul:
    def guard(child: children.Program) -> None:
        raise AssertionError(child.name)

    program = programs.Program(path="/nowhere/consul", version="1.8.7")
    return registry.Consul(program, tmp_path, guard, ports=(port, 2, 3, 4))


async def test_consul_gets_what_is_registered(
    tmp_path: Path, answering: tuple[int, list[tuple[str, bytes]]]
) -> None:
    port, asked = answering
    source = consul(tmp_path, port)
    one = registry.Registration(service="web", id="web/1 x", port=80)
    await source.put(one)
    await source.remove(one)
    assert [path for path, _ in asked] == [
        "/v1/agent/service/register",
        "/v1/agent/service/deregister/web%2F1%20x",
    ]
    assert json.loads(asked[0][1]) == {
        "ID": "web/1 x",
        "Name": "web",
        "Address": "127.0.0.1",
        "Port": 80,
        "Tags": [],
    }


async def test_a_refusal_is_unavailable(
    tmp_path: Path, answering: tuple[int, list[tuple[str, bytes]]]
) -> None:
    source = consul(tmp_path, answering[0])
    with pytest.raises(errors.Unavailable, match="400"):
        await source.put(registry.Registration(service="bad", id="x", port=1))


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="refused"):
        await consul(tmp_path, 1).put(web(1))


@pytest.mark.parametrize(("version", "more"), [("1.8.7", False), ("1.22.0", True)])
def test_only_new_consuls_know_the_second_grpc_port(
    tmp_path: Path, version: str, more: bool
) -> None:
    program = programs.Program(path="consul", version=version)
    argv = registry.Consul(program, tmp_path, lambda _: None, ports=(1, 2, 3, 4)).argv()
    assert ("-grpc-tls-port=-1" in argv) is more
    assert argv[:3] == ["consul", "agent", "-dev"]
