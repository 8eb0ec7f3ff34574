"""What happens to containers, as the engine tells it. Source: the engine's API, GET /events."""

import asyncio
import json
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import tenacity

from confsync import errors
from confsync.adapters.docker import faults, stream
from confsync.adapters.docker.container import ONE_OFF

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15
_LINE_LIMIT = 1024 * 1024


class Kind(StrEnum):
    """What an event is about; the last two are about the engine, and carry no container."""

    CREATE = "create"
    START = "start"
    DIE = "die"
    STOP = "stop"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    OOM = "oom"
    RENAME = "rename"
    UPDATE = "update"
    DESTROY = "destroy"
    LISTENING = "listening"
    LOST = "lost"


_OF_CONTAINERS = tuple(k for k in Kind if k not in {Kind.LISTENING, Kind.LOST})

QUERY = urllib.parse.urlencode(
    {"filters": json.dumps({"type": ["container"], "event": list(_OF_CONTAINERS)})}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `old_name`: of a RENAME; `exit_code`: of a DIE; `why`: of LOST."""

    kind: Kind
    id: str = ""
    name: str = ""
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    old_name: str = ""
    exit_code: int = 0
    moment: float = 0.0
    why: errors.TargetError | None = None


def parse(line: bytes) -> Event | None:
    """Read one line; None when it is about nothing that matters. Raises ValueError."""
    said: Any = json.loads(line)
    if not isinstance(said, dict) or said.get("Type", "container") != "container":
        return None
    action = str(said.get("Action") or said.get("status") or "")
    if action not in _OF_CONTAINERS:
        return None
    actor = said.get("Actor") or {}
    told = {str(k): str(v) for k, v in (actor.get("Attributes") or {}).items()}
    if ONE_OFF in told:
        return None
    own = ("name", "image", "oldName", "exitCode", "signal")
    code = told.get("exitCode", "")
    return Event(
        kind=Kind(action),
        id=str(actor.get("ID") or said.get("id") or ""),
        name=told.get("name", ""),
        image=told.get("image", ""),
        labels={k: v for k, v in told.items() if k not in own},
        old_name=told.get("oldName", "").removeprefix("/"),
        exit_code=int(code) if code.isdigit() else 0,
        moment=float(said.get("timeNano") or 1e9 * (said.get("time") or 0)) / 1e9,
    )


class Lines:
    """Cuts what comes into lines, and hands on the event of each."""

    def __init__(self, heard: Callable[[Event], None]) -> None:
        self._heard = heard
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came. Raises ValueError when it is no JSON."""
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        if len(rest) > _LINE_LIMIT:
            raise ValueError("an event without an end")
        self._buffer = bytearray(rest)
        for line in lines:
            if line.strip() and (event := parse(bytes(line))) is not None:
                self._heard(event)


async def watch(
    listen: Callable[[Callable[[bytes], None]], Awaitable[stream.Connection]],
    heard: Callable[[Event], None],
) -> None:
    """Listen for ever, with growing pauses while nobody can be heard; LOST is told once."""
    lost = False

    def failed(state: tenacity.RetryCallState) -> None:
        nonlocal lost
        error = state.outcome.exception() if state.outcome is not None else None
        if not lost and isinstance(error, errors.TargetError):
            lost = True
            heard(Event(kind=Kind.LOST, why=error))

    async def once() -> None:
        nonlocal lost
        connection = await listen(Lines(heard).feed)
        try:
            lost = False
            heard(Event(kind=Kind.LISTENING))
            await asyncio.shield(connection.ended)
        finally:
            connection.close()

    while True:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(errors.TargetError),
            stop=tenacity.stop_never,
            wait=tenacity.wait_random_exponential(
                multiplier=2 * FIRST_PAUSE, min=FIRST_PAUSE, max=LONGEST_PAUSE
            ),
            before_sleep=failed,
        )
        await retrying(once)
        lost = True
        heard(Event(kind=Kind.LOST, why=faults.EngineGone("the Docker engine ended its events")))
        await asyncio.sleep(FIRST_PAUSE)
