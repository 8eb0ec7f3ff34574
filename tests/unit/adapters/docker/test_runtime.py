"""Whose HAProxy is told what: never another container's than the one that was looked at."""

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker.container import NoContainer
from confsync.adapters.docker.runtime import DockerRuntime
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.runtime import SocketRuntime
from confsync.domain.change import RetireServer, SetWeight, Step
from confsync.domain.running import Applied, Capabilities, Drift, Expected, Leftover, Observed
from tests.unit.adapters.docker.box import container
from tests.unit.adapters.docker.here import SILENT, Here
from tests.unit.adapters.haproxy.runtime_fake import FakeWorker, Server

STEPS = (RetireServer(backend="web", server="a"),)
CAN = Capabilities(version="3.2.26")


class Told:
    """A SocketRuntime's place; notes what is asked of it."""

    def __init__(self, name: str) -> None:
        self.notes = (f"the notes of {name}",)
        self.asked: list[str] = []

    async def capabilities(self, observed: Observed) -> Capabilities | None:
        self.asked.append("capabilities")
        return CAN

    def ahead(self, before: Observed) -> AbstractContextManager[None]:
        self.asked.append("ahead")
        return nullcontext()

    async def apply(self, steps: tuple[Step, ...], before: Observed) -> Applied:
        self.asked.append("apply")
        return Applied(done=steps)

    async def collect(
        self, leftovers: tuple[Leftover, ...], before: Observed
    ) -> tuple[Leftover, ...]:
        self.asked.append("collect")
        return ()

    async def audit(self, expected: tuple[Expected, ...], before: Observed) -> tuple[Drift, ...]:
        self.asked.append("audit")
        return ()


class Site:
    def __init__(self, here: Here) -> None:
        self.here = here
        self.near, self.far = Told("near"), Told("far")
        self.runtime = DockerRuntime(here.current, here.ways, near=self.near, far=self.far)


@pytest.fixture
def site() -> Site:
    return Site(Here())


async def test_the_way_that_answered_is_taken_for_all(site: Site) -> None:
    before = await site.here.target.observe()
    assert before.place == container().place
    assert await site.runtime.capabilities(before) == CAN
    assert await site.runtime.apply(STEPS, before) == Applied(done=STEPS)
    await site.runtime.collect((), before)
    await site.runtime.audit((), before)
    assert site.far.asked == ["capabilities", "apply", "collect", "audit"]
    assert site.near.asked == []
    assert site.runtime.notes == ("the notes of far",)


async def test_without_a_way_every_change_is_a_reload(site: Site) -> None:
    site.here.far.seen = SILENT
    before = await site.here.target.observe()
    assert before.running  # its processes tell
    assert await site.runtime.capabilities(before) is None
    applied = await site.runtime.apply(STEPS, before)
    assert (applied.done, applied.doubt) == (
        (),
        "no socket of HAProxy answers; nothing was changed",
    )
    assert site.far.asked == []


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (container(started=2.0), "was restarted or replaced"),
        (container(id="d" * 64), "was restarted or replaced"),
        (container(state="paused"), "is paused"),
        (NoContainer("no container is named lb"), "no container is named lb"),
        (errors.TargetUnavailable("the engine does not answer"), "does not answer"),
    ],
)
async def test_another_run_of_the_container_is_told_nothing(
    site: Site, now: object, words: str
) -> None:
    before = await site.here.target.observe()
    site.here.engine.found = now  # type: ignore[assignment]
    applied = await site.runtime.apply(STEPS, before)
    assert applied.done == ()
    assert words in applied.doubt
    assert applied.doubt.endswith("; nothing was changed")
    for call in (site.runtime.audit((), before), site.runtime.collect((), before)):
        with pytest.raises(errors.TargetError, match=words):
            await call
    assert site.far.asked == []


async def test_a_renamed_container_is_the_same_one(site: Site) -> None:
    before = await site.here.target.observe()
    site.here.engine.found = container(name="renamed")
    assert await site.runtime.apply(STEPS, before) == Applied(done=STEPS)


async def test_the_bridge_must_lead_where_haproxy_was_seen(site: Site) -> None:
    before = await site.here.target.observe()
    assert site.here.ways.far_astray(before) == ""
    site.here.bridge.use(container(started=2.0))
    assert "another run of the container" in site.here.ways.far_astray(before)


# A socket on a folder that is shared, with real connections


class Shared:
    """A stats socket here, where first one container's HAProxy listens and then another's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # As it is where confsync is in a container too: who listens cannot be seen.
        here = Here(sockets=(str(path), str(path)), peer=0)
        here.engine.found = container(pid=0)
        here.near.seen = Observed(running=True, worker_pid=101, worker_started=5.0)
        here.rest.processes = dataclasses.replace(here.near.seen)
        here.far.seen = AssertionError("the socket here leads to the container")
        self.here = here
        near = SocketRuntime(SocketOptions(stats_socket=str(path)), astray=here.ways.near_astray)
        self.runtime = DockerRuntime(here.current, here.ways, near=near, far=Told("far"))

    def worker(self) -> FakeWorker:
        one = FakeWorker(self.path)
        one.servers = {"web/a": Server("10.0.0.1", 80, number=70_001)}
        return one


@pytest.fixture
def shared(tmp_short: Path) -> Shared:
    return Shared(tmp_short / "admin.sock")


async def test_a_socket_that_took_its_place_is_told_nothing(shared: Shared) -> None:
    """The engine's events are late: nothing but the socket's file tells."""
    first, second = shared.worker(), shared.worker()
    step = SetWeight(backend="web", server="a", weight=7)
    async with first.serving():
        before = await shared.here.target.observe()
        assert await shared.runtime.apply((step,), before) == Applied(done=(step,))
    shared.path.unlink(missing_ok=True)
    async with second.serving():
        applied = await shared.runtime.apply((step,), before)
        assert applied.done == ()
        assert "is another socket than when HAProxy was looked at" in applied.doubt
        assert second.told() == []
        # Looked at again, it is the one that is meant.
        again = await shared.here.target.observe()
        assert await shared.runtime.apply((step,), again) == Applied(done=(step,))
