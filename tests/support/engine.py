"""What tests of a Docker engine need beside it: one container, and an engine that goes away.

`EngineProxy` stands before the real engine, on a unix socket or on TCP with TLS: closed, it is a
daemon that is gone; frozen, one that hangs; with rules, one of the proxies that forbid things.
"""

import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.support import machine
from tests.support.process import wait_until

LABEL = "confsync-test"


def engine_socket() -> str:
    """Return the path of the real engine's socket."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        raise machine.Missing(f"Docker's engine is at {host}, not at a unix socket")
    return host.removeprefix("unix://")


def docker(*args: str, check: bool = True, stdin: bytes = b"") -> str:
    """Call Docker's own client; return what it printed."""
    argv = ["docker", *args]
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace").strip()


class Box:
    """One container with a name and a label of its own, removed at the end."""

    def __init__(
        self,
        *command: str,
        version: str = "3.2",
        options: Sequence[str] = (),
        name: str = "",
        run: bool = True,
    ) -> None:
        """`version`: of the HAProxy in its image; "systemd": Debian 12, which has 2.6."""
        image = machine.docker_image(version)
        self.tag = secrets.token_hex(4)
        self.name = name or f"confsync-test-{self.tag}"
        self.id = docker(
            *("create", "--name", self.name, "--label", f"{LABEL}={self.tag}"),
            *("--init", *options, image, *(command or ("sleep", "infinity"))),
        )
        if run:
            try:
                docker("start", self.id)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        docker("rm", "-fv", self.id, check=False)

    def exec(self, *argv: str, stdin: bytes = b"") -> str:
        return docker("exec", "-i", self.id, *argv, stdin=stdin)

    def write(self, path: str, text: str) -> None:
        """Write a file in it, also where `docker cp` does not reach (a tmpfs)."""
        self.exec("sh", "-c", f"cat >{path}", stdin=text.encode())

    def processes(self) -> list[str]:
        """List the command lines in it."""
        return docker("top", self.id, "-eo", "pid,args").splitlines()[1:]

    def wait(self, probe: Callable[[], object], what: str) -> None:
        wait_until(probe, f"{what} in {self.name}")


class EngineProxy:
    """Forwards to the real engine. `address`: for DOCKER_HOST; `forbidden`: parts of requests."""

    def __init__(self, path: Path | None = None, *, context: ssl.SSLContext | None = None) -> None:
        """Listen at a path, or without one on a loopback port."""
        machine.docker_image("3.2")  # is there an engine?
        self._engine = engine_socket()
        self._path = path
        self._context = context
        self._port = machine.free_port() if path is None else 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self.forbidden: tuple[str, ...] = ()
        self.connections = 0

    @property
    def address(self) -> str:
        return f"unix://{self._path}" if self._path else f"tcp://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Begin to listen."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._path))
        else:
            listener = socket.create_server(("127.0.0.1", self._port))
        listener.listen(50)
        self._listener = listener
        self._start(self._accept, listener)

    def close(self) -> None:
        """Cut every connection and listen no more; a unix socket's file stays."""
        self.thaw()
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            cut = list(self._open)
        for each in cut:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._threads.clear()

    def freeze(self) -> None:
        """Accept, and answer nothing."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = listener.accept()
                self.connections += 1
                self._start(self._serve, made)

    def _serve(self, outside: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(outside)
            if self._context is not None:
                try:
                    outside = self._context.wrap_socket(outside, server_side=True)
                except OSError:
                    return
                stack.enter_context(outside)
            inside = stack.enter_context(socket.socket(socket.AF_UNIX))
            inside.connect(self._engine)
            with self._lock:
                self._open |= {outside, inside}
            back = threading.Thread(target=self._pump, args=(inside, outside), daemon=True)
            back.start()
            self._pump(outside, inside)
            back.join()
            with self._lock:
                self._open -= {outside, inside}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        refused = False
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                if refused:
                    continue  # what belongs to that request
                line = data.partition(b"\r\n")[0].decode("latin-1")
                if line.endswith(" HTTP/1.1") and any(f in line for f in self.forbidden):
                    said = (
                        b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
                    )
                    source.sendall(said + b"rules")
                    refused = True
                    continue
                sink.sendall(data)
        with contextlib.suppress(OSError):
            # TLS has no half-close here.
            tls = isinstance(source, ssl.SSLSocket) or isinstance(sink, ssl.SSLSocket)
            sink.shutdown(socket.SHUT_RDWR if tls else socket.SHUT_WR)
