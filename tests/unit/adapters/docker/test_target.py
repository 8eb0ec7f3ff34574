"""The docker target on an engine and sockets in memory."""

import asyncio
import dataclasses
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from confsync import errors
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.check import Checker
from confsync.adapters.docker.container import Container, NoContainer
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.events import Event, Kind
from confsync.adapters.docker.signalling import Signalling
from confsync.adapters.docker.target import DockerTarget
from confsync.adapters.docker.ways import Ways
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged
from tests.unit.adapters.docker.box import container


class FakeEngine:
    def __init__(self) -> None:
        self.found: Container | Exception = container(pid=100)
        self.finds = 0
        self.events: list[Event] = []
        self.closed = False

    async def find(self, _: str) -> Container:
        self.finds += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def watch(self, heard: Callable[[Event], None]) -> None:
        for event in self.events:
            heard(event)
        await asyncio.Event().wait()

    def close(self) -> None:
        self.closed = True


class FakeBridge:
    available = True
    why = "no perl"

    def __init__(self) -> None:
        self.used: list[Container] = []

    def use(self, box: Container) -> None:
        self.used.append(box)

    def close(self) -> None:
        pass


class Way:
    """A SocketTarget's place."""

    def __init__(self, seen: Observed | Exception) -> None:
        self.seen = seen
        self.reloads = 0

    async def observe(self) -> Observed:
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        raise AssertionError("the container's own program checks")

    async def ready(self, before: Observed) -> None:
        raise AssertionError

    async def reload(self, before: Observed) -> Observed:
        self.reloads += 1
        return before

    async def servers(self) -> tuple[ServerState, ...]:
        return ()


class Rest:
    """Checker, signalling and delivery in one."""

    def __init__(self) -> None:
        self.signalled = 0
        self.masters: list[int] = []
        self.verified: list[Container] = []
        self.error: Exception | None = None
        self.notes: tuple[str, ...] = ()
        self.processes = Observed(running=True, worker_pid=7, notes=("by signal",))

    async def check(
        self, box: Container, main: str, staged: Staged | None, *, master: int = 0
    ) -> tuple[str, ...]:
        self.masters.append(master)
        return (f"checked in {box.name}",)

    async def observe(self, box: Container, seen: Observed) -> Observed:
        if self.error:
            raise self.error
        return self.processes

    async def reload(self, box: Container, observe: object) -> Observed:
        self.signalled += 1
        return self.processes

    async def verify(self, box: Container) -> None:
        self.verified.append(box)
        if self.error:
            raise self.error


SILENT = Observed(running=False, why="no socket")
RUNS = Observed(running=True, master=True, master_pid=1, worker_pid=8, worker_started=5.0)
HERE = dataclasses.replace(RUNS, place=container().place)


class Here:
    def __init__(self, wanted: str = "lb", sockets: tuple[str, str] | None = None) -> None:
        self.engine, self.bridge, self.rest = FakeEngine(), FakeBridge(), Rest()
        self.near, self.far = Way(SILENT), Way(RUNS)
        master, stats = sockets or ("/nowhere", "/nowhere")
        bridge = cast(Bridge, self.bridge)
        self.current = Current(wanted, cast(Engine, self.engine), bridge)
        self.ways = Ways(
            bridge, near=self.near, far=self.far, master_socket=master, stats_socket=stats
        )
        self.target = DockerTarget(
            self.current,
            self.ways,
            checker=cast(Checker, self.rest),
            signalling=cast(Signalling, self.rest),
            delivered=self.rest,
        )

    async def hear(self, *events: Event) -> list[str]:
        """Let the target hear these; returns what it passed on."""
        self.engine.events = list(events)
        woken: list[str] = []
        task = asyncio.ensure_future(self.target.watch(woken.append))  # noqa: TID251
        await asyncio.sleep(0.01)
        self.stop = task.cancel
        return woken


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
