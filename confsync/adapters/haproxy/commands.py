"""Steps as HAProxy's socket takes them, and what its answers mean. Pure: text in, text out.

On the socket quotes are letters, `;` divides commands and `<<` begins a payload, so that each text is
looked at here once more, whoever typed it before; what cannot be said is Unsayable, not escaped.
Sources: management.txt 9.3; answers captured from 2.6, 2.8, 3.0 and 3.2 (their wording differs).
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)

ServerStep = AddServer | RetireServer | SetWeight | SetState | SetMaxconn | SetAddress

_NAME = re.compile(r"[A-Za-z0-9_.:-]+\Z", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_.:/@=,+*~()\[\]-]+\Z", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9_./@:+=,~-]+\Z", re.ASCII)
_KEY = re.compile(r"[^\s\x00-\x20\x7f]+\Z")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]+\Z")
_MOST_WORDS = 60
"""HAProxy takes 64 words a command (MAX_CLI_ARGS)."""

# Until 2.8 `enabled` made a server that shows UP and takes no requests (#2497).
_NEVER = frozenset({"enabled", "disabled"})

REGISTERED = "New server registered"
TAKEN = ("Already exists a server with the same name", "already used at")
"""Its name, or its id: whether by itself, after a crash, only a look at the servers can tell."""
DELETED = "Server deleted"
ABSENT = "No such server"
BUSY = "still has connections"
DENIED = "Permission denied"
_MOVED = ("changed from", "no need to change", "nothing changed")
_VERSION = re.compile(r"New version created: (\d+)")


class Unsayable(ValueError):
    """A text that cannot be said over the socket; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How this build wants it. `closed`: a checked server gets no traffic before its first check.

    `init_state`: `add server` takes that word (3.1 and on); without it a server is told DOWN just
    after it became ready: the other way round is undone by `ready` (measured).
    """

    closed: bool = False
    init_state: bool = False


def said(step: ServerStep, dialect: Dialect) -> tuple[str, ...]:
    """Give a step's commands, in order, but for `moves`. Raises Unsayable."""
    where = f"{_name(step.backend)}/{_name(step.server)}"
    match step:
        case AddServer():
            return tuple(_added(step, where, dialect))
        case RetireServer():
            return tuple(_state(where, step.state, agent=step.agent))
        case SetState():
            return tuple(_state(where, step.state, agent=step.agent))
        case SetWeight():
            return (f"set server {where} weight {_number(step.weight, 256)}",)
        case SetMaxconn():
            return (f"set maxconn server {where} {_number(step.maxconn, 2**31 - 1)}",)
        case SetAddress():
            return ()


def moves(step: Step) -> tuple[str, ...]:
    """Give the commands that move a server: those first, and the rest when it is there.

    From 3.0 on the answer comes before the address is changed (measured: some ms). Raises Unsayable.
    """
    if not isinstance(step, SetAddress) and not (isinstance(step, AddServer) and step.again):
        return ()
    where = f"{_name(step.backend)}/{_name(step.server)}"
    port = _number(step.port, 65_535)
    move = f"set server {where} addr {_address(step.address)} port {port}"
    if isinstance(step, SetAddress) and step.down:
        return f"set server {where} health down", move
    return (move,)


def refusal(command: str, answer: str) -> str:
    """Give HAProxy's words when they are no success ("" when it is one, or was so before)."""
    answer = answer.strip()
    if command.startswith("add server "):
        good = REGISTERED in answer or any(words in answer for words in TAKEN)
    elif " addr " in command:
        good = any(words in answer for words in _MOVED)
    else:
        good = not answer
    return "" if good else answer or "nothing"


def takes_away(step: Step) -> bool:
    """Tell whether a step takes a server's traffic, so that it must not follow a refused one."""
    match step:
        case RetireServer():
            return True
        case SetState():
            return step.state is not Admin.READY
        case SetWeight():
            return step.weight == 0
        case _:
            return False


def about(step: Step) -> str:
    """Name what a step is about, for the operator."""
    match step:
        case ReplaceMap():
            return f"map {step.name}"
        case _:
            return f"server {step.backend}/{step.server}"


def sayable(backend: str, server: str) -> bool:
    """Tell whether two names can be said over the socket."""
    return bool(_NAME.match(backend) and _NAME.match(server))


def opened(backend: str, server: str) -> str:
    """Give the command that believes a checked server to be UP. Raises Unsayable."""
    return f"set server {_name(backend)}/{_name(server)} health up"


def delete(backend: str, server: str) -> str:
    """Give the command that deletes a server in maintenance. Raises Unsayable."""
    return f"del server {_name(backend)}/{_name(server)}"


def wait(backend: str, server: str, milliseconds: int) -> str:
    """Give the command that waits until a server can be deleted (3.0 and on)."""
    return f"wait {milliseconds}ms srv-removable {_name(backend)}/{_name(server)}"


def states(backend: str = "") -> str:
    """Give the command that reads servers back."""
    return f"show servers state {_name(backend)}" if backend else "show servers state"


def limits(backend_id: int) -> str:
    """Give the command that reads the servers' maxconn back (`show servers state` lacks it).

    By the backend's number: by its name it shows a frontend of that name, and nothing (measured).
    """
    return f"show stat {backend_id} 4 -1"


def connections(backend: str) -> str:
    """Give the command that shows the servers' purge_delay."""
    return f"show servers conn {_name(backend)}"


# Maps


def map_name(step: ReplaceMap) -> str:
    """Give a map's name as HAProxy takes it. Raises Unsayable."""
    if not _FILE.match(step.name):
        raise Unsayable(f"the map's name {step.name!r} can't be said over HAProxy's socket")
    return step.name


def prepared(answer: str) -> int:
    """Read which version `prepare map` has begun; 0: none."""
    match = _VERSION.search(answer)
    return int(match[1]) if match else 0


def parts(step: ReplaceMap, most: int) -> tuple[str, ...]:
    """Give a map's entries as payloads of at most `most` bytes. Raises Unsayable.

    A payload ends at its first empty line, and what follows would be taken for commands.
    """
    found: list[str] = []
    rows: list[str] = []
    length = 0
    for key, value in step.entries:
        if not _KEY.match(key) or not _VALUE.match(value) or value != value.strip(" \t"):
            raise Unsayable(f"map {step.name}: the entry {key!r} can't be said over the socket")
        row = f"{key} {value}\n"
        size = len(row.encode("utf-8", "surrogateescape"))
        if size > most:
            raise Unsayable(f"map {step.name}: the entry {key!r} is too long for the socket")
        if rows and length + size > most:
            found.append("".join(rows))
            rows, length = [], 0
        rows.append(row)
        length += size
    return (*found, "".join(rows)) if rows else tuple(found)


def fill(step: ReplaceMap, version: int, part: str) -> str:
    """Give the command that adds a part to a version."""
    return f"add map @{version} {map_name(step)} <<\n{part}"


def entries(answer: str) -> list[str]:
    """Read `show map`: each entry as key, blank, value."""
    return [row.partition(" ")[2] for row in answer.split("\n") if row.startswith("0x")]


def committed(answer: str, name: str) -> int:
    """Read from the list of maps which version of one is in use; 0: it is not listed."""
    for row in answer.split("\n"):
        if f"({name})" in row and (match := re.search(r"\bcurr_ver=(\d+)", row)):
            return int(match[1])
    return 0


def _added(step: AddServer, where: str, dialect: Dialect) -> Iterator[str]:
    if step.again:
        yield from _again(step, where, dialect)
        return
    words = list(step.words)
    closed = dialect.closed and step.checked and step.state is Admin.READY
    if closed and dialect.init_state and "init-state" not in words:
        words += ["init-state", "down"]
        closed = False
    for word in words:
        if not _WORD.match(word) or word in _NEVER:
            raise Unsayable(f"{where}: {word!r} can't be said over HAProxy's socket")
    if len(words) > _MOST_WORDS:
        raise Unsayable(f"{where}: its line has more words than HAProxy's socket takes")
    _address(step.address)
    _number(step.port, 65_535)
    yield " ".join((f"add server {where} {step.place}", *words))
    if step.checked:
        yield f"enable health {where}"
    if step.state is not Admin.MAINT:  # a new server is in maintenance
        yield from _state(where, step.state, agent=step.agent)
    if closed and "init-state" not in words:
        yield f"set server {where} health down"


def _again(step: AddServer, where: str, dialect: Dialect) -> Iterator[str]:
    yield f"set server {where} weight {_number(step.weight, 256)}"
    yield f"set maxconn server {where} {_number(step.maxconn, 2**31 - 1)}"
    if step.checked:
        yield f"enable health {where}"
    yield from _state(where, step.state, agent=step.agent)
    if dialect.closed and step.checked and step.state is Admin.READY:
        yield f"set server {where} health down"


def _state(where: str, state: Admin, *, agent: bool) -> Iterator[str]:
    # An agent may put the server back into traffic: it is heard in ready servers only.
    if agent:
        yield f"{'enable' if state is Admin.READY else 'disable'} agent {where}"
    yield f"set server {where} state {state}"


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise Unsayable(f"the name {text!r} can't be said over HAProxy's socket")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Unsayable(f"{text!r} is no IP address") from None


def _number(value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise Unsayable(f"{value} is not between 0 and {most}")
    return value
