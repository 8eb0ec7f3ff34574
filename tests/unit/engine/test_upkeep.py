"""What a change at runtime leaves for later: proof, deadlines, collecting, audits, hands."""

import asyncio
import time
from dataclasses import replace

import pytest

from confsync.domain.catalog import Catalog, Status
from confsync.domain.change import Admin, SetState, SetWeight
from confsync.domain.running import Capabilities, Drift
from confsync.domain.status import CycleReport, Outcome
from confsync.engine import hands
from confsync.engine.upkeep import Upkeep
from confsync.errors import (
    CheckRejected,
    CheckUnavailable,
    StateError,
    TargetUnavailable,
    WriteError,
)
from tests.fakes.socket import Killed
from tests.fakes.world import MAIN, catalog
from tests.unit.engine.test_stepping import World


class Kept(World):
    """A world whose upkeep is called by the test."""

    def renewed(self, **changes: object) -> Upkeep:
        self.options = replace(self.options, **changes)  # type: ignore[arg-type]
        self.restarted()
        return self.upkeep

    @property
    def upkeep(self) -> Upkeep:
        assert self.cycle.upkeep is not None
        return self.cycle.upkeep

    async def proven(self) -> bool:
        """Keep and check, in the order of the agent's background."""
        await self.cycle.finish()
        config, refused = await self.upkeep.prove()
        assert config is not None
        if refused is not None:
            self.alarms = (await self.upkeep.undo(refused)).alarms
            return False
        return await self.upkeep.proven(config)

    async def audit(self) -> tuple[str, ...]:
        self.upkeep.auditor.soon()
        return (await self.upkeep.chores(paused=False)).notes

    async def maintained(self, number: int = 0, *, reload: bool = True) -> CycleReport:
        """Put an instance of web, by default the first, in Consul's maintenance."""
        seen = catalog(web=3, api=2)
        web = seen.services[1]
        instances = list(web.instances)
        instances[number] = replace(instances[number], status=Status.MAINTENANCE)
        services = (seen.services[0], replace(web, instances=tuple(instances)))
        return await self.swift(Catalog(services=services), reload=reload)

    def of(self, service: str) -> list[tuple[str, str]]:
        return sorted(place for place in self.haproxy.table if place[0] == service)


@pytest.fixture
async def here() -> Kept:
    made = Kept()
    await made.turn(catalog(web=3, api=2))
    made.haproxy.checks = 0
    return made


async def test_a_change_is_checked_afterwards_and_its_journal_ended(here: Kept) -> None:
    await here.swift(catalog(web=4, api=2))
    assert "settle" not in here.store.done
    assert await here.proven()
    assert here.store.done[-1] == "settle"
    assert here.haproxy.checks == 1
    assert await here.upkeep.prove() == (None, None)


async def test_a_check_of_what_is_no_more_ends_no_journal(here: Kept) -> None:
    await here.swift(catalog(web=4, api=2))
    config, _ = await here.upkeep.prove()
    assert config is not None
    await here.swift(catalog(web=5, api=2))
    assert not await here.upkeep.proven(config)
    assert "settle" not in here.store.done


async def test_a_refusal_afterwards_undoes_steps_and_file_and_alarms(here: Kept) -> None:
    before = here.store.disk[MAIN]
    await here.swift(catalog(web=5, api=2))
    here.haproxy.refuses = lambda staged: staged is None
    assert not await here.proven()
    assert "a bug of confsync" in here.alarms[0]
    assert here.store.disk[MAIN] == before
    assert here.in_step()
    assert here.haproxy.reloads == 1
    here.haproxy.refuses = lambda staged: staged is not None
    report = await here.swift(catalog(web=5, api=2))
    assert report.exit_code == 65  # nothing is known to pass any more
    assert here.in_step()
    here.haproxy.refuses = lambda _: False
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.APPLIED


async def test_what_is_refused_with_the_set_before_it_is_not_undone(here: Kept) -> None:
    """A name that is not resolved for a while gives no traffic back to a server that is gone."""
    await here.swift(catalog(web=2, api=2))
    serving = here.haproxy.serving()
    here.haproxy.refuses = lambda _: True
    with pytest.raises(CheckUnavailable, match="what it passed before as well"):
        await here.proven()
    assert here.haproxy.serving() == serving
    assert here.in_step()
    assert here.scratch.done == ["stage", "discard"]
    here.haproxy.refuses = lambda _: False
    assert await here.proven()


async def test_a_refusal_that_cannot_be_undone_at_runtime_is_a_reload(here: Kept) -> None:
    await here.swift(catalog(web=5, api=2))
    here.haproxy.refuses = lambda staged: staged is None
    here.socket.dies_after = 0
    assert not await here.proven()
    here.haproxy.refuses = lambda _: False
    report = await here.swift(catalog(web=3, api=2))
    assert report.outcome is Outcome.RELOADED
    assert here.in_step()


async def test_a_doubtful_change_whose_file_is_refused_leaves_the_file_before(here: Kept) -> None:
    before = here.store.disk[MAIN]
    here.socket.dies_after = 1
    here.haproxy.refuses = lambda _: True
    report = await here.swift(catalog(web=5, api=2))
    assert report.exit_code == 65
    assert here.store.disk[MAIN] == before
    here.haproxy.refuses = lambda _: False
    assert (await here.swift(catalog(web=3, api=2))).outcome is Outcome.RELOADED
    assert here.in_step()


async def test_a_failed_reload_goes_back_to_what_runs(here: Kept) -> None:
    await here.swift(catalog(web=5, api=2))
    live = here.store.disk[MAIN]
    here.haproxy.reload_error = TargetUnavailable("no")
    assert (await here.swift(catalog(web=5, api=2, new=1))).outcome is Outcome.FAILED
    assert here.store.disk[MAIN] == live
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.IN_STEP


async def test_retired_servers_are_deleted_once_nothing_uses_them(here: Kept) -> None:
    await here.swift(catalog(web=1, api=2), released=frozenset({"web"}))
    gone = here.of("web")[1:]
    here.socket.in_use = {gone[0]}
    await here.upkeep.chores(paused=False)
    assert here.of("web") == [here.of("web")[0], gone[0]]
    here.socket.in_use = set()
    await here.upkeep.chores(paused=False)
    assert len(here.of("web")) == 1
    assert here.cycle.outlook.record is not None
    assert here.cycle.outlook.record.leftovers == ()
    assert here.cycle.stepper.counts.collected == 2


async def test_a_retired_server_that_stays_in_use_is_asked_about_less_and_less(here: Kept) -> None:
    await here.swift(catalog(web=2, api=2))
    one = here.of("web")[2]
    here.socket.in_use = {one}
    for _ in range(60):
        await here.upkeep.chores(paused=False)
        await asyncio.sleep(1)
    assert 5 <= here.socket.collections <= 8
    await here.swift(catalog(web=1, api=2), released=frozenset({"web"}))
    await here.upkeep.chores(paused=False)
    assert here.of("web")[1:] == [one]  # another one waits for nobody
    here.socket.in_use = set()
    for _ in range(17):
        await here.upkeep.chores(paused=False)
        await asyncio.sleep(1)
    assert len(here.of("web")) == 1


@pytest.mark.parametrize("paused", [True, False])
async def test_a_drain_ends_in_time_also_while_paused_and_after_a_restart(
    here: Kept, paused: bool
) -> None:
    await here.maintained()
    name = here.of("web")[0]
    assert here.haproxy.table[name].state is Admin.DRAIN
    await here.cycle.finish()
    here.renewed(drain=60)
    await here.maintained()
    await here.upkeep.chores(paused=paused)
    assert here.haproxy.table[name].state is Admin.DRAIN
    here.now += 60
    news = await here.upkeep.chores(paused=paused)
    assert news.notes == (f"web/{name[1]}: its time to drain is over",)
    if paused:
        assert here.haproxy.table[name].state is Admin.MAINT
        assert (await here.upkeep.chores(paused=True)).notes == ()
    else:
        assert name not in here.haproxy.table


async def test_a_drain_ends_in_time_where_only_a_reload_that_waits_removes_the_server(
    here: Kept,
) -> None:
    """HAProxy may refuse what must be loaded for days."""
    one = here.of("web")[2]  # nobody else has its address
    here.renderer.section = "    balance leastconn\n"
    for _ in range(2):
        await here.maintained(2, reload=False)
        assert here.haproxy.table[one].state is Admin.DRAIN
        assert (await here.upkeep.chores(paused=False)).notes == ()
    here.now += 61
    news = await here.upkeep.chores(paused=True)
    assert news.notes == (f"web/{one[1]}: its time to drain is over",)
    assert here.haproxy.table[one].state is Admin.MAINT
    assert await here.audit() == ()
    assert (await here.maintained(2, reload=False)).waits
    assert here.haproxy.table[one].state is Admin.MAINT
    assert (await here.swift(catalog(web=3, api=2), reload=False)).waits
    assert here.haproxy.table[one].state is Admin.READY
    here.now += 61
    assert (await here.upkeep.chores(paused=False)).notes == ()
    assert here.haproxy.table[one].state is Admin.READY


async def test_a_drained_server_that_somebody_deleted_holds_nothing_up(here: Kept) -> None:
    await here.maintained()
    del here.haproxy.table[here.of("web")[0]]
    here.now += 60
    await here.upkeep.chores(paused=False)
    assert here.cycle.outlook.record is not None
    assert here.cycle.outlook.record.leftovers == ()


async def test_a_clock_that_is_set_back_lengthens_no_drain(here: Kept) -> None:
    await here.maintained()
    here.now -= 86_400
    await here.upkeep.chores(paused=True)
    assert here.haproxy.table[here.of("web")[0]].state is Admin.MAINT


async def test_too_many_that_cannot_be_deleted_ask_for_a_reload(here: Kept) -> None:
    here.socket.told = Capabilities(version="2.6.12")
    here.renewed(leftovers=1)
    await here.swift(catalog(web=2, api=2))
    assert (await here.upkeep.chores(paused=False)).wanted == ()
    await here.swift(catalog(web=2, api=1))
    assert (await here.upkeep.chores(paused=False)).wanted == ("too many retired servers",)
    report = await here.swift(catalog(web=2, api=1))
    assert report.outcome is Outcome.RELOADED
    assert "2 retired servers that cannot be deleted: a reload ends them" in report.reload
    assert (await here.upkeep.chores(paused=False)).wanted == ()
    assert (await here.swift(catalog(web=2, api=1))).outcome is Outcome.IN_STEP


@pytest.mark.parametrize(("deletes", "reloads"), [(False, 2), (True, 1)])
async def test_servers_settle_where_those_of_the_file_are_better(
    here: Kept, monkeypatch: pytest.MonkeyPatch, deletes: bool, reloads: int
) -> None:
    here.socket.told = Capabilities(version="2.6.12", deletes=deletes)
    here.renewed(settle=100)
    await here.swift(catalog(web=4, api=2))
    assert (await here.upkeep.chores(paused=False)).wanted == ()
    later = time.monotonic() + 101
    monkeypatch.setattr(time, "monotonic", lambda: later)
    wanted = (await here.upkeep.chores(paused=False)).wanted
    assert wanted == (() if deletes else ("runtime.settle",))
    report = await here.swift(catalog(web=5, api=2), reload=False)
    assert (report.outcome, report.waits) == (Outcome.APPLIED, not deletes)
    await here.swift(catalog(web=5, api=2))
    assert here.haproxy.reloads == reloads
    assert here.in_step()
    assert (await here.upkeep.chores(paused=False)).wanted == ()


async def test_drift_that_nobody_meant_is_repaired_and_counted(here: Kept) -> None:
    await here.audit()
    audits = here.socket.audits
    await here.upkeep.chores(paused=False)
    assert here.socket.audits == audits  # not before its time
    row = here.haproxy.table[here.of("web")[0]]
    row.port = 9
    notes = await here.audit()
    assert notes[-1] == "1 repaired"
    assert row.port == 80
    assert here.cycle.stepper.counts.repaired == 1
    del here.haproxy.table[here.of("web")[0]]
    await here.audit()
    assert here.cycle.stepper.counts.repaired == 1
    assert (await here.swift(catalog(web=3, api=2))).outcome is Outcome.RELOADED
    assert here.cycle.stepper.counts.repaired == 2
    assert here.in_step()


async def test_what_an_operator_holds_is_left_shown_and_put_back_after_a_reload(
    here: Kept,
) -> None:
    one, two = here.of("web")[:2]
    here.haproxy.table[one].state = Admin.MAINT
    here.haproxy.table[two].weight = 7
    assert len(await here.audit()) == 2
    assert await here.audit() == ()
    assert {d.hand for d in here.cycle.stepper.hands.found} == {
        SetState(backend="web", server=one[1], state=Admin.MAINT),
        SetWeight(backend="web", server=two[1], weight=7),
    }
    await here.swift(catalog(web=3, api=2, new=1))
    assert here.haproxy.reloads == 2
    assert here.haproxy.table[one].state is Admin.MAINT
    assert here.haproxy.table[two].weight == 7
    here.haproxy.table[one].state = Admin.READY
    await here.audit()
    assert [d.server for d in here.cycle.stepper.hands.found] == [two[1]]


async def test_a_hand_of_the_last_moment_survives_the_reload_as_well(here: Kept) -> None:
    one = here.of("web")[0]
    here.haproxy.table[one].state = Admin.DRAIN
    await here.swift(catalog(web=3, api=2, new=1))
    assert here.haproxy.table[one].state is Admin.DRAIN


async def test_hands_survive_a_restart_and_a_reload_by_others(here: Kept) -> None:
    one = here.of("web")[0]
    here.haproxy.table[one].state = Admin.MAINT
    await here.audit()
    here.restarted()
    here.now += 10
    here.store.now = here.now
    here.haproxy.start()
    await here.swift(catalog(web=3, api=2))
    assert here.haproxy.table[one].state is Admin.READY
    await here.upkeep.chores(paused=False)
    assert here.haproxy.table[one].state is Admin.MAINT
    here.state.values["hands"] = [{"backend": 3}]
    here.restarted()
    assert not here.cycle.stepper.hands.found


async def test_hands_are_put_back_in_another_container_of_the_same_numbers(here: Kept) -> None:
    """Two containers give their processes the same pids, and may start within one second."""
    one = here.of("web")[0]
    here.haproxy.started = here.now + 10
    for place in ("first", "second"):
        here.haproxy.place = place
        here.haproxy.table[one].state = Admin.READY
        assert (await here.turn(catalog(web=3, api=2))).outcome is Outcome.IN_STEP
        await here.upkeep.chores(paused=False)
        if place == "first":
            here.haproxy.table[one].state = Admin.MAINT
            await here.audit()
    assert here.haproxy.table[one].state is Admin.MAINT


async def test_a_retirement_that_was_cut_short_is_no_hand(here: Kept) -> None:
    here.socket.killed_after = 1
    with pytest.raises(Killed):
        await here.swift(catalog(web=2, api=2))
    here.socket.killed_after = -1
    here.restarted()
    here.upkeep.auditor.soon()
    assert (await here.swift(catalog(web=3, api=2), reload=False)).waits
    assert await here.audit() == ()
    report = await here.swift(catalog(web=3, api=2))
    assert report.outcome is Outcome.RELOADED
    assert here.in_step()
    assert here.cycle.stepper.hands.found == ()


def test_a_hand_is_kept_with_the_agent_that_must_not_undo_it() -> None:
    state = SetState(backend="b", server="s", state=Admin.MAINT, agent=True)
    weight = SetWeight(backend="b", server="t", weight=0)
    found = tuple(Drift(backend="b", server=h.server, what="w", hand=h) for h in (state, weight))
    assert hands.from_plain(hands.to_plain(found)) == found


async def test_a_weight_that_is_held_stays_and_a_server_that_leaves_is_forgotten(
    here: Kept,
) -> None:
    one = here.of("web")[0]
    here.haproxy.table[one].weight = 7
    await here.audit()
    seen = catalog(web=3, api=2)
    web = seen.services[1]
    heavier = tuple(replace(i, weight=3) for i in web.instances)
    await here.swift(Catalog(services=(seen.services[0], replace(web, instances=heavier))))
    assert [here.haproxy.table[place].weight for place in here.of("web")] == [7, 3, 3]
    await here.audit()
    assert len(here.cycle.stepper.hands.found) == 1
    gone = replace(web, instances=heavier[1:])
    await here.swift(Catalog(services=(seen.services[0], gone)))
    assert not here.cycle.stepper.hands.found


async def test_an_operators_hand_is_repaired_where_the_settings_say_so(here: Kept) -> None:
    here.renewed(operator="repair")
    await here.swift(catalog(web=3, api=2))
    one = here.of("web")[0]
    here.haproxy.table[one].state = Admin.MAINT
    await here.audit()
    assert here.haproxy.table[one].state is Admin.READY
    here.haproxy.table[one].state = Admin.MAINT
    await here.swift(catalog(web=3, api=2, new=1))
    assert here.haproxy.table[one].state is Admin.READY


async def test_an_audit_that_cannot_be_made_is_said_once(here: Kept) -> None:
    here.socket.error = TargetUnavailable("the socket refuses")
    assert await here.audit() == ("upkeep: the socket refuses",)
    assert await here.audit() == ()


async def test_without_the_previous_files_a_refusal_is_still_an_alarm(here: Kept) -> None:
    await here.swift(catalog(web=5, api=2))

    def fails() -> tuple[str, ...]:
        raise WriteError("read-only")

    here.store.restore = fails  # type: ignore[method-assign]
    news = await here.upkeep.undo(CheckRejected("no"))
    assert "the previous files are not back: read-only" in news.alarms[0]


async def test_a_journal_stands_until_the_record_tells_of_what_passed(here: Kept) -> None:
    """Killed before, the next agent would take an older record for what runs."""
    here.state.error = StateError("full")
    await here.swift(catalog(web=4, api=2))
    assert await here.proven()
    assert "settle" not in here.store.done
    here.restarted()  # after a kill -9, with the disk still full: the change is gone from the registry
    assert (await here.swift(catalog(web=3, api=2))).outcome is Outcome.RELOADED
    assert here.in_step()


async def test_a_journal_ends_once_the_record_is_kept_after_all(here: Kept) -> None:
    here.state.error = StateError("full")
    await here.swift(catalog(web=4, api=2))
    assert await here.proven()
    await here.upkeep.chores(paused=False)
    assert "settle" not in here.store.done
    here.state.error = None
    assert await here.cycle.finish() == ()
    await here.upkeep.chores(paused=False)
    assert here.store.done[-1] == "settle"
    await here.upkeep.chores(paused=False)
    assert here.store.done.count("settle") == 1


async def test_once_ends_no_journal_without_its_record(here: Kept) -> None:
    here.state.error = StateError("full")
    assert (await here.turn(catalog(web=4, api=2))).outcome is Outcome.APPLIED
    assert "settle" not in here.store.done


async def test_a_refusal_of_what_was_promoted_long_ago_takes_no_file_back(here: Kept) -> None:
    """Steps to a file that stood there already: the set before it may be of last week."""
    await here.swift(catalog(web=4, api=2))
    assert await here.proven()
    live = here.store.disk[MAIN]
    here.renderer.section = "    balance leastconn\n"
    await here.swift(catalog(web=3, api=2), reload=False)  # a server goes ahead of a reload
    here.renderer.section = ""
    await here.swift(catalog(web=4, api=2))  # and comes back
    assert here.store.done == []
    here.haproxy.refuses = lambda staged: staged is None
    assert not await here.proven()
    assert "nothing was promoted" in here.alarms[0]
    assert here.store.disk[MAIN] == live
    assert here.in_step()


async def test_an_edit_before_the_check_is_not_taken_for_the_change(here: Kept) -> None:
    await here.swift(catalog(web=4, api=2))
    edit = here.store.disk[MAIN] + "broken\n"
    here.store.put(MAIN, edit)
    here.haproxy.refuses = lambda staged: staged is None
    with pytest.raises(CheckUnavailable, match="another hand"):
        await here.proven()
    assert here.store.disk[MAIN] == edit
    assert len(here.of("web")) == 4
    here.haproxy.refuses = lambda _: False
    await here.swift(catalog(web=4, api=2))
    assert here.store.kept == {f"foreign{MAIN}": edit}
    assert here.in_step()


async def test_what_was_put_back_is_no_edit_by_another_hand(here: Kept) -> None:
    here.socket.dies_after = 1
    here.haproxy.reload_error = TargetUnavailable("no")
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.FAILED
    assert here.store.done[-1] == "restore"
    here.haproxy.reload_error = None
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.RELOADED
    await here.swift(catalog(web=6, api=2))
    here.haproxy.refuses = lambda staged: staged is None
    here.socket.dies_after = 0
    assert not await here.proven()
    here.haproxy.refuses = lambda _: False
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.RELOADED
    assert here.store.kept == {}
    assert here.in_step()
