import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from confsync import errors
from confsync.adapters.docker import events, faults, stream
from confsync.adapters.docker.container import ONE_OFF
from confsync.adapters.docker.events import Event, Kind

pytestmark = pytest.mark.fast_clock


def line(action: str, **attributes: str) -> bytes:
    said = {
        "status": action,
        "id": "abc",
        "Type": "container",
        "Action": action,
        "Actor": {"ID": "abc", "Attributes": {"name": "lb", "image": "haproxy:3", **attributes}},
        "time": 5,
        "timeNano": 5500000000,
    }
    return json.dumps(said).encode() + b"\n"


def test_an_event_is_read() -> None:
    assert events.parse(line("die", exitCode="137", role="front")) == Event(
        kind=Kind.DIE,
        id="abc",
        name="lb",
        image="haproxy:3",
        labels={"role": "front"},
        exit_code=137,
        moment=5.5,
    )


def test_a_rename_has_the_old_name() -> None:
    found = events.parse(line("rename", oldName="/before"))
    assert found is not None
    assert (found.kind, found.name, found.old_name) == (Kind.RENAME, "lb", "before")


@pytest.mark.parametrize("action", ["exec_create: sh", "attach", "top", "kill", "lost", ""])
def test_what_does_not_matter_is_left_out(action: str) -> None:
    assert events.parse(line(action)) is None


def test_what_happens_to_containers_of_a_moment_is_left_out() -> None:
    assert events.parse(line("start", **{ONE_OFF: "1"})) is None


def test_networks_have_no_part_in_it() -> None:
    assert events.parse(b'{"Type": "network", "Action": "create"}') is None


def test_only_containers_are_asked_for() -> None:
    assert "%22type%22" in events.QUERY
    assert "listening" not in events.QUERY


def test_lines_are_cut_anywhere() -> None:
    heard: list[Event] = []
    lines = events.Lines(heard.append)
    data = line("start") + b"\n" + line("die")
    for at in range(len(data)):
        lines.feed(data[at : at + 1])
    assert [e.kind for e in heard] == [Kind.START, Kind.DIE]


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(ValueError):
        events.Lines(lambda _: None).feed(b"<html>\n")


class Engine:
    """Gives, one after the other, an error or a connection that says something and ends."""

    def __init__(self, *turns: Exception | bytes) -> None:
        self.turns = list(turns)
        self.closed = 0

    async def listen(self, received: Callable[[bytes], None]) -> Any:
        if not self.turns:
            await asyncio.sleep(3600)
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        connection = stream.Connection(b"", lambda _: None)
        connection.answered.set_result(None)
        asyncio.get_running_loop().call_soon(received, turn)
        asyncio.get_running_loop().call_later(0.01, connection.connection_lost, None)
        return connection


async def watched(engine: Engine, count: int) -> list[Event]:
    heard: list[Event] = []
    enough = asyncio.Event()

    def hear(event: Event) -> None:
        heard.append(event)
        if len(heard) >= count:
            enough.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(events.watch(engine.listen, hear))
        async with asyncio.timeout(20):
            await enough.wait()
        await asyncio.sleep(0.05)  # for what would be too much
        task.cancel()
    return heard


GONE = faults.EngineGone("no engine")


async def test_an_engine_that_is_away_is_told_once() -> None:
    heard = await watched(Engine(GONE, GONE, GONE, line("start")), 4)
    assert [e.kind for e in heard] == [Kind.LOST, Kind.LISTENING, Kind.START, Kind.LOST]
    assert heard[0].why is GONE


async def test_an_end_of_events_is_told_and_they_are_asked_for_again() -> None:
    heard = await watched(Engine(line("start"), GONE, line("die")), 6)
    kinds = [Kind.LISTENING, Kind.START, Kind.LOST, Kind.LISTENING, Kind.DIE, Kind.LOST]
    assert [e.kind for e in heard] == kinds


async def test_a_denial_is_retried_too() -> None:
    denied = errors.TargetDenied("no")
    heard = await watched(Engine(denied, line("start")), 3)
    assert [e.kind for e in heard][:3] == [Kind.LOST, Kind.LISTENING, Kind.START]
    assert heard[0].why is denied
