"""What runs: as HAProxy answers now, and as the record remembers what was confirmed."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One HAProxy worker of `show proc`. `uptime`: seconds; `reloads`: how many it has outlived."""

    pid: int
    reloads: int = 0
    uptime: float = 0.0
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The running HAProxy, read back from itself.

    `running` False: no HAProxy answers and none is believed to run (files are written all the same,
    for it to start with); `why`: the words for that. `worker_pid`, `worker_started` (unix seconds):
    of the worker that takes new connections. `reloads`, `failed`: the master's counters (-1: unknown).
    `loading`: a reload is under way. `master`: a master socket answered, so that reloads have proof.
    `notes`: what the operator should know (a socket missing, with the line to add).
    """

    running: bool
    version: str = ""
    master_pid: int = 0
    worker_pid: int = 0
    worker_started: float = 0.0
    reloads: int = -1
    failed: int = -1
    loading: bool = False
    master: bool = False
    old_workers: tuple[Worker, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()

    def same_worker(self, other: "Observed | Record") -> bool:
        """Tell whether the same worker process takes the connections (pid and start within 2 s)."""
        return (
            self.worker_pid == other.worker_pid
            and self.worker_pid != 0
            and abs(self.worker_started - other.worker_started) <= 2
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """One server as HAProxy sees it. `checked`: HAProxy checks its health itself."""

    backend: str
    server: str
    address: str
    port: int
    up: bool
    checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was confirmed to run. `files`: destination -> digest of the text that was loaded.

    `text`: the main file's text as loaded, for reasons in words. `promoted`: destination -> digest
    of what confsync last put on disk: anything else there is a foreign edit.
    """

    files: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    promoted: dict[str, str] = field(default_factory=dict)
    worker_pid: int = 0
    worker_started: float = 0.0
    version: str = ""
