"""The verbs of the scenario, on a world that does what it should, and on one that does not."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from confsync import errors
from confsync.demo import children, ledger, registry, scenario, stage
from confsync.demo.traffic import Traffic

pytestmark = pytest.mark.fast_clock

QUICK = stage.Pace(patience=5, quiet=0.03, unnoticed=0, away=0)
IMPATIENT = dataclasses.replace(QUICK, patience=0.05)


class World:
    """Backends, load, registry, HAProxy and confsync in one; `deaf` things do not happen."""

    mishap = ("it breaks", "it is back")
    title = "fake"

    def __init__(self, folder: Path, *, pace: stage.Pace = QUICK, deaf: tuple[str, ...] = ()):
        self.config = folder / "haproxy.cfg"
        self.config.write_text("global\n")
        self.registered: dict[str, registry.Registration] = {}
        self.heard: list[str] = []
        self.deaf = deaf
        self.book = ledger.Ledger()
        self.act = stage.Stage(
            source=self, backends=self, load=self, book=self.book, config=self.config, pace=pace
        )

    @property
    def source(self) -> dict[str, str]:
        return {}

    def tell(self, event: str, **more: object) -> None:
        if event not in self.deaf:
            loop = asyncio.get_running_loop()
            loop.call_soon(self.act.take, {"event": event, **more})

    def traffic(self) -> None:
        """A request to each instance that is registered."""
        now = time.monotonic()
        last = {**self.book.traffic.last, **dict.fromkeys(self.registered, now)}
        requests = self.book.traffic.requests + len(self.registered)
        failed = dict(self.book.traffic.failed)
        self.tell(
            "traffic", **dataclasses.asdict(Traffic(requests=requests, last=last, failed=failed))
        )

    async def steady(self) -> None:
        while True:
            self.traffic()
            await asyncio.sleep(0.005)

    def send(self, message: children.Message) -> None:
        host = message.get("host", "")
        self.heard.append(f"{message['do']} {host or message['name']}")
        match message["do"]:
            case "open":
                self.tell("open", name=message["name"], port=1000 + len(self.heard))
            case "crash" | "stop" if not host:
                self.tell("ended", name=message["name"])
            case "stop":
                self.tell("stopped", host=host)
            case "probe":
                self.tell("probed", host=host, at=time.monotonic())

    async def put(self, registration: registry.Registration) -> None:
        self.heard.append(f"put {registration.id}")
        self.registered[registration.id] = registration
        if "\n" not in registration.service + registration.address:
            self.tell("first", name=registration.id, at=time.monotonic())

    async def remove(self, registration: registry.Registration) -> None:
        self.heard.append(f"remove {registration.id}")
        del self.registered[registration.id]

    async def start(self) -> None:
        self.heard.append("start")

    async def stop(self) -> None:
        self.heard.append("stop")

    async def lose(self) -> None:
        self.heard.append("lose")

    async def recover(self) -> None:
        self.heard.append("recover")

    async def play(self, verb: Callable[[stage.Stage], Awaitable[str]]) -> str:
        async with asyncio.TaskGroup() as group:
            steady = group.create_task(self.steady())
            outcome = await verb(self.act)
            steady.cancel()
        return outcome


async def test_a_service_gets_traffic_once_it_answers(tmp_path: Path) -> None:
    world = World(tmp_path)
    outcome = await world.play(lambda act: act.appear(web=2))
    assert outcome.startswith("first answers after")
    assert world.heard == [
        *("open web-1", "open web-2", "put web-1", "put web-2", "probe web", "start web"),
    ]
    assert world.registered["web-2"].service == "web"
    assert world.book.changes == 2
    assert len(world.book.times) == 2
    assert world.act.live() == {"web": ("web-1", "web-2")}
    assert not world.act.faults


async def test_an_instance_leaves_the_registry_before_it_stops(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.play(lambda act: act.appear(web=2))
    world.heard.clear()
    outcome = await world.play(lambda act: act.leave("web-1"))
    assert outcome.startswith("last answer after")
    assert world.heard == ["remove web-1", "stop web-1"]
    assert world.act.live() == {"web": ("web-2",)}
    assert world.book.changes == 3


async def test_an_instance_crashes_before_the_registry_knows(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.play(lambda act: act.appear(web=2))
    world.heard.clear()
    world.book.traffic.failed["503"] = 7  # from before: not this step's
    outcome = await world.play(lambda act: act.crash("web-1"))
    assert outcome.endswith("0 failed")
    assert world.heard == ["crash web-1", "remove web-1"]


async def test_the_clients_of_a_service_end_first(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.play(lambda act: act.appear(web=1, search=2))
    world.heard.clear()
    outcome = await world.play(lambda act: act.vanish("search"))
    assert outcome.startswith("503 after")
    assert world.heard == [
        *("stop search", "remove search-1", "remove search-2", "probe search"),
        *("stop search-1", "stop search-2"),
    ]
    assert world.act.live() == {"web": ("web-1",)}


async def test_hostile_texts_are_taken_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    outcome = await world.play(lambda act: act.attack("web-1"))
    assert outcome.startswith("refused; the good one's first answer after")
    assert set(world.registered) == {"web-1"}
    assert not world.act.faults


async def test_a_hostile_text_that_gets_in_is_a_fault(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.config.write_text(f"backend web\n    {stage.MARKER}\n")
    await world.play(lambda act: act.attack("web-1"))
    assert world.act.faults == ["a text from the registry added a line to the configuration"]


async def test_the_time_after_an_outage_is_no_measure(tmp_path: Path) -> None:
    world = World(tmp_path)
    outcome = await world.play(lambda act: act.outage("web-1"))
    assert "0 failed; back: first answer after" in outcome
    assert world.heard == ["lose", "recover", "open web-1", "put web-1"]
    assert world.book.times == []
    assert world.book.changes == 1


@pytest.mark.parametrize(
    ("deaf", "verb", "fault"),
    [
        ("first", lambda act: act.join("web-1", "web-2"), "web-1, web-2 answers"),
        ("probed", lambda act: act.appear(web=1), "web is served"),
    ],
)
async def test_what_does_not_come_is_a_fault(
    tmp_path: Path, deaf: str, verb: scenario.Play, fault: str
) -> None:
    world = World(tmp_path, pace=IMPATIENT, deaf=(deaf,))
    await world.play(verb)
    assert world.act.faults[0] == f"not within 0.05 s: {fault}"


async def test_nothing_is_registered_that_does_not_listen(tmp_path: Path) -> None:
    world = World(tmp_path, pace=IMPATIENT, deaf=("open",))
    with pytest.raises(errors.TargetUnavailable, match="do not listen"):
        await world.act.join("web-1")
    assert not world.registered


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        (lambda act: act.leave("web-1"), "web-1 gets no more requests"),
        (lambda act: act.crash("web-1"), "web-1 gets no more requests"),
        (lambda act: act.vanish("web"), "web is gone"),
    ],
)
async def test_what_does_not_go_is_a_fault(tmp_path: Path, verb: scenario.Play, fault: str) -> None:
    world = World(tmp_path, pace=dataclasses.replace(IMPATIENT, quiet=1000))
    await world.play(lambda act: act.appear(web=2))
    world.deaf = ("probed",)
    await world.play(verb)
    assert world.act.faults == [f"not within 0.05 s: {fault}"]
