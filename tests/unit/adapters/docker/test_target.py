"""The docker target on an engine and sockets in memory."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from confsync import errors
from confsync.adapters.docker.container import Container, NoContainer
from confsync.adapters.docker.events import Event, Kind
from confsync.domain.running import Observed
from tests.unit.adapters.docker.box import container
from tests.unit.adapters.docker.here import HERE, RUNS, SILENT, Here


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "created"}, "the container lb is created"),
        ({"state": "exited", "exit_code": 137}, "the container lb is exited (exit code 137)"),
        (
            {"state": "exited", "exit_code": 137, "oom_killed": True},
            "the container lb is exited (out of memory)",
        ),
        ({"state": "restarting", "exit_code": 1}, "the container lb is restarting (exit code 1)"),
    ],
)
async def test_a_container_that_does_not_run(
    here: Here, fields: dict[str, Any], words: str
) -> None:
    here.engine.found = container(**fields)
    assert await here.target.observe() == Observed(running=False, why=words)


async def test_no_container_is_no_error_but_told(here: Here) -> None:
    here.engine.found = NoContainer("no container is named lb", remedy="start it")
    seen = await here.target.observe()
    assert (seen.running, seen.why) == (False, "no container is named lb")
    assert "start it" in seen.notes[0]


async def test_a_paused_one_is_no_stopped_one(here: Here) -> None:
    here.engine.found = container(state="paused")
    with pytest.raises(errors.TargetUnavailable, match="is paused") as caught:
        await here.target.observe()
    assert "docker unpause lb" in caught.value.remedy


async def test_the_sockets_inside_are_asked_and_reloaded_over(here: Here) -> None:
    assert await here.target.observe() == HERE
    assert await here.target.check("/x.cfg", None) == ("checked in lb",)
    assert here.rest.masters == [1]  # as the master is called inside
    assert await here.target.reload(HERE) == HERE
    assert (here.near.reloads, here.far.reloads, here.rest.signalled) == (0, 1, 0)


async def test_without_a_master_socket_a_signal_reloads(here: Here) -> None:
    here.far.seen = SILENT
    assert (await here.target.observe()).notes == ("by signal",)
    await here.target.reload(here.rest.processes)
    assert (here.far.reloads, here.rest.signalled) == (0, 1)


async def test_one_that_ends_while_it_is_looked_at(here: Here) -> None:
    here.far.seen, here.rest.error = SILENT, errors.TargetUnavailable("is not running")
    with pytest.raises(errors.TargetUnavailable, match="is not running"):
        await here.target.observe()  # it runs, says the engine
    ended = container(state="exited", exit_code=1)
    finds = iter([container(pid=100), ended, ended, ended])

    async def find(_: str) -> Container:
        return next(finds)

    here.engine.find = find  # type: ignore[method-assign]
    assert (await here.target.observe()).why == "the container lb is exited (exit code 1)"


async def test_what_is_not_inside_is_not_reloaded(here: Here) -> None:
    here.rest.error = errors.TargetUnavailable("haproxy.cfg differs inside")
    with pytest.raises(errors.TargetUnavailable, match="differs"):
        await here.target.reload(RUNS)
    assert here.far.reloads == 0
    assert await here.target.observe() == HERE  # its notes tell, the agent goes on


async def test_delivery_has_a_word_in_every_look(here: Here) -> None:
    here.rest.notes = ("replaced in place",)
    assert (await here.target.observe()).notes == ("replaced in place",)


@pytest.fixture
def listening(tmp_short: Path) -> Iterator[str]:
    """A socket of this host, where this process listens."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_short / "s"))
        sock.listen()
        yield str(tmp_short / "s")


async def test_a_socket_here_is_believed_when_the_container_listens(listening: str) -> None:
    here = Here(sockets=("/nowhere", listening))
    here.engine.found = container(pid=os.getpid())
    here.near.seen = Observed(running=True, master=True, master_pid=1, worker_pid=9)
    assert (await here.target.observe()).worker_pid == 9
    await here.target.check("/x.cfg", None)
    # without a master's word, its number here would be another one than inside
    here.near.seen = Observed(running=True, master_pid=os.getpid(), worker_pid=9)
    await here.target.check("/x.cfg", None)
    assert here.rest.masters == [1, 0]


async def test_a_socket_of_another_haproxy_of_this_host_is_not(listening: str) -> None:
    here = Here(sockets=(listening, listening))
    here.engine.found = container(pid=1)
    here.near.seen = Observed(running=True, master=True, worker_pid=9)
    assert (await here.target.observe()).worker_pid == 8


async def test_forbidden_sockets_are_told_in_the_end(here: Here) -> None:
    here.far.seen = errors.TargetDenied("this user may not connect")
    here.rest.processes = Observed(running=False, why="x")
    seen = await here.target.observe()
    assert seen.running is False


async def test_while_the_engine_tells_nothing_it_is_not_asked(here: Here) -> None:
    assert await here.hear(Event(kind=Kind.LISTENING)) == ["the Docker engine answers"]
    for _ in range(3):
        await here.target.observe()
    assert here.engine.finds == 1
    here.stop()


async def test_without_events_each_look_asks_the_engine(here: Here) -> None:
    for _ in range(3):
        await here.target.observe()
    assert here.engine.finds == 3
    woken = await here.hear(
        Event(kind=Kind.LISTENING),
        Event(kind=Kind.LOST, why=errors.TargetUnavailable("gone")),
    )
    assert woken[-1] == "the Docker engine does not answer"
    here.engine.found = errors.TargetUnavailable("the Docker engine does not answer")
    with pytest.raises(errors.TargetUnavailable):
        await here.target.observe()
    here.stop()


@pytest.mark.parametrize(
    ("wanted", "event", "meant"),
    [
        ("lb", Event(kind=Kind.START, id="x", name="lb"), True),
        ("lb", Event(kind=Kind.START, id="x", name="web"), False),
        ("lb", Event(kind=Kind.RENAME, id="x", name="old", old_name="lb"), True),
        ("lb", Event(kind=Kind.DIE, id="c" * 64, name="renamed"), True),
        ("label=a", Event(kind=Kind.CREATE, id="x", name="n", labels={"a": ""}), True),
        ("label=a", Event(kind=Kind.CREATE, id="x", name="n", labels={"b": ""}), False),
        ("label=a=1", Event(kind=Kind.CREATE, id="x", name="n", labels={"a": "1"}), True),
        ("label=a=1", Event(kind=Kind.CREATE, id="x", name="n", labels={"a": "2"}), False),
    ],
)
async def test_whose_events_count(wanted: str, event: Event, *, meant: bool) -> None:
    here = Here(wanted)
    await here.target.observe()
    woken = await here.hear(Event(kind=Kind.LISTENING), event)
    assert (len(woken) == 2) is meant
    here.stop()


async def test_another_run_of_it_is_reached_anew(here: Here) -> None:
    await here.target.observe()
    here.engine.found = container(pid=200, started=9.0)
    await here.target.observe()
    assert [box.started for box in here.bridge.used] == [1.0, 9.0]
    assert [box.started for box in here.rest.verified] == [1.0, 9.0]
    here.target.close()
    assert here.engine.closed
