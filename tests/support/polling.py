"""A client that opens a connection every 10 ms and writes down each: what a failover costs, exactly.

The load client (`load.py`) finds one lost request among thousands; this one finds when.
"""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

WORKER = Path(__file__).with_name("poll_worker.py")
LONGEST = 600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One request. `start`, `end`: time.time(); `server`: who answered, "" when nobody did."""

    start: float
    end: float
    outcome: str
    server: str

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Polls:
    """All requests of a time, by their start."""

    all: Sequence[Poll]

    def since(self, moment: float, until: float = float("inf")) -> "Polls":
        return Polls(all=[poll for poll in self.all if moment <= poll.start < until])

    @property
    def failed(self) -> list[Poll]:
        return [poll for poll in self.all if not poll.ok]

    @property
    def failed_as(self) -> dict[str, int]:
        """The failures as outcome: count, for the message of an assert."""
        return dict(Counter(poll.outcome for poll in self.failed))

    @property
    def failed_at_once(self) -> bool:
        """Say whether all that failed was open at one moment, so that nothing failed beside it."""
        failed = self.failed
        return not failed or max(p.start for p in failed) <= min(p.end for p in failed)

    @property
    def servers(self) -> dict[str, int]:
        return dict(Counter(poll.server for poll in self.all if poll.ok))

    @property
    def gap(self) -> float:
        """The longest time between the starts of two successful requests in a row, in seconds."""
        starts = [poll.start for poll in self.all if poll.ok]
        return max((b - a for a, b in itertools.pairwise(starts)), default=float("inf"))

    def takeover(self, server: str) -> float:
        """Say when this server first answered.

        Not when that request began: a SYN that got lost while nobody had the address may be older.
        """
        return min(poll.end for poll in self.all if poll.server == server)


class Polling:
    """A running client; `python`: one inside a container, as for `Load`.

    `timeout` is below the second after which a lost SYN is sent anew, so that none is hidden.
    """

    def __init__(
        self,
        address: str,
        port: int = 80,
        *,
        interval: float = 0.01,
        timeout: float = 0.9,
        seconds: float = 300,
        host: str = "test",
        path: str = "/",
        tls: bool = False,
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        settings = {
            "address": address,
            "port": port,
            "interval": interval,
            "timeout": timeout,
            "seconds": min(seconds, LONGEST),
            "host": host,
            "path": path,
            "tls": tls,
        }
        self._child = subprocess.Popen(
            [*python, "-c", WORKER.read_text(), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line == "ready\n", f"the client did not start: {line}"
        self._found: Polls | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Polls:
        """End it after a few more requests, and return all that it saw."""
        if self._found is None:
            out, _ = self._child.communicate("stop\n", timeout=30)
            assert self._child.returncode == 0
            rows = map(json.loads, out.splitlines())
            self._found = Polls(
                all=[Poll(start=s, end=e, outcome=o, server=n) for s, e, o, n in rows]
            )
        return self._found
