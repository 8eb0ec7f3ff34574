"""The two lanes of a running agent: changes at runtime at once, reloads at their pace."""

import asyncio
from collections.abc import Callable

import pytest

from confsync.domain.change import Admin
from confsync.domain.status import CycleReport, Outcome
from confsync.engine import agent as agents
from confsync.engine import background
from confsync.engine.holdoff import Pace
from confsync.errors import CheckUnavailable, ReloadFailed
from confsync.ports import Staged
from tests.fakes.socket import Socket
from tests.fakes.world import MAIN
from tests.unit.engine.test_agent import Here, reloaded

SLOW = Pace(first=0, quiet=0.4, ceiling=0.5, interval=0.5)


class Both(Here):
    """An agent with a socket for changes at runtime."""

    def __init__(self) -> None:
        super().__init__()
        self.sock = self.socket = Socket(self.haproxy)
        self.fast = Pace(first=0, quiet=0.002, ceiling=0.01, interval=0.002)

    async def comes(self, true: Callable[[], bool]) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(8):
            while not true():
                await asyncio.sleep(0.002)


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> Both:
    monkeypatch.setattr(agents, "TICK", 0.01)
    monkeypatch.setattr(agents, "PATIENCE", 0.05)
    monkeypatch.setattr(background, "LATE", 0.05)
    return Both()


def applied(servers: int) -> Callable[[CycleReport], bool]:
    return lambda r: r.outcome is Outcome.APPLIED and r.servers == servers


async def test_changes_at_runtime_wait_for_no_reloads_pace(here: Both) -> None:
    async with here.running(pace=Pace(first=0, quiet=60, ceiling=60, interval=60)):
        here.publish(web=1)
        await here.until(reloaded(1))
        for count in range(2, 8):
            here.publish(web=count)
            await here.until(applied(count))
    assert here.haproxy.reloads == 1
    assert len(here.sock.sent) == 6


async def test_a_burst_is_gathered(here: Both) -> None:
    here.fast = Pace(first=0, quiet=0.05, ceiling=1, interval=0.05)
    async with here.running():
        here.publish(web=1)
        await here.until(reloaded(1))
        for count in range(2, 40):
            here.publish(web=count)
            await asyncio.sleep(0.001)
        await here.until(applied(39))
    assert len(here.sock.sent) <= 10


async def test_while_a_reload_waits_what_can_be_done_at_runtime_is(here: Both) -> None:
    async with here.running(pace=SLOW):
        here.publish(web=1)
        await here.until(reloaded(1))
        here.publish(web=2, new=1)
        report = await here.until(applied(3))
        assert report.waits
        assert here.haproxy.reloads == 1
        assert "new" not in here.store.disk[MAIN]
        here.publish(web=3, new=1)
        await here.until(applied(4))
        assert here.haproxy.reloads == 1
        await here.until(reloaded(4))
        assert here.haproxy.reloads == 2
        here.publish(web=4, new=2)
        await here.until(applied(6))
    assert here.haproxy.reloads == 2
    assert here.haproxy.serving() == {
        *(f"web/10.0.0.{n}:80" for n in range(1, 5)),
        *(f"new/10.0.0.{n}:80" for n in range(1, 3)),
    }


async def test_a_reload_that_waits_alone_is_no_news(here: Both) -> None:
    async with here.running(pace=SLOW):
        here.publish(web=1)
        await here.until(reloaded(1))
        here.publish(web=1, new=1)
        await here.until(reloaded(2))
    told = zip(here.said.reports, here.said.news_of, strict=True)
    assert {news for r, news in told if r.outcome is Outcome.PENDING} <= {False}


async def test_after_a_change_the_record_is_kept_and_the_file_checked(here: Both) -> None:
    async with here.running():
        here.publish(web=1)
        await here.until(reloaded(1))
        checks = here.haproxy.checks
        here.publish(web=2)
        await here.until(applied(2))
        await here.comes(lambda: here.haproxy.checks == checks + 1)
        await here.comes(lambda: here.store.previous is None)
        assert here.state.record is not None
        assert here.state.record.files == here.state.record.promoted
        assert here.state.record.text[MAIN] == here.store.disk[MAIN]
        assert here.state.catalog is not None


async def test_a_refusal_after_a_change_is_an_alarm_and_the_change_is_undone(here: Both) -> None:
    def refuses(staged: Staged | None) -> bool:
        file = staged.config.get(MAIN) if staged else None
        return (file.text if file else here.store.disk[MAIN]).count("server ") == 3

    async with here.running(retry=(60, 60)):
        here.publish(web=2)
        await here.until(reloaded(2))
        here.haproxy.refuses = refuses
        here.publish(web=3)
        await here.until(applied(3))
        await here.comes(lambda: ("error", "alarm") in here.said.events)
        await here.until(lambda r: r.exit_code == 65)
        assert len(here.haproxy.serving()) == 2
        assert here.store.disk[MAIN].count("server ") == 2
        here.haproxy.refuses = lambda _: False


async def test_a_check_that_cannot_be_made_is_told_and_tried_again(
    here: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "AGAIN", 0.02)
    async with here.running():
        here.publish(web=1)
        await here.until(reloaded(1))
        here.haproxy.check_error = CheckUnavailable("no binary")
        here.publish(web=2)
        await here.comes(lambda: ("warning", "a change is not checked yet") in here.said.events)
        here.haproxy.check_error = None
        await here.comes(lambda: here.store.previous is None)


async def test_a_stop_keeps_what_was_done(here: Both) -> None:
    async with here.running():
        here.publish(web=1)
        await here.until(reloaded(1))
        here.publish(web=2)
        await here.until(applied(2))
    assert here.state.record is not None
    assert here.state.record.text[MAIN].count("server ") == 2
    assert here.store.previous is None
    sent = len(here.sock.sent)
    here.said.reports.clear()
    async with here.running():
        here.publish(web=2)
        await here.until(lambda r: r.outcome is Outcome.IN_STEP)
    assert (here.haproxy.reloads, len(here.sock.sent)) == (1, sent)


async def test_a_doubt_becomes_a_reload_by_itself(here: Both) -> None:
    async with here.running(pace=SLOW):
        here.publish(web=1)
        await here.until(reloaded(1))
        here.sock.dies_after = 1
        here.publish(web=3)
        report = await here.until(lambda r: r.waits)
        assert any("the socket died" in note for note in report.notes)
        here.sock.dies_after = -1
        await here.until(reloaded(3))
        assert len(here.haproxy.serving()) == 3
        here.publish(web=4)
        await here.until(applied(4))


async def test_chores_are_done_between_turns(here: Both) -> None:
    async with here.running():
        here.publish(web=4)
        await here.until(reloaded(4))
        here.publish(web=3)
        await here.until(applied(3))
        await here.comes(lambda: len(here.haproxy.table) == 3)
        await here.comes(
            lambda: here.state.record is not None and here.state.record.leftovers == ()
        )


async def test_paused_nothing_is_sent(here: Both) -> None:
    async with here.running():
        here.publish(web=2)
        await here.until(reloaded(2))
        await here.agent.pause(paused=True)
        here.publish(web=3)
        await here.until(lambda r: r.outcome is Outcome.PAUSED and r.servers == 3)
        assert here.sock.sent == []
        await here.agent.pause(paused=False)
        await here.until(applied(3))
        assert all(row.state is Admin.READY for row in here.haproxy.table.values())


async def test_a_reload_by_others_is_met(here: Both) -> None:
    async with here.running():
        here.publish(web=2)
        await here.until(reloaded(2))
        here.publish(web=3)
        await here.until(applied(3))
        here.store.now += 100
        here.haproxy.start()
        here.publish(web=4)
        await here.until(lambda r: r.servers == 4 and r.outcome is not Outcome.PENDING)
        await here.comes(lambda: len(here.haproxy.serving()) == 4)


async def test_changes_at_runtime_do_not_hasten_a_reload_that_failed(here: Both) -> None:
    pace = Pace(first=0, quiet=0.01, ceiling=0.02, interval=0.02)
    async with here.running(pace=pace, retry=(6, 6)):
        here.publish(web=1)
        await here.until(reloaded(1))
        here.haproxy.reload_error = ReloadFailed("no")
        here.publish(web=1, api=1)
        await here.until(lambda r: r.outcome is Outcome.FAILED)
        here.haproxy.reload_error = None
        for count in range(2, 6):
            here.publish(web=count, api=1)
            await here.until(applied(count + 1))
            await asyncio.sleep(0.5)
        assert here.haproxy.reloads == 1
        await here.until(reloaded(6))


async def test_a_load_that_is_asked_for_in_a_reload_is_one_more(here: Both) -> None:
    async with here.running(pace=SLOW):
        here.publish(web=1)
        await here.until(reloaded(1))
        here.haproxy.gate.clear()
        here.publish(web=1, api=1)
        await here.comes(lambda: "promote" in here.store.done[3:])
        here.agent.load("a certificate came")
        here.haproxy.gate.set()
        await here.comes(lambda: here.haproxy.reloads == 3)
    assert here.haproxy.reloads == 3
