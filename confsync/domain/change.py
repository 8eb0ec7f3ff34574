"""What the planner decides: nothing, write only, runtime steps, or a reload; each with reasons.

Steps are typed values, no commands: how one is said over HAProxy's socket is the adapter's. Every
text in them has been typed (core/haproxy/servers.py), so that none can end a command or begin one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Admin(StrEnum):
    """A server's administrative state, in the words of `set server ... state`."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddServer:
    """Add a server, then let its checks begin, then give it traffic: in this order.

    `address`: an IP address, without brackets. `words`: all that follows the address, written out
    with defaults folded in (`id`, `weight`, `check` too; never `enabled` or `disabled`). `checked`,
    `agent`: `enable health`, `enable agent` must follow, or it is UP for ever. `state`: what it is to
    be in the end; a new server is in MAINT until told otherwise. `server_id` 0: HAProxy gives one;
    `maxconn` 0: no limit. `again`: it is still there, retired, and its options are these: its place,
    weight and maxconn are set, its state is, and nothing is added.
    """

    backend: str
    server: str
    address: str
    port: int
    words: tuple[str, ...] = ()
    server_id: int = 0
    weight: int = 1
    maxconn: int = 0
    checked: bool = False
    agent: bool = False
    state: Admin = Admin.READY
    again: bool = False

    @property
    def place(self) -> str:
        """Address and port as `add server` takes them."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireServer:
    """Take a server out. `state` MAINT: at once, running requests finish; DRAIN: with a deadline.

    `cause`: the registry's word for it. `delete`: it may be deleted once nothing uses it (this build
    deletes safely, and nothing in the configuration names it); else it stays until the next reload.
    `gone` False: what runs still counts as having it, since only the reload that waits removes it.
    """

    backend: str
    server: str
    state: Admin = Admin.MAINT
    cause: str = "deregistered"
    delete: bool = False
    agent: bool = False
    gone: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight:
    """Set a server's weight, 0 to 256."""

    backend: str
    server: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetState:
    """Drain a server, put it in maintenance, or give it traffic again. `agent`: see AddServer."""

    backend: str
    server: str
    state: Admin
    agent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMaxconn:
    """Set how many connections a server takes; 0: no limit."""

    backend: str
    server: str
    maxconn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAddress:
    """Move a server that keeps its name. `down`: it is checked, so believe nothing of its health.

    Without `set server ... health down` before it, a dead port stays UP until its check fails.
    """

    backend: str
    server: str
    address: str
    port: int
    down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceMap:
    """Replace a map as a whole, in one commit. `name`: as HAProxy knows it; `entries`: in order.

    `text`: the file's, which the entries were read from. Keys hold no blank, values no line's end.
    """

    destination: str
    name: str
    entries: tuple[tuple[str, str], ...]
    text: str


Step = AddServer | RetireServer | SetWeight | SetState | SetMaxconn | SetAddress | ReplaceMap


@dataclass(frozen=True, slots=True, kw_only=True)
class NoChange:
    """What runs, what is on disk and what should be are the same."""

    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """The files change, what runs need not: comments only, or no HAProxy runs yet."""

    destinations: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPlan:
    """HAProxy must load the files anew. `destinations`: those to write first, perhaps none."""

    destinations: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimePlan:
    """What runs is brought there without a reload: write `destinations`, then `steps` in order.

    `then`: what only a reload can do. The steps are done at once all the same, and nothing is
    written before the reload's turn (`destinations` is empty): the files then hold more than runs.
    """

    destinations: tuple[str, ...]
    steps: tuple[Step, ...]
    reasons: tuple[str, ...]
    then: ReloadPlan | None = None


Plan = NoChange | WritePlan | RuntimePlan | ReloadPlan
