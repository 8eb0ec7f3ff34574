"""Signals: TERM ends, HUP hands over to a proven agent or changes nothing."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from confsync.engine import supervisor
from confsync.errors import SettingsError
from tests.fakes.world import Spoken


class One:
    """An agent that runs until it is told to stop."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def run(self, stop: asyncio.Event) -> None:
        self.log.append(f"{self.name} runs")
        await stop.wait()
        self.log.append(f"{self.name} ends")


class Slow(One):
    """An agent that is asked to read its settings once more while its last cycle completes."""

    async def run(self, stop: asyncio.Event) -> None:
        await super().run(stop)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.02)


class Broken(One):
    async def run(self, stop: asyncio.Event) -> None:
        raise SettingsError(["it broke"])


async def play(first: One, renew: Callable[[One], One], *signals: int) -> list[str]:
    log = first.log
    said = Spoken()
    hooks = supervisor.Hooks(
        renew=renew,
        reloading=lambda: log.append("reloading"),
        reloaded=lambda: log.append("ready"),
        stopping=lambda: log.append("stopping"),
    )

    async def send() -> None:
        for number in signals:
            seen = len(log)
            os.kill(os.getpid(), number)
            async with asyncio.timeout(5):
                while len(log) == seen:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)

    async def after_start() -> None:
        async with asyncio.timeout(5):
            while not log:
                await asyncio.sleep(0.005)
        await send()

    async with asyncio.TaskGroup() as group:
        group.create_task(after_start())
        await supervisor.supervise(first, hooks, said)
    log.extend(text for _, text in said.events)
    return log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop(number: int) -> None:
    log = await play(One("a", []), lambda one: one, number)
    assert log == ["a runs", "stopping", "a ends", "stopping"]


async def test_hup_hands_over() -> None:
    log: list[str] = []
    log = await play(One("a", log), lambda _: One("b", log), signal.SIGHUP, signal.SIGTERM)
    assert log[:6] == ["a runs", "reloading", "a ends", "b runs", "stopping", "b ends"]
    assert "settings read anew" in log


async def test_a_hup_while_the_old_agent_ends_is_for_the_new_one() -> None:
    log: list[str] = []
    followers = iter([One("b", log), One("c", log)])
    await play(Slow("a", log), lambda _: next(followers), signal.SIGHUP, signal.SIGTERM)
    assert log[1:7] == ["reloading", "a ends", "b runs", "reloading", "b ends", "c runs"]


async def test_hup_with_wrong_settings_changes_nothing() -> None:
    def refuse(_: One) -> One:
        raise SettingsError(["confsync.toml:1: no"])

    log = await play(One("a", []), refuse, signal.SIGHUP, signal.SIGTERM)
    assert log[:5] == ["a runs", "reloading", "ready", "stopping", "a ends"]
    assert "settings refused, the old ones stay" in log


async def test_what_keeps_an_agent_from_running_passes_through() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervisor.supervise(
            Broken("a", []),
            supervisor.Hooks(
                renew=lambda one: one,
                reloading=lambda: None,
                reloaded=lambda: None,
                stopping=lambda: None,
            ),
            Spoken(),
        )
    assert caught.group_contains(SettingsError)
