"""Replaces a map as a whole: a version is prepared beside the one in use, read back, and committed.

Requests see the old map or the new one, never a part (`prepare map`, `commit map`: management.txt
9.3, since 2.4). Entries go as payloads, whose lines need no escapes.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from confsync import errors
from confsync.adapters.haproxy import commands
from confsync.adapters.haproxy.session import Session
from confsync.domain.change import ReplaceMap

T = TypeVar("T")

_PART = 4_000
"""Bytes of one payload: far below any usual `tune.bufsize`."""
_MANY = 1_000
"""Entries that are read or compared in a thread and not on the loop."""


async def parts(step: ReplaceMap, line: int) -> tuple[str, ...]:
    """Put a map into payloads, before anything is sent. Raises commands.Unsayable."""
    most = min(_PART, line - len(commands.fill(step, 2**31, "")) - 1)
    return await _off(step, lambda: commands.parts(step, most))


async def replace(talk: Session, step: ReplaceMap, payloads: tuple[str, ...]) -> None:
    """Replace a map. Raises TargetUnavailable in words when it is not certain to be in use."""
    name = commands.map_name(step)
    (answer,) = await talk.ask(f"prepare map {name}")
    version = commands.prepared(answer)
    if not version:
        raise _refused(step, "prepare map", answer)
    try:
        told = [commands.fill(step, version, part) for part in payloads]
        *said, shown = await talk.ask(*told, f"show map @{version} {name}", timeout=20)
        for answer in said:
            if answer.strip():
                raise _refused(step, "add map", answer)
        if not await _off(step, lambda: _whole(step, shown)):
            raise errors.TargetUnavailable(f"map {name}: HAProxy did not take all entries")
        answer, listed = await talk.ask(f"commit map @{version} {name}", "show map")
    except errors.TargetError:
        # What is not committed is never used, but takes memory.
        await _clear(talk, name, version)
        raise
    if answer.strip():
        raise _refused(step, "commit map", answer)
    if commands.committed(listed, name) != version:
        raise errors.TargetUnavailable(f"map {name}: HAProxy does not use what it was given")


def _whole(step: ReplaceMap, shown: str) -> bool:
    # Without their order: it is the one they were sent in.
    return sorted(commands.entries(shown)) == sorted(f"{k} {v}" for k, v in step.entries)


async def _off(step: ReplaceMap, function: Callable[[], T]) -> T:
    return await asyncio.to_thread(function) if len(step.entries) > _MANY else function()


async def _clear(talk: Session, name: str, version: int) -> None:
    try:
        await talk.ask(f"clear map @{version} {name}")
    except errors.TargetError:
        return


def _refused(step: ReplaceMap, verb: str, answer: str) -> errors.TargetUnavailable:
    words = " ".join(answer.split())[:200]
    return errors.TargetUnavailable(f"map {step.name}: `{verb}` was answered with `{words}`")
