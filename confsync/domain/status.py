"""What confsync tells its operator: the report of a cycle, the holds, the state of the agent."""

from dataclasses import dataclass, field
from enum import StrEnum

from confsync.domain.loadbalancer import Problem


class Stage(StrEnum):
    """The steps of a cycle, in their order."""

    DISCOVER = "discover"
    GUARD = "guard"
    MODEL = "model"
    RENDER = "render"
    PLAN = "plan"
    CHECK = "check"
    WRITE = "write"
    APPLY = "apply"
    VERIFY = "verify"


class Outcome(StrEnum):
    """How a cycle ended."""

    IN_STEP = "in step"
    WRITTEN = "written"
    APPLIED = "applied"
    RELOADED = "reloaded"
    WOULD_CHANGE = "would change"
    PAUSED = "paused"
    WAITING = "waiting"
    PENDING = "pending"
    SUPERSEDED = "superseded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A service (or, with an empty name, the registry) that the guard keeps as it was.

    `since`: unix seconds. `dropped`: the instances, as address:port, that a release would drop.
    `until`: unix seconds of the next consistent read that may release it; 0: only by hand or when
    it fills.
    """

    service: str
    reason: str
    since: float
    dropped: tuple[str, ...] = ()
    until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """How the registry answers. `since`: unix seconds of the last change between up and down.

    `error`: empty when up. `denied`: names that the token may not read. `notes`: said once at start
    (how it watches, what it cannot do).
    """

    up: bool = False
    error: str = ""
    since: float = 0.0
    denied: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """One turn.

    `steps`: what is (or would be) done over HAProxy's socket, in words; `reload`: why it must load the
    files anew (none: it need not). Where `waits`, that reload has not had its turn yet; `tried`: it
    was asked for.
    `stages`: milliseconds by stage. `diff`: unified, of all files, secrets masked. `revision`: names
    the set that should be. `exit_code`: as `once` gives it. `finished`: unix seconds.
    """

    outcome: Outcome
    why: str = ""
    reasons: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    waits: bool = False
    tried: bool = False
    problems: tuple[Problem, ...] = ()
    holds: tuple[Hold, ...] = ()
    notes: tuple[str, ...] = ()
    services: int = 0
    servers: int = 0
    stages: dict[Stage, float] = field(default_factory=dict)
    diff: str = ""
    revision: str = ""
    error: str = ""
    detail: str = ""
    exit_code: int = 0
    failed_stage: Stage | None = None
    finished: float = 0.0
