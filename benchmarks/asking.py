"""A client that sees when a server answers first and last: one connection, request after request.

The write to Consul goes out over a connection that is open already, and its answer is read when all
is over: so nothing stands between the two clocks but what is measured.
"""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

LONGEST = 20.0
GONE = 24
"""Answers of others, one after the other, after which one of two servers is surely out."""
PAUSE = 0.0004
"""Seconds between two requests: a client without pause would take what others work with."""
HELD_UP = 0.003
"""Seconds between a server's last answer and that of another in its turn: two requests."""
CUT = b"\r\n\r\n"


class Client:
    """Requests to one address for one host. HAProxy chooses a server for each of them."""

    def __init__(self, port: int, host: str) -> None:
        self._request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._port = port
        self._socket: socket.socket | None = None

    def answer(self) -> bytes:
        """Return the body: the name of the server that answered. Raises OSError."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), LONGEST)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(self._request)
        said = head = b""
        length = -1
        while length < 0 or len(said) < length:
            piece = self._socket.recv(65536)
            if not piece:
                self.close()
                raise ConnectionResetError("closed in an answer")
            said += piece
            head, cut, _ = said.partition(CUT)
            if length < 0 and cut:
                length = len(head) + len(cut) + _length(head)
        if b"connection: close" in head.lower():
            self.close()
        return said[len(head) + len(CUT) :]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def first(self, port: int, change: "Change", name: bytes) -> float:
        """Make a change; return the milliseconds until the server of this name answers."""
        self.answer()
        with change.made(port) as begin:
            while self.answer() != name:
                time.sleep(PAUSE)
                if time.monotonic() - begin > LONGEST:
                    raise TimeoutError(f"no answer of {name!r} within {LONGEST} s")
            return (time.monotonic() - begin) * 1000

    def last(
        self, port: int, change: "Change", name: bytes, held_up: float = HELD_UP
    ) -> float | None:
        """Make a change; return the milliseconds until the server of this name is out.

        Of two servers that take turns: the middle between its last answer and the first one that
        another gave in its turn. None when this client was held up just then, and cannot tell:
        for more than `held_up` seconds.
        """
        self.answer()
        with change.made(port) as begin:
            last = out = begin
            others = 0
            while others < GONE:
                time.sleep(PAUSE)
                found = self.answer()
                others += 1
                if found == name:
                    last, others = time.monotonic(), 0
                elif others == 2:
                    out = time.monotonic()
                if last - begin > LONGEST:
                    raise TimeoutError(f"{name!r} still answers after {LONGEST} s")
            return (last + out) * 500 - begin * 1000 if out - last <= held_up else None


class Change:
    """One write to Consul: a service of this agent comes, or goes."""

    def __init__(self, path: str, body: dict[str, Any] | None = None) -> None:
        said = json.dumps(body).encode() if body is not None else b""
        self._said = (
            f"PUT {path} HTTP/1.1\r\nHost: consul\r\nConnection: close\r\n"
            f"Content-Length: {len(said)}\r\n\r\n"
        ).encode() + said

    @contextlib.contextmanager
    def made(self, port: int) -> Iterator[float]:
        """Send it; gives the time just before. Raises RuntimeError when Consul refuses it."""
        with socket.create_connection(("127.0.0.1", port), LONGEST) as sock:
            begin = time.monotonic()
            sock.sendall(self._said)
            yield begin
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode(errors="replace"))


def came(service: str, port: int) -> Change:
    body = {"ID": f"{service}-{port}", "Name": service, "Address": "127.0.0.1", "Port": port}
    return Change("/v1/agent/service/register", body)


def went(service: str, port: int) -> Change:
    return Change(f"/v1/agent/service/deregister/{service}-{port}")


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"an answer without a length: {head!r}")
