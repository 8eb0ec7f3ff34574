"""Stands between the agent and HAProxy's stats socket, and does harm at a chosen byte."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

CHANGES = re.compile(rb"add server (?!help)|set server |set maxconn ")


class Between:
    """A unix socket that passes all on, until it is armed and a change of servers comes by."""

    def __init__(self, path: Path, behind: Path) -> None:
        self.path = path
        self._behind = behind
        self._lock = threading.Lock()
        self._asked: int | bytes = -1
        self._answered: int | bytes = -1
        self._harm: Callable[[], None] | None = None
        self._cut = True
        self.struck = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(20)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def arm(
        self,
        where: str,
        passed: int | bytes,
        *,
        harm: Callable[[], None] | None = None,
        cut: bool = True,
    ) -> None:
        """Do harm at the next change: in what is "asked" or "answered", once so many bytes passed.

        `passed` may be what must not pass. Then `harm` is called, and the connection is cut unless
        `cut` says otherwise.
        """
        self.struck.clear()
        with self._lock:
            self._asked = passed if where == "asked" else -1
            self._answered = passed if where == "answered" else -1
            self._harm, self._cut = harm, cut

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(str(self._behind))
            except OSError:
                return
            limit = [-1]
            back = threading.Thread(target=self._back, args=(server, client, limit), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(65_536):
                    asked, answered = self._taken(data)
                    if answered >= 0:
                        limit[0] = answered
                    if asked < 0:
                        server.sendall(data)
                        continue
                    server.sendall(data[:asked])
                    if self._strike():
                        return
                    server.sendall(data[asked:])
                server.shutdown(socket.SHUT_WR)
            back.join(20)

    def _back(self, server: socket.socket, client: socket.socket, limit: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if limit[0] >= 0:
                    client.sendall(data[: limit[0]])
                    if self._strike():
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    data, limit[0] = data[limit[0] :], -1
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def _taken(self, data: bytes) -> tuple[int, int]:
        """Take the arming, once, when a change comes by."""
        if not CHANGES.search(data):
            return -1, -1
        with self._lock:
            found = self._asked, self._answered
            self._asked = self._answered = -1
        asked, answered = (data.find(x) if isinstance(x, bytes) else x for x in found)
        return asked, answered

    def _strike(self) -> bool:
        if self._harm is not None:
            self._harm()
        self.struck.set()
        return self._cut
