"""A folder to call confsync in, and an agent there: the command line's tests import its fixtures.

`agent(agents, STATUS)` starts one that answers one request on its control socket, or never.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

STATUS: dict[str, object] = {"ok": True, "alive": True, "exit_code": 4, "version": "1", "holds": []}
SERVICES = {
    "services": [{"name": "web", "instances": [{"id": "a", "address": "10.0.0.1", "port": 80}]}]
}
SETTINGS = """
[source]
type = "file"
path = "services.json"
[target]
config = "haproxy.cfg"
master_socket = "master.sock"
stats_socket = "admin.sock"
[state]
directory = "state"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CONFSYNC_"):
            monkeypatch.delenv(name)
    return tmp_path


class Agent:
    """Answers on a control socket with one line, or never."""

    def __init__(self, path: Path, reply: dict[str, object] | None) -> None:
        self.requests: list[dict[str, object]] = []
        self.asked = threading.Event()
        self._reply = reply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rwb") as file:
            self.requests.append(json.loads(file.readline()))
            self.asked.set()
            if self._reply is None:
                file.read()
            else:
                file.write(json.dumps(self._reply).encode() + b"\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.fixture
def agents(folder: Path) -> Iterator[list[Agent]]:
    (folder / "confsync.toml").write_text('[state]\ndirectory = "."\n')
    started: list[Agent] = []
    yield started
    for each in started:
        each.close()


def agent(agents: list[Agent], reply: dict[str, object] | None) -> Agent:
    agents.append(Agent(Path("agent.sock"), reply))
    return agents[-1]
