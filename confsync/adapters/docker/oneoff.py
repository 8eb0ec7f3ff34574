"""A container for a moment: HAProxy's own binary checks although its container does not run."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from confsync import errors
from confsync.adapters.docker import archive, faults, stream
from confsync.adapters.docker.container import ONE_OFF, Container

T = TypeVar("T")

_POLL = (0.02, 0.05, 0.1)
_LEFT = 600
"""Seconds after which such a container is what a confsync that was killed has left behind."""

_LINES = 5000
_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run in it. `environment`: NAME=VALUE, or NAME to unset what the image sets."""

    argv: tuple[str, ...]
    files: tuple[archive.File, ...] = ()
    environment: tuple[str, ...] = field(default=(), repr=False)
    directory: str = "/"
    network: str = "none"


class Caller(Protocol):
    """The engine."""

    async def call(self, work: Callable[[Any], T], *, whole: bool = False) -> T:
        """Ask the client."""


async def run(
    engine: Caller,
    container: Container,
    plan: Plan,
    timeout: float,  # noqa: ASYNC109
) -> tuple[int, bytes]:
    """Make it, run it, remove it; return exit code and output. Raises TimeoutError, WriteError."""
    name = f"confsync-check-{secrets.token_hex(6)}"
    made = {
        "name": name,
        "image": container.image,
        "environment": plan.environment,
        "directory": plan.directory,
        "user": container.user,
        "network": plan.network,
        "labels": {ONE_OFF: str(int(time.time())), f"{ONE_OFF}.of": container.id},
    }
    await _sweep(engine)
    try:
        async with asyncio.timeout(timeout):
            await engine.call(lambda c: c.create(container.id, plan.argv, made), whole=True)
            for folder, files in archive.by_folder(plan.files).items():
                packed = archive.pack(files)
                await _put(engine, name, folder, packed)
            await engine.call(lambda c: c.start(name))
            code = await _ended(engine, name)
            data = await engine.call(lambda c: c.logs(name, 0.0, _LINES, _LIMIT))
    finally:
        await _remove(engine, name)
    return code, stream.unframed(data)


async def _put(engine: Caller, name: str, folder: str, packed: bytes) -> None:
    try:
        await engine.call(lambda c: c.put(name, folder, packed))
    except faults.Refusal as error:
        raise errors.WriteError(
            f"files for a check cannot be put into {folder} of a container of HAProxy's image: "
            f"{error.words}",
            remedy="use a folder that the image has and no volume covers",
        ) from error


async def _ended(engine: Caller, name: str) -> int:
    for turn in range(1 << 30):
        state: Mapping[str, Any] = (await engine.call(lambda c: c.inspect(name)))["State"]
        if state.get("Status") in {"exited", "dead"}:
            return int(state.get("ExitCode") or 0)
        await asyncio.sleep(_POLL[min(turn, len(_POLL) - 1)])
    raise AssertionError


async def _remove(engine: Caller, name: str) -> None:
    with contextlib.suppress(errors.TargetError):
        await engine.call(lambda c: c.remove(name), whole=True)


async def _sweep(engine: Caller) -> None:
    """Remove what a confsync that was killed has left."""
    listed: Sequence[Mapping[str, Any]] = await engine.call(lambda c: c.list(ONE_OFF))
    for each in listed:
        moment = str((each.get("Labels") or {}).get(ONE_OFF, ""))
        if moment.isdigit() and int(moment) < time.time() - _LEFT:
            await _remove(engine, str(each["Id"]))
