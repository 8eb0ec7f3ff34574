"""What a real engine tells of its containers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Self

import pytest

from confsync.adapters.docker.archive import File
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.events import Event, Kind
from confsync.adapters.docker.options import DockerOptions
from tests.support.engine import LABEL, Box, docker


class Ears:
    """Keeps what was heard, of one container and of the engine."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self._more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.heard.append(event)
        self._more.set()

    def of(self, box: Box) -> list[Event]:
        return [e for e in self.heard if e.id == box.id]

    async def until(self, probe: Callable[[Self], object]) -> None:
        async with asyncio.timeout(60):
            while not probe(self):
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def engine() -> Iterator[Engine]:
    one = Engine(DockerOptions(container="lb"))
    yield one
    one.close()


@contextlib.asynccontextmanager
async def listening(engine: Engine) -> AsyncIterator[Ears]:
    ears = Ears()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(engine.watch(ears))
        await ears.until(lambda e: e.heard)
        assert ears.heard[0].kind is Kind.LISTENING  # others' containers live beside ours
        yield ears
        task.cancel()


async def test_the_life_of_a_container_is_told_in_order(engine: Engine) -> None:
    async with listening(engine) as ears:
        with Box() as box:
            docker("pause", box.id)
            docker("unpause", box.id)
            docker("rename", box.id, f"{box.name}-new")
            docker("exec", box.id, "true")
            await engine.put(box.id, [File(path="/etc/x", data=b"")])
            docker("restart", "-t", "5", box.id)
            docker("kill", box.id)
        await ears.until(lambda e: e.of(box)[-1:] and e.of(box)[-1].kind is Kind.DESTROY)
        told = ears.of(box)
    assert [e.kind.value for e in told] == [
        "create",
        "start",
        "pause",
        "unpause",
        "rename",
        "die",
        "stop",
        "start",
        "die",
        "destroy",
    ]
    assert {e.labels.get(LABEL) for e in told} == {box.tag}
    assert [e.name for e in told[4:]] == [f"{box.name}-new"] * 6
    assert told[4].old_name == box.name
    assert [e.exit_code for e in told if e.kind is Kind.DIE] == [143, 137]
    assert [e.moment for e in told] == sorted(e.moment for e in told)
    assert all(e.moment > 0 for e in told)


async def test_a_container_without_memory_is_told(engine: Engine) -> None:
    hungry = "sleep 0.2; exec perl -e 'my $x = \"x\" x (1 << 28); sleep 60'"
    async with listening(engine) as ears:
        options = ("--memory", "32m", "--memory-swap", "32m")
        with Box("sh", "-c", hungry, options=options) as box:
            # In any order. The engine's own flag is set only where the end came second (seen once).
            await ears.until(lambda e: {Kind.OOM, Kind.DIE} <= {x.kind for x in e.of(box)})
            found = await engine.find(box.name)
    assert (found.state, found.exit_code) == ("exited", 137)


async def test_one_off_containers_are_not_told(engine: Engine) -> None:
    with Box("true") as box:
        docker("wait", box.id)
        found = await engine.find(box.name)
        async with listening(engine) as ears:
            assert await engine.one_off(found, ["true"], timeout=30) == (0, b"")
            docker("rename", box.id, f"{box.name}-new")  # the last that is told
            await ears.until(lambda e: e.of(box))
            names = {e.name for e in ears.heard}
    assert not any(name.startswith("confsync-check") for name in names)
