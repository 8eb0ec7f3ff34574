"""Runs an agent until a signal, and changes it for a new one on HUP.

New settings are read and proven (templates compile) while the old agent works; only then does the
old one complete its cycle and hand over. Wrong settings are told and the old ones stay.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from confsync.errors import ConfsyncError
from confsync.ports import Telemetry

Agent = TypeVar("Agent", bound="Runs")


class Runs(Protocol):
    """An agent that is ready to run, with its lock and sockets still to be taken."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then complete the running cycle and give everything back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks(Generic[Agent]):
    """What a supervisor calls.

    `renew`: build an agent, in place of the given one, from settings read anew. `reloaded`: the old
    one stays; a new one says by itself that it is ready.
    """

    renew: Callable[[Agent], Agent]
    reloading: Callable[[], None]
    reloaded: Callable[[], None]
    stopping: Callable[[], None]


async def supervise(first: Agent, hooks: Hooks[Agent], telemetry: Telemetry) -> None:
    """Run until TERM or INT; HUP reads the settings anew."""
    await signalled(lambda ends, hangup: follow(first, hooks, telemetry, ends=ends, hangup=hangup))


async def signalled(work: Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]) -> None:
    """Run something that TERM and INT end, and HUP has read everything anew."""
    ends, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = {signal.SIGTERM: ends, signal.SIGINT: ends, signal.SIGHUP: hangup}
    for number, event in numbers.items():
        loop.add_signal_handler(number, event.set)
    try:
        await work(ends, hangup)
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def follow(
    first: Agent,
    hooks: Hooks[Agent],
    telemetry: Telemetry,
    *,
    ends: asyncio.Event,
    hangup: asyncio.Event,
) -> None:
    """Run agents until `ends` is set; `hangup` reads the settings anew, and is cleared."""
    agent = first
    while not ends.is_set():
        # Not cleared here: a HUP while the old agent ended may be for newer settings.
        agent = await _one(agent, ends, hangup, hooks, telemetry)


async def _one(
    agent: Agent,
    ends: asyncio.Event,
    hangup: asyncio.Event,
    hooks: Hooks[Agent],
    telemetry: Telemetry,
) -> Agent:
    """Run one agent until a signal ends it; returns the next one."""
    stop = asyncio.Event()
    following = agent

    async def listen() -> None:
        nonlocal following
        while not stop.is_set():
            await _either(ends, hangup)
            if ends.is_set():
                telemetry.event("info", "stopping")
                hooks.stopping()
                stop.set()
                return
            hangup.clear()
            hooks.reloading()
            try:
                following = hooks.renew(agent)
            except ConfsyncError as error:
                telemetry.event(
                    "error",
                    "settings refused, the old ones stay",
                    error=str(error),
                    detail=error.detail,
                )
                hooks.reloaded()
            else:
                telemetry.event("info", "settings read anew")
                stop.set()

    async with asyncio.TaskGroup() as group:
        listener = group.create_task(listen(), name="signals")
        await _ending(agent.run(stop), listener)
    return following


async def _ending(run: Awaitable[None], listener: asyncio.Task[None]) -> None:
    try:
        await run
    finally:
        listener.cancel()


async def _either(*events: asyncio.Event) -> None:
    """Wait for the first of some events."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
