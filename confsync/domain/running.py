"""What runs: as HAProxy answers now, and as the record remembers what was confirmed."""

from dataclasses import dataclass, field

from confsync.domain.change import Admin, Step


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
    `place`: names the run of the container that it is in ("": none), since two containers give their
    processes the same numbers. `loading`: a reload is under way. `master`: a master socket answered,
    so that reloads have proof.
    `notes`: what the operator should know (a socket missing, with the line to add). `unfit`: why no
    program here can check for it: nothing can be changed then, not even without a reload.
    """

    running: bool
    version: str = ""
    master_pid: int = 0
    worker_pid: int = 0
    worker_started: float = 0.0
    place: str = ""
    reloads: int = -1
    failed: int = -1
    loading: bool = False
    master: bool = False
    old_workers: tuple[Worker, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()
    unfit: str = ""

    def same_worker(self, other: "Observed | Record") -> bool:
        """Tell whether the same worker process takes the connections.

        By its place and pid, and its start within 2 s.
        """
        return (
            self.worker_pid == other.worker_pid
            and self.worker_pid != 0
            and self.place == other.place
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
class Capabilities:
    """What the running build can do over its socket, as it said or as a probe found.

    `version`: as `show info` has it. `words`: those that `add server help` lists (3.2 and on; None:
    unknown, so the manual's list of that version counts). `deletes`: `del server` cannot crash this
    build (a dynamic server's purge_delay in `show servers conn` is not 0). `waits`: it knows `wait
    ... srv-removable`. `maps`: it replaces a map in one commit. `dynamic_cookies`: a server added to
    a backend with `cookie ... dynamic` keeps its clients. `line`: bytes that one command line may
    have, its end included.
    """

    version: str
    words: frozenset[str] | None = None
    deletes: bool = False
    waits: bool = False
    maps: bool = True
    dynamic_cookies: bool = False
    line: int = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A retired server that HAProxy still has: its name and number are taken until it is deleted.

    `options`: as it was added or loaded, folded and in the table's order, without id, weight, maxconn.
    `delete`: see RetireServer. `since`: unix seconds.
    """

    backend: str
    server: str
    address: str
    port: int
    server_id: int = 0
    weight: int = 1
    maxconn: int = 0
    options: tuple[str, ...] = ()
    state: Admin = Admin.MAINT
    cause: str = ""
    delete: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a plan's steps: `done` are confirmed; `doubt`: why not all are ("" if all are)."""

    done: tuple[Step, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A server as the record says that it runs. `agent`: an agent check may drain and weigh it.

    `retired`: it waits to be deleted, so that its absence is no drift. `address` "": not compared.
    """

    backend: str
    server: str
    address: str
    port: int
    weight: int
    state: Admin
    agent: bool = False
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Where HAProxy is not as the record says. `what`: in words, the server's name in front.

    `repair`: the steps that mend it (none: only a reload can). `hand`: an operator's own maintenance,
    drain or weight, as the step that would put it back after a reload; None: nobody meant it.
    """

    backend: str
    server: str
    what: str
    repair: tuple[Step, ...] = ()
    hand: Step | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was confirmed to run. `files`: destination -> digest of the text that HAProxy equals.

    `text`: those texts: what was loaded, and once all of a runtime plan was done, its target; with it,
    by path, other configurations that HAProxy has loaded. `steps`: done since then, while a reload for
    the rest waits. `leftovers`: retired, not yet deleted. `named`: path -> digest of each other file
    that the configuration names, as it was at the load. `promoted`: destination -> digest of what
    confsync last put on disk: anything else there is a foreign edit. `place`: as in Observed.
    """

    files: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    promoted: dict[str, str] = field(default_factory=dict)
    worker_pid: int = 0
    worker_started: float = 0.0
    place: str = ""
    version: str = ""
    steps: tuple[Step, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    named: dict[str, str] = field(default_factory=dict)
