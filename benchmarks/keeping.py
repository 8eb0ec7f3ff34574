"""The least that brings a server in and out and keeps what confsync promises about it.

Beside what floor.py does: the file first, staged and renamed, with the file before it kept and a
journal that says what is under way; then the worker that was asked at the start, and no other, is told;
each answer is read, and so is what came of it. No more than that: one service, no template, no guard,
no plan. What it takes longer than floor.py is what these promises cost a script in Python.

`python -m benchmarks.keeping PLAN`: see floor.py; the plan's `cfg` is HAProxy's main file.
"""

import contextlib
import hashlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.floor import Place, forget, name

PROMPT = b"\n> "


def ask(sock: socket.socket, commands: list[str]) -> list[bytes]:
    """Say commands in a prompt session, and return their answers."""
    sock.sendall(("\n".join(commands) + "\n").encode())
    found = b""
    while found.count(PROMPT) < len(commands) or not found.endswith(PROMPT):
        found += sock.recv(65536)
    return found.split(PROMPT)[:-1]


@contextlib.contextmanager
def session(path: str) -> Iterator[tuple[socket.socket, bytes]]:
    """Connect, and learn who answers: the line with its pid."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        info = ask(sock, ["prompt", "show info"])[1]
        yield sock, next(line for line in info.splitlines() if line.startswith(b"Pid:"))


class File:
    """HAProxy's main file, with another list of servers each time."""

    def __init__(self, path: Path, backend: str) -> None:
        self._path = path
        self._staged = path.with_name(f".{path.name}.staged")
        self._previous = path.with_name(f"{path.name}.previous")
        self._journal = path.with_name("journal.json")
        parts = path.read_text().partition(f"\nbackend {backend}\n")
        self._head, self._rest = "".join(parts[:2]), parts[2]
        self._previous.hardlink_to(path)

    def write(self, places: set[Place]) -> None:
        """Put the servers in. The disk confirms nothing yet, as in confsync."""
        lines = (f"    server {ip}_{port} {ip}:{port}\n" for ip, port in sorted(places))
        text = "".join((self._head, *lines, self._rest)).encode()
        digests = [hashlib.sha256(each).hexdigest() for each in (self._path.read_bytes(), text)]
        _put(self._staged, text, self._path.stat().st_mode & 0o7777)
        _put(self._journal, json.dumps(digests).encode(), 0o600)
        self._previous.unlink()
        self._previous.hardlink_to(self._path)
        self._staged.rename(self._path)


def _put(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there, or one of the same length: to cut one takes ext4 1 ms."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, mode)
    os.write(fd, data)
    os.close(fd)


def tell(stats: str, worker: bytes, commands: list[str], backend: str) -> None:
    """Tell the worker; end with an error when it is another one, or refuses something."""
    with session(stats) as (sock, answering):
        if answering != worker:
            raise SystemExit("another worker")
        *said, state = ask(sock, [*commands, f"show servers state {backend}"])
    refused = [each for each in said if each.strip() not in {b"", b"New server registered."}]
    if refused or b"srv_admin_state" not in state:
        raise SystemExit(repr((refused, state)))


def follow(plan: dict[str, str]) -> None:
    stats, backend = plan["stats"], plan["service"]
    file = File(Path(plan["cfg"]), backend)
    with session(stats) as (_, worker):
        pass
    host, _, port = plan["consul"].rpartition(":")
    consul = http.client.HTTPConnection(host, int(port), timeout=120)
    known: set[Place] | None = None
    index = "0"
    while True:
        consul.request("GET", f"/v1/health/service/{backend}?passing=1&wait=45s&index={index}")
        answer = consul.getresponse()
        index = answer.headers["X-Consul-Index"]
        entries = json.loads(answer.read())
        woken = time.monotonic()
        there = {(e["Service"]["Address"], e["Service"]["Port"]) for e in entries}
        if known is None:
            known = there
            print(json.dumps({"ready": True}), flush=True)
        came, gone = there - known, known - there
        known = there
        commands = []
        for place in came:
            server = name(backend, place)
            commands += [
                f"add server {server} {place[0]}:{place[1]} weight 1",
                f"enable server {server}",
            ]
        commands += [f"set server {name(backend, place)} state maint" for place in gone]
        if commands:
            file.write(there)
            tell(stats, worker, commands, backend)
            done = time.monotonic()
            forget(stats, backend, gone)
            print(json.dumps({"woken": woken * 1000, "applied": done * 1000}), flush=True)


if __name__ == "__main__":
    follow(json.loads(Path(sys.argv[1]).read_text()))
