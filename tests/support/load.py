"""A load client in a process of its own, which counts failures exactly.

A tool that only prints a rate hides the one lost request that these tests are about. The client's
own habits are described in `load_worker`; here are its settings and what it has seen.
"""

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

WORKER = Path(__file__).with_name("load_worker.py")
LONGEST = 900  # seconds: no load outlives this, whatever a test asks for


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How often a server answered, and when (time.monotonic() of this machine)."""

    count: int
    first: float
    last: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One of the first failures; `at` is time.monotonic()."""

    at: float
    mode: str
    outcome: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a load has seen, whole once it is stopped.

    `outcomes` has the counts by mode (keepalive, close, stream): ok, connect_error, reset, eof,
    eof_on_reused, partial, timeout, status_5xx, status_other, wrong_server, cut.
    """

    seconds: float
    outcomes: Mapping[str, Mapping[str, int]]
    codes: Mapping[str, int]
    servers: Mapping[str, Seen]
    failures: Sequence[Failure]  # the first 50
    latency_ms: Mapping[str, float]  # p50, p90, p99, p100; empty before the end
    streams_opened: int
    streams_alive: int  # still ticking when told to stop
    cut_streams: int
    ticks: int
    max_tick_gap: float  # seconds

    @property
    def ok(self) -> int:
        """Requests with a whole right answer, streams not counted."""
        return sum(self.outcomes.get(mode, {}).get("ok", 0) for mode in ("keepalive", "close"))

    @property
    def failed(self) -> int:
        """Everything that ended other than ok, cut streams included."""
        return sum(self.failed_as.values())

    @property
    def failed_as(self) -> dict[str, int]:
        """The failures as "mode outcome": count, for the message of an assert."""
        return {
            f"{mode} {outcome}": count
            for mode, counts in self.outcomes.items()
            for outcome, count in counts.items()
            if outcome != "ok"
        }


class Load:
    """A running load on one address; starts at once, ends by itself after `seconds`.

    `keepalive`, `close` and `streams` are numbers of clients; `think` is the pause of each between
    two requests. `servers` are the names that may answer, any when empty. `requests` bounds the
    whole count. `tls`: speak it, and trust this CA alone (a file); `server_name`: whom to expect.
    `python` may be one inside a container: `("docker", "exec", "-i", NAME, "python3")`.
    """

    def __init__(
        self,
        port: int,
        *,
        keepalive: int = 4,
        close: int = 4,
        streams: int = 2,
        think: float = 0.005,
        seconds: float = 300,
        requests: int = 2_000_000,
        timeout: float = 10,
        address: str = "127.0.0.1",
        host_header: str = "test",
        headers: Mapping[str, str] | None = None,
        path: str = "/",
        stream_path: str = "/stream?s=0",
        servers: Sequence[str] = (),
        tls: Path | None = None,
        server_name: str = "",
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        settings = {
            "port": port,
            "keepalive": keepalive,
            "close": close,
            "streams": streams,
            "think": think,
            "seconds": min(seconds, LONGEST),
            "requests": requests,
            "timeout": timeout,
            "address": address,
            "host_header": host_header,
            "headers": dict(headers or {}),
            "path": path,
            "stream_path": stream_path,
            "servers": list(servers),
            "tls": str(tls or ""),
            "server_name": server_name,
        }
        # The source goes as an argument: inside a container there is no file of ours.
        self._child = subprocess.Popen(
            [*python, "-c", WORKER.read_text(), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._lock = threading.Lock()
        self._last: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def report(self) -> Report:
        """Return the counts so far."""
        with self._lock:
            if self._last is not None:
                return self._last
            report, final = self._read("report")
            if final:
                self._end(report)
            return report

    def stop(self) -> Report:
        """End the load, let running requests finish, and return all that it saw."""
        with self._lock:
            while self._last is None:
                report, final = self._read("stop")
                if final:
                    self._end(report)
            return self._last

    def wait(
        self, until: Callable[[Report], object], what: str, *, timeout: float = 60.0
    ) -> Report:
        """Return the first report that `until` accepts."""
        end = time.monotonic() + timeout
        while True:
            report = self.report()
            if until(report):
                return report
            if time.monotonic() > end or self._last is not None:
                raise TimeoutError(f"{what}: the load never saw it in {timeout} s: {report}")
            time.sleep(0.05)

    def wait_ok(self, more: int, *, timeout: float = 60.0) -> Report:
        """Wait until `more` further requests were answered."""
        goal = self.report().ok + more
        return self.wait(lambda report: report.ok >= goal, f"{more} more ok", timeout=timeout)

    def wait_server(self, name: str, *, timeout: float = 60.0) -> Report:
        """Wait until this server has answered."""
        return self.wait(lambda report: name in report.servers, f"{name}", timeout=timeout)

    def _read(self, command: str) -> tuple[Report, bool]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself; its last line waits
            self._child.stdin.write(command.encode() + b"\n")
            self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the load process has failed, exit code {self._child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return _report(answer), bool(answer["final"])

    def _end(self, report: Report) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._last = report
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait()


def _report(answer: dict[str, Any]) -> Report:
    names = {field.name for field in dataclasses.fields(Report)} - {"servers", "failures"}
    return Report(
        servers={
            name: Seen(count=int(count), first=first, last=last)
            for name, (count, first, last) in answer["servers"].items()
        },
        failures=[
            Failure(at=at, mode=mode, outcome=outcome, detail=detail)
            for at, mode, outcome, detail in answer["failures"]
        ],
        **{name: answer[name] for name in names},
    )
