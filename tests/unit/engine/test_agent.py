"""The loop on fakes: when it looks, what it retries, how it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from confsync.domain.status import CycleReport, Outcome, SourceState
from confsync.engine import agent as agents
from confsync.engine import guarding
from confsync.engine.agent import Agent, Options
from confsync.engine.cycle import Cycle
from confsync.engine.cycle import Options as CycleOptions
from confsync.engine.holdoff import Pace
from confsync.errors import ReloadFailed, TargetDenied, TargetUnavailable
from tests.fakes import world
from tests.fakes.socket import Socket
from tests.fakes.world import MAIN, MAP, catalog


class Here:
    def __init__(self) -> None:
        self.store = world.Store()
        self.state = world.State()
        self.haproxy = world.Haproxy(self.store)
        self.registry = world.Registry()
        self.said = world.Spoken()
        self.agent: Agent
        self.stop = asyncio.Event()
        self.socket: Socket | None = None
        self.fast: Pace | None = None

    def build(self, pace: Pace | None = None, retry: tuple[float, float] = (0.02, 0.05)) -> Agent:
        self.agent = Agent(
            options=Options(
                main=MAIN,
                destinations=(MAIN, MAP),
                pace=pace or Pace(first=0, quiet=0.01, ceiling=0.02, interval=0.02),
                retry=retry,
                fast=self.fast,
            ),
            cycle=Cycle(
                options=CycleOptions(main=MAIN),
                discoverer=self.registry,
                store=self.store,
                scratch=self.store,
                state=self.state,
                target=self.haproxy,
                renderer=world.Renderer(),
                is_local=lambda _: False,
                runtime=self.socket,
                surveyor=self.socket,
            ),
            discoverer=self.registry,
            target=self.haproxy,
            store=self.store,
            state=self.state,
            telemetry=self.said,
            notifier=self.said,
        )
        return self.agent

    @asynccontextmanager
    async def running(self, **options: object) -> AsyncIterator[None]:
        self.stop = asyncio.Event()
        made = self.build(**options)  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(made.run(self.stop))
            await asyncio.wait_for(self.registry.ready.wait(), 5)
            try:
                yield
            finally:
                self.stop.set()
                await asyncio.wait_for(task, 5)

    def publish(self, **services: int) -> None:
        assert self.registry.publish is not None
        self.registry.publish(catalog(**services))

    async def until(self, wanted: Callable[[CycleReport], bool]) -> CycleReport:
        async with asyncio.timeout(8):
            while True:
                for report in self.said.reports:
                    if wanted(report):
                        return report
                self.said.news.clear()
                await self.said.news.wait()


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(agents, "TICK", 0.01)
    monkeypatch.setattr(agents, "PATIENCE", 0.05)
    return Here()


def reloaded(servers: int) -> Callable[[CycleReport], bool]:
    return lambda r: r.outcome is Outcome.RELOADED and r.servers == servers


async def test_a_published_catalog_becomes_a_reload(here: Here) -> None:
    async with here.running():
        here.publish(web=2)
        report = await here.until(reloaded(2))
        assert "the registry changed" in report.why
        assert here.said.is_ready
    assert here.registry.closed


async def test_the_latest_catalog_wins_and_one_reload_serves_many(here: Here) -> None:
    async with here.running():
        here.publish(web=1)
        await here.until(reloaded(1))
        here.haproxy.gate.clear()
        here.publish(web=2)
        await asyncio.sleep(0.05)
        for count in range(3, 30):
            here.publish(web=count)
        here.haproxy.gate.set()
        await here.until(reloaded(29))
    assert here.haproxy.reloads <= 3


async def test_changes_after_a_calm_are_gathered_while_the_first_is_worked_on(here: Here) -> None:
    pace = Pace(first=0.3, quiet=0.3, ceiling=1, interval=0.01)
    async with here.running(pace=pace):
        here.publish(web=1)
        async with asyncio.timeout(5):
            while not here.haproxy.checks:
                await asyncio.sleep(0.005)
        here.publish(web=2)
        here.publish(web=3)
        await here.until(reloaded(3))
    assert here.haproxy.reloads == 1
    superseded = [r for r in here.said.reports if r.outcome is Outcome.SUPERSEDED]
    assert len(superseded) == 1
    assert superseded[0].servers == 1


async def test_what_a_superseded_turn_saw_once_is_told_by_the_next(here: Here) -> None:
    pace = Pace(first=0.3, quiet=0.3, ceiling=1, interval=0.01)
    async with here.running(pace=pace):
        here.publish(web=6)
        await here.until(reloaded(6))
        here.publish(web=1)
        await here.until(lambda r: bool(r.holds))
        checks = here.haproxy.checks
        here.publish(web=7)
        async with asyncio.timeout(5):
            while here.haproxy.checks == checks:
                await asyncio.sleep(0.005)
        here.publish(web=8)
        report = await here.until(reloaded(8))
    assert [r.servers for r in here.said.reports if r.outcome is Outcome.SUPERSEDED] == [7]
    assert "hold ended: web: it has come back" in report.notes
    assert report.why == "the registry changed"


async def test_a_failure_is_retried_with_growing_pauses_until_it_works(here: Here) -> None:
    here.haproxy.reload_error = ReloadFailed("no")
    async with here.running():
        here.publish(web=2)
        await here.until(lambda r: r.why.startswith("trying again"))
        assert here.agent.retry_in is not None
        assert here.agent.exit_code == 75
        here.haproxy.reload_error = None
        await here.until(reloaded(2))
        assert here.agent.retry_in is None
        assert here.agent.exit_code == 0


async def test_changes_alone_ask_for_no_further_reload_after_a_failed_one(here: Here) -> None:
    here.haproxy.reload_error = ReloadFailed("no")
    async with here.running(retry=(60, 60)):
        here.publish(web=1)
        await here.until(lambda r: r.outcome is Outcome.FAILED)
        here.haproxy.reload_error = None
        for count in range(2, 6):
            here.publish(web=count)
            await asyncio.sleep(0.05)
        here.haproxy.pid += 1  # the failed one has ended, too late
        await asyncio.sleep(0.1)
        assert here.store.done.count("promote") == 1
        here.haproxy.running = False
        await here.until(lambda r: "HAProxy stopped" in r.why)
        here.haproxy.start()
        here.publish(web=6)
        await here.until(reloaded(6))


async def test_a_failure_is_not_tried_again_because_of_a_hold(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "HELD_LOOK", 0.02)
    async with here.running(retry=(60, 60)):
        here.publish(web=6)
        await here.until(reloaded(6))
        here.haproxy.refuses = lambda _: True
        here.publish(web=1, api=1)
        await here.until(lambda r: r.outcome is Outcome.FAILED and bool(r.holds))
        await asyncio.sleep(0.1)
    assert len([r for r in here.said.reports if r.outcome is Outcome.FAILED]) == 1


async def test_a_stop_lets_the_running_step_end(here: Here) -> None:
    async with here.running():
        here.haproxy.gate.clear()
        here.publish(web=2)
        async with asyncio.timeout(5):
            while "promote" not in here.store.done:
                await asyncio.sleep(0.005)
        here.stop.set()
        await asyncio.sleep(0.05)
        assert here.haproxy.reloads == 0
        here.haproxy.gate.set()
    assert here.haproxy.reloads == 1
    assert here.store.done[-1] == "settle"


async def test_without_a_registry_the_last_good_catalog_works(here: Here) -> None:
    here.state.catalog = catalog(web=3)
    async with here.running():
        report = await here.until(reloaded(3))
        assert "the registry has not answered yet" in report.why


async def test_without_anything_haproxy_gets_a_configuration_to_start_with(here: Here) -> None:
    here.haproxy.running = False
    async with here.running():
        report = await here.until(lambda r: r.outcome is Outcome.WRITTEN)
        assert report.servers == 0
    assert MAIN in here.store.disk
    assert here.state.catalog is None


async def test_without_a_catalog_a_configuration_that_is_there_stays(here: Here) -> None:
    here.store.put(MAIN, "theirs\n")
    async with here.running():
        report = await here.until(lambda r: r.outcome is Outcome.WAITING)
        assert "no last good catalog" in report.notes[0]
        assert here.said.is_ready
    assert here.store.disk == {MAIN: "theirs\n"}


async def test_a_haproxy_that_runs_is_not_emptied_for_want_of_a_file(here: Here) -> None:
    async with here.running():
        report = await here.until(lambda r: r.outcome is Outcome.WAITING)
        assert "no last good catalog" in report.notes[0]
        assert here.store.disk == {}
        here.haproxy.running = False
        await here.until(lambda r: r.outcome is Outcome.WRITTEN)
    assert here.haproxy.reloads == 0


async def test_what_others_do_to_haproxy_is_noticed(here: Here) -> None:
    async with here.running():
        here.publish(web=2)
        await here.until(reloaded(2))
        here.haproxy.pid += 1
        await here.until(lambda r: "HAProxy was reloaded by another hand" in r.why)
        here.haproxy.running = False
        await here.until(lambda r: "HAProxy stopped" in r.why)
        here.haproxy.start()
        await here.until(lambda r: "HAProxy runs" in r.why)


async def test_a_glance_does_not_wait_for_the_next_look(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "TICK", 60)
    async with here.running():
        here.publish(web=2)
        await here.until(reloaded(2))
        here.haproxy.pid += 1
        here.agent.glance("container lb: start")
        await here.until(lambda r: "HAProxy was reloaded by another hand" in r.why)


async def test_what_could_not_be_reached_is_tried_at_once_when_it_is_back(here: Here) -> None:
    async with here.running(retry=(60, 60)):
        here.haproxy.observe_error = TargetUnavailable("the container lb is paused")
        here.publish(web=2)
        await here.until(lambda r: r.exit_code == 69)
        here.haproxy.observe_error = None
        here.agent.glance("container lb: unpause")
        report = await here.until(reloaded(2))
        assert "container lb: unpause" in report.why


async def test_what_was_refused_is_not_tried_again_because_of_a_glance(here: Here) -> None:
    async with here.running(retry=(60, 60)):
        here.haproxy.refuses = lambda _: True
        here.publish(web=2)
        await here.until(lambda r: r.exit_code == 65)
        checks = here.haproxy.checks
        here.agent.glance("container lb: start")
        await asyncio.sleep(0.1)
    assert here.haproxy.checks == checks


async def test_an_edit_on_disk_is_noticed_and_replaced(here: Here) -> None:
    async with here.running():
        here.publish(web=2)
        await here.until(reloaded(2))
        ours = here.store.disk[MAIN]
        here.store.now = 5
        here.store.put(MAIN, "by hand\n")
        await here.until(lambda r: "a file changed on disk" in r.why)
        assert here.store.disk[MAIN] == ours
        assert here.store.kept == {f"foreign{MAIN}": "by hand\n"}


async def test_an_edit_during_a_turn_that_writes_nothing_is_noticed(here: Here) -> None:
    async with here.running(retry=(60, 60)):
        here.publish(web=2)
        await here.until(reloaded(2))

        def refuse(_: object) -> bool:
            here.haproxy.refuses = lambda _: False
            here.store.now = 5
            here.store.put(MAIN, "by hand\n")
            return True

        here.haproxy.refuses = refuse
        here.publish(web=3)
        await here.until(reloaded(3))
    assert here.store.kept == {f"foreign{MAIN}": "by hand\n"}


async def test_pause_is_kept_and_resume_applies(here: Here) -> None:
    async with here.running():
        await here.agent.pause(paused=True)
        here.publish(web=2)
        await here.until(lambda r: r.outcome is Outcome.PAUSED)
        assert here.state.values["paused"] is True
    here.said.reports.clear()
    async with here.running():
        assert here.agent.paused
        here.publish(web=2)
        await here.until(lambda r: r.outcome is Outcome.PAUSED)
        assert here.store.disk == {}
        await here.agent.pause(paused=False)
        await here.until(reloaded(2))


async def test_paused_with_a_hold_and_an_edit_says_each_once(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "HELD_LOOK", 0.02)
    async with here.running():
        here.publish(web=6)
        await here.until(reloaded(6))
        await here.agent.pause(paused=True)
        await here.until(lambda r: "paused by hand" in r.why)
        here.publish(web=1, api=1)
        here.store.put(MAIN, "by hand\n")
        looks = 0
        async with asyncio.timeout(8):
            while looks < 5:
                await asyncio.sleep(0.01)
                looks = sum(r.why == "a hold is looked at" for r in here.said.reports)
    told = zip(here.said.reports, here.said.news_of, strict=True)
    assert [news for r, news in told if r.why == "a hold is looked at"][1:] == [False] * (looks - 1)
    assert here.said.events.count(("warning", "edited by another hand")) == 1


async def test_release_lets_a_held_service_go(here: Here) -> None:
    async with here.running():
        here.publish(web=6, api=1)
        await here.until(reloaded(7))
        here.publish(web=1, api=1)
        await here.until(lambda r: bool(r.holds))
        assert here.agent.exit_code == 4
        here.agent.release(("web",), registry=False)
        report = await here.until(reloaded(2))
        assert "released by hand" in report.why
        assert not report.holds


async def test_a_hold_is_looked_at_again_without_news_from_the_registry(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "HELD_LOOK", 0.05)
    async with here.running():
        here.publish(web=6, api=1)
        await here.until(reloaded(7))
        here.publish(web=1, api=1)
        await here.until(lambda r: r.why == "a hold is looked at")
        here.haproxy.down = {f"10.0.0.{n}:80" for n in range(2, 7)}
        report = await here.until(reloaded(2))
        assert any("checks say that they are down" in note for note in report.notes)
    looks = [
        news
        for report, news in zip(here.said.reports, here.said.news_of, strict=True)
        if report.why == "a hold is looked at" and report.outcome is Outcome.IN_STEP
    ]
    assert not any(looks)


async def test_a_silent_registry_and_a_closed_socket_are_told_once(here: Here) -> None:
    async with here.running():
        here.publish(web=1)
        await here.until(reloaded(1))
        assert here.registry.tell is not None
        for _ in range(3):
            here.registry.tell(SourceState(up=False, error="refused"))
        assert here.agent.exit_code == 69
        here.registry.tell(SourceState(up=True, denied=("secret",)))
        here.haproxy.observe_error = TargetDenied("forbidden")
        async with asyncio.timeout(5):
            while ("warning", "HAProxy cannot be observed") not in here.said.events:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    for event in (
        ("warning", "registry does not answer"),
        ("info", "registry answers"),
        ("warning", "services denied to the token"),
        ("warning", "HAProxy cannot be observed"),
    ):
        assert here.said.events.count(event) == 1


async def test_the_watchdog_is_fed_and_starves_with_a_stuck_cycle(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "STUCK", 0.05)
    async with here.running():
        here.haproxy.gate.clear()
        here.publish(web=1)
        async with asyncio.timeout(5):
            while here.agent.alive:
                await asyncio.sleep(0.01)
        assert here.said.fed > 0
        fed = here.said.fed
        await asyncio.sleep(0.05)
        assert here.said.fed == fed
        here.haproxy.gate.set()
        await here.until(reloaded(1))


async def test_a_resync_runs_without_news(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "RESYNC", 0.05)
    async with here.running():
        here.publish(web=1)
        await here.until(lambda r: r.why == "resync")


async def test_a_fall_of_the_registrys_index_reaches_the_guard(here: Here) -> None:
    async with here.running():
        here.publish(web=2, api=1)
        await here.until(reloaded(3))
        assert here.registry.publish is not None
        here.registry.publish(replace(catalog(api=1), index_fell=True))
        report = await here.until(lambda r: bool(r.holds))
        assert "index fell" in report.holds[0].reason
        assert report.servers == 3
