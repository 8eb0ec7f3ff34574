"""The least that brings a server in and out without a reload: what confsync's fast way is held to.

A raw blocking query with http.client, and for each server that came `add server` and `enable server`,
for each that went `set server ... state maint`, over one connection to HAProxy's stats socket. No
file, so that the next reload undoes it all; no typing, guard, record or proof, no weights, no health
checks of the new server, no retry.

Its argument is a JSON file (see changing.py); it prints one JSON line for each change that it made,
with the monotonic clock's milliseconds at each step.
"""

import http.client
import json
import socket
import sys
import time
from pathlib import Path

Place = tuple[str, int]


def say(path: str, commands: list[str]) -> bytes:
    """Say commands, some of them in one line; returns what HAProxy has against them."""
    found = b""
    for begin in range(0, len(commands), 100):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(("; ".join(commands[begin : begin + 100]) + "\n").encode())
            sock.shutdown(socket.SHUT_WR)
            found += b"".join(iter(lambda: sock.recv(65536), b""))
    return found


def name(backend: str, place: Place) -> str:
    return f"{backend}/{place[0]}_{place[1]}"


def forget(path: str, backend: str, gone: set[Place]) -> None:
    """Delete what was put in maintenance, once its last request has ended."""
    for place in gone:
        command = f"del server {name(backend, place)}"
        while b"Server deleted" not in say(path, [command]):
            time.sleep(0.005)


def follow(plan: dict[str, str]) -> None:
    stats, backend = plan["stats"], plan["service"]
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
            answered = say(stats, commands)
            done = time.monotonic()
            if answered.strip(b"\n").replace(b"New server registered.", b"").strip():
                raise SystemExit(answered.decode())
            forget(stats, backend, gone)
            print(json.dumps({"woken": woken * 1000, "applied": done * 1000}), flush=True)


if __name__ == "__main__":
    follow(json.loads(Path(sys.argv[1]).read_text()))
