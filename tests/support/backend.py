"""Toy HTTP servers in a process of their own, so that a busy test does not slow them down.

One `Backends` holds many ports; each is started and stopped alone, gracefully or as in a crash.
What they answer is described in `backend_worker`.
"""

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import machine

WORKER = Path(__file__).with_name("backend_worker.py")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one port has seen."""

    requests: int
    connections: int  # open now


class Backends:
    """The process; its ports are closed when it ends."""

    def __init__(self, *, python: Sequence[str] = (sys.executable,)) -> None:
        """Start it with this Python, which may be one inside a container (`docker exec -i`)."""
        # The source goes as an argument: inside a container there is no file of ours.
        self._child = subprocess.Popen(
            [*python, "-c", WORKER.read_text()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and every connection of it."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()  # its sign to end, in a container too
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def start(self, name: str = "", *, port: int | None = None, host: str = "127.0.0.1") -> int:
        """Open a port, a free one when none is given; return it. The name defaults to s<PORT>."""
        chosen = machine.free_port() if port is None else port
        return int(self._ask(op="start", port=chosen, name=name, host=host)["port"])

    def start_many(self, count: int) -> list[int]:
        """Open `count` ports, whose servers are named s<PORT>."""
        return [self.start() for _ in range(count)]

    def stop(self, port: int, *, graceful: bool = False) -> None:
        """Close a port: its listener, and its connections by a reset.

        A graceful stop lets running requests end and then closes.
        """
        self._ask(op="stop", port=port, graceful=graceful)

    def answer_with(self, port: int, code: int) -> None:
        """Let a port answer with this status from now on."""
        self._ask(op="status", port=port, code=code)

    def counts(self) -> dict[int, Counts]:
        """Return what each open port has seen."""
        answer = self._ask(op="counts")
        return {
            int(port): Counts(requests=requests, connections=connections)
            for port, (requests, connections) in answer.items()
        }

    def _ask(self, **request: object) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._lock:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        if not line:
            raise RuntimeError("the backend process has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{request}: {answer['error']}")
        return answer
