"""One turn, stage by stage, in a world in memory."""

import asyncio
from dataclasses import replace

import pytest

from confsync.core.placement import Placement
from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog, Service
from confsync.domain.rendered import digest
from confsync.domain.status import CycleReport, Outcome, Stage
from confsync.engine import guarding, outlook
from confsync.engine.cycle import Cycle, Options, Turn
from confsync.errors import (
    CheckUnavailable,
    ReloadFailed,
    RenderError,
    StateError,
    TargetUnavailable,
    WriteError,
)
from tests.fakes import world
from tests.fakes.world import MAIN, MAP, catalog


class World:
    def __init__(self) -> None:
        self.store = world.Store()
        self.scratch = world.Store()
        self.state = world.State()
        self.haproxy = world.Haproxy(self.store)
        self.renderer = world.Renderer()
        self.registry = world.Registry()
        self.local: set[str] = set()
        self.selection = Selection()
        self.now = 2000.0
        self.placement = Placement()
        self.cycle = self.restarted()

    def restarted(self) -> Cycle:
        """Begin anew with what the state directory has."""
        self.cycle = Cycle(
            options=Options(
                main=MAIN,
                guard=guarding.Options(selection=self.selection),
                placement=self.placement,
            ),
            discoverer=self.registry,
            store=self.store,
            scratch=self.scratch,
            state=self.state,
            target=self.haproxy,
            renderer=self.renderer,
            is_local=self.local.__contains__,
            clock=lambda: self.now,
        )
        self.cycle.restore()
        return self.cycle

    async def turn(self, seen: Catalog, **changes: object) -> CycleReport:
        self.now += 1
        self.store.now = self.now
        self.store.done.clear()
        turn = replace(Turn(catalog=seen, why="test"), **changes)  # type: ignore[arg-type]
        return await self.cycle.turn(turn)


@pytest.fixture
async def here() -> World:
    return World()


async def test_a_change_is_staged_checked_promoted_reloaded_recorded(here: World) -> None:
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.RELOADED
    assert report.exit_code == 0
    assert (report.services, report.servers) == (1, 2)
    assert here.store.done == ["stage", "promote", "settle"]
    assert here.haproxy.reloads == 1
    assert here.haproxy.loaded == here.store.disk[MAIN]
    assert here.state.record is not None
    assert here.state.record.files == {
        MAIN: digest(here.store.disk[MAIN]),
        MAP: digest(here.store.disk[MAP]),
    }
    assert here.state.catalog == catalog(web=2)
    assert {Stage.GUARD, Stage.RENDER, Stage.CHECK, Stage.WRITE, Stage.APPLY} <= set(report.stages)
    assert "a warning" in report.notes


async def test_nothing_changed_is_in_step_also_after_a_restart(here: World) -> None:
    await here.turn(catalog(web=2))
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    here.restarted()
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.IN_STEP
    assert here.store.done == ["settle"]  # the journal that a crash may have left
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    assert here.store.done == []
    assert here.haproxy.reloads == 1
    assert here.haproxy.checks == 1


async def test_without_a_record_old_files_that_agree_are_trusted(here: World) -> None:
    await here.turn(catalog(web=2))
    here.state.record = None
    here.now += 10
    here.store.now = here.now
    here.haproxy.start()
    here.restarted()
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    assert here.haproxy.reloads == 1
    assert here.state.record is not None
    assert here.state.record.worker_pid == here.haproxy.pid


async def test_a_worker_that_began_before_the_files_were_there_is_reloaded(here: World) -> None:
    await here.turn(catalog(web=2))
    here.state.record = None
    here.restarted()
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.RELOADED
    assert report.reasons == (
        "no record of what runs, and the files are not older than its worker",
    )


async def test_a_restart_by_others_is_no_reason_to_reload(here: World) -> None:
    await here.turn(catalog(web=2))
    here.now += 10
    here.store.now = here.now
    here.haproxy.start()
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    assert here.haproxy.reloads == 1


async def test_a_turn_waits_for_a_reload_that_is_under_way(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.turn(catalog(web=2))
    here.haproxy.loading = 2
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    monkeypatch.setattr(outlook, "LOADING", 0.0)
    here.haproxy.loading = 2
    assert (await here.turn(catalog(web=2))).outcome is Outcome.RELOADED


async def test_a_refused_candidate_leaves_everything_and_is_kept(here: World) -> None:
    await here.turn(catalog(web=2))
    live = dict(here.store.disk)
    here.haproxy.refuses = lambda staged: staged is not None
    report = await here.turn(catalog(web=3))
    assert report.outcome is Outcome.FAILED
    assert report.exit_code == 65
    assert report.failed_stage is Stage.CHECK
    assert report.detail == "line 3: no"
    assert here.store.disk == live
    assert here.store.done == ["stage", "discard"]
    assert "refused\nline 3: no" in here.store.rejected
    assert "the live file still passes HAProxy's check" in report.notes
    assert here.haproxy.reloads == 1
    here.haproxy.refuses = lambda _: False
    assert (await here.turn(catalog(web=3))).outcome is Outcome.RELOADED


async def test_an_old_fault_is_not_blamed_on_the_change(here: World) -> None:
    await here.turn(catalog(web=2))
    here.haproxy.refuses = lambda _: True
    report = await here.turn(catalog(web=3))
    assert any("the live file is refused as well" in note for note in report.notes)


async def test_a_file_that_is_not_there_yet_is_not_blamed(here: World) -> None:
    here.haproxy.refuses = lambda _: True
    assert (await here.turn(catalog(web=3))).notes == ("kept in rejected",)


async def test_a_check_that_cannot_be_made_changes_nothing(here: World) -> None:
    here.haproxy.check_error = CheckUnavailable("no binary")
    report = await here.turn(catalog(web=3))
    assert (report.exit_code, here.store.disk) == (69, {})
    assert here.store.done == ["stage", "discard"]


async def test_a_failed_reload_puts_the_previous_set_back(here: World) -> None:
    await here.turn(catalog(web=2))
    live = dict(here.store.disk)
    here.haproxy.reload_error = ReloadFailed("no", detail="cannot bind")
    report = await here.turn(catalog(web=3))
    assert (report.outcome, report.exit_code) == (Outcome.FAILED, 75)
    assert report.failed_stage is Stage.APPLY
    assert report.detail == "cannot bind"
    assert here.store.disk == live
    assert here.store.done == ["stage", "promote", "restore"]
    # the old worker runs on, so what runs is known: no reload of the old set
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    here.haproxy.reload_error = None
    assert (await here.turn(catalog(web=3))).outcome is Outcome.RELOADED
    assert here.haproxy.reloads == 2


async def test_what_could_not_be_loaded_is_not_promoted(here: World) -> None:
    here.haproxy.ready_error = TargetUnavailable("no master socket")
    report = await here.turn(catalog(web=3))
    assert (report.exit_code, report.error) == (69, "no master socket")
    assert report.failed_stage is Stage.WRITE
    assert here.store.done == ["stage", "discard"]
    assert (here.store.disk, here.haproxy.reloads) == ({}, 0)
    # one that does not run takes what is written when it starts
    here.haproxy.running = False
    assert (await here.turn(catalog(web=3))).outcome is Outcome.WRITTEN


async def test_a_full_disk_changes_nothing(here: World) -> None:
    here.store.stage_error = WriteError("disk full")
    report = await here.turn(catalog(web=3))
    assert (report.exit_code, report.failed_stage) == (73, Stage.WRITE)
    here.store.stage_error, here.store.prepare_error = None, WriteError("full at the sync")
    report = await here.turn(catalog(web=3))
    assert (report.exit_code, report.failed_stage) == (73, Stage.WRITE)
    assert here.store.done == ["stage", "discard"]
    here.haproxy.refuses = lambda _: True
    assert (await here.turn(catalog(web=3))).exit_code == 65
    here.haproxy.refuses = lambda _: False
    here.store.prepare_error, here.store.promote_error = None, WriteError("read-only")
    report = await here.turn(catalog(web=3))
    assert (report.exit_code, here.haproxy.reloads) == (73, 0)


async def test_a_turn_that_newer_news_supersedes_changes_nothing(here: World) -> None:
    async def no() -> bool:
        assert here.haproxy.checks == 1
        return False

    report = await here.turn(catalog(web=3), gate=no)
    assert (report.outcome, report.exit_code) == (Outcome.SUPERSEDED, 0)
    assert (here.store.disk, here.store.done) == ({}, ["stage", "discard"])
    assert here.state.record is None

    async def yes() -> bool:
        return True

    assert (await here.turn(catalog(web=3), gate=yes)).outcome is Outcome.RELOADED


async def test_a_failing_template_changes_nothing(here: World) -> None:
    here.renderer.error = RenderError("x is undefined", template="t.j2", line=3)
    report = await here.turn(catalog(web=3))
    assert (report.exit_code, report.failed_stage) == (65, Stage.RENDER)
    assert report.error == "t.j2:3: x is undefined"


async def test_copies_of_a_containers_files_are_named_as_in_the_container(here: World) -> None:
    here.placement = Placement(outside="/etc", inside="/", mirrored=True)
    here.restarted()
    here.store.put(MAIN, "by hand\n")
    report = await here.turn(catalog(web=2))
    assert report.error.startswith("/haproxy/haproxy.cfg: exists and was not written by confsync")
    report = await here.turn(catalog(web=2), apply=False)
    assert report.diff.startswith("--- /haproxy/haproxy.cfg\n+++ /haproxy/haproxy.cfg\n")
    report = await here.turn(catalog(web=2), adopt=True)
    assert "/haproxy/haproxy.cfg is adopted" in " ".join(report.notes)
    assert "/etc" not in "".join((report.diff, report.error, *report.notes, *report.reasons))


async def test_an_unknown_destination_is_not_replaced_until_adopted(here: World) -> None:
    here.store.put(MAIN, "theirs\n")
    report = await here.turn(catalog(web=2))
    assert report.exit_code == 73
    assert "--adopt" in report.error
    assert here.store.disk == {MAIN: "theirs\n"}
    report = await here.turn(catalog(web=2), adopt=True)
    assert report.outcome is Outcome.RELOADED
    assert here.store.kept == {f"original{MAIN}": "theirs\n"}
    assert (await here.turn(catalog(web=3))).outcome is Outcome.RELOADED


async def test_a_foreign_edit_is_shown_kept_and_replaced(here: World) -> None:
    await here.turn(catalog(web=2))
    here.store.put(MAIN, here.store.disk[MAIN] + "# by hand\nbackend mine\n")
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.WRITTEN
    assert "-backend mine" in report.diff
    assert here.store.kept[f"foreign{MAIN}"].endswith("backend mine\n")
    assert "backend mine" not in here.store.disk[MAIN]
    assert here.haproxy.reloads == 1  # it was never loaded


async def test_comments_are_written_without_a_reload(here: World) -> None:
    await here.turn(catalog(web=2))
    here.renderer.head = "# a word\n" + here.renderer.head
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.WRITTEN
    assert here.store.disk[MAIN].startswith("# a word")
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    assert here.haproxy.reloads == 1


async def test_without_a_running_haproxy_files_are_written_for_its_start(here: World) -> None:
    here.haproxy.running = False
    assert (await here.turn(catalog(web=2))).outcome is Outcome.WRITTEN
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    here.now += 5
    here.store.now = here.now
    here.haproxy.start()
    assert (await here.turn(catalog(web=2))).outcome is Outcome.IN_STEP
    assert here.haproxy.reloads == 0
    assert (await here.turn(catalog(web=3))).outcome is Outcome.RELOADED


async def test_a_dry_turn_changes_nothing_at_all(here: World) -> None:
    report = await here.turn(catalog(web=2), apply=False)
    assert (report.outcome, report.exit_code) == (Outcome.WOULD_CHANGE, 3)
    assert f"+++ {MAIN}" in report.diff
    assert report.diff.startswith("--- /dev/null")
    assert here.scratch.done == ["stage", "discard"]
    assert here.store.done == []
    assert (here.state.catalog, here.state.record, here.state.values) == (None, None, {})
    assert here.haproxy.checks == 1


async def test_a_dry_turn_says_first_that_haproxy_refuses_then_that_it_is_not_ours(
    here: World,
) -> None:
    here.store.put(MAIN, "theirs\n")
    report = await here.turn(catalog(web=2), apply=False)
    assert (report.exit_code, bool(report.diff)) == (73, True)
    here.haproxy.refuses = lambda staged: staged is not None
    assert (await here.turn(catalog(web=2), apply=False)).exit_code == 65


async def test_paused_plans_and_writes_nothing(here: World) -> None:
    report = await here.turn(catalog(web=2), paused=True)
    assert (report.outcome, report.exit_code) == (Outcome.PAUSED, 3)
    assert report.reasons
    assert any(note.startswith("paused") for note in report.notes)
    assert here.store.disk == {}


async def test_a_hold_is_reported_survives_a_restart_and_is_confirmed(here: World) -> None:
    await here.turn(catalog(web=6))
    report = await here.turn(catalog(web=1))
    assert (report.outcome, report.exit_code) == (Outcome.IN_STEP, 4)
    assert [h.service for h in report.holds] == ["web"]
    here.restarted()
    report = await here.turn(catalog(web=1))
    assert [h.service for h in report.holds] == ["web"]
    assert here.registry.asked == []
    here.now += 60
    report = await here.turn(catalog(web=1))
    assert any("no consistent read of 'web' yet" in note for note in report.notes)
    assert report.holds
    here.registry.confirmed["web"] = catalog(web=1).services[0]
    report = await here.turn(catalog(web=1))
    assert (report.outcome, report.holds, report.servers) == (Outcome.RELOADED, (), 1)
    assert here.state.values["holds"] == {"services": [], "registry": None}


async def test_a_registry_that_is_cut_off_stops_no_turn(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "CONFIRMING", 0.05)
    many = {f"s{n:02}": 3 for n in range(20)}
    await here.turn(catalog(web=1, **many))
    await here.turn(catalog(web=1))
    here.now += 60
    here.registry.confirmed = {name: Service(name=name) for name in many}
    here.registry.silent = {"s00", "s01"}
    async with asyncio.timeout(5):
        report = await here.turn(catalog(web=1))
    assert [h.service for h in report.holds] == ["s00", "s01"]
    assert "no consistent read of all that is held within 0.05 s" in report.notes


async def test_services_that_new_settings_leave_out_are_no_loss(here: World) -> None:
    await here.turn(catalog(web=6, api=4, db=3))
    await here.turn(catalog(web=1, api=4, db=3))
    here.selection = Selection(services=("[wad]*",), exclude=("web", "api"))
    here.restarted()
    report = await here.turn(catalog(db=3))
    assert (report.holds, report.services, report.servers) == ((), 1, 3)
    assert here.state.catalog == catalog(db=3)
    assert here.state.values["holds"] == {"services": [], "registry": None}


async def test_a_registry_is_held_only_as_far_as_the_settings_ask_for_it(here: World) -> None:
    await here.turn(catalog(web=6, api=4))
    assert (await here.turn(Catalog())).holds
    here.selection = Selection(services=("web",))
    here.restarted()
    report = await here.turn(Catalog())
    assert (report.services, report.servers) == (1, 6)
    assert all(dropped.startswith("web ") for dropped in report.holds[0].dropped)
    here.selection = Selection(services=("db",))
    here.restarted()
    assert not (await here.turn(Catalog())).holds


async def test_a_tag_that_is_asked_for_anew_is_no_loss(here: World) -> None:
    await here.turn(catalog(web=6))
    await here.turn(Catalog())
    here.selection = Selection(tags=("public",))
    here.restarted()
    assert not (await here.turn(Catalog())).holds


async def test_a_dry_turn_after_new_settings_keeps_nothing(here: World) -> None:
    await here.turn(catalog(web=6, api=4))
    here.selection = Selection(services=("api",))
    here.restarted()
    await here.turn(catalog(api=4), apply=False)
    assert here.state.catalog == catalog(web=6, api=4)


async def test_haproxys_own_checks_release_a_hold(here: World) -> None:
    await here.turn(catalog(web=6))
    here.haproxy.down = {f"10.0.0.{n}:80" for n in range(2, 7)}
    report = await here.turn(catalog(web=1))
    assert report.holds  # the hold begins; what HAProxy thinks is asked for from now on
    report = await here.turn(catalog(web=1))
    assert (report.holds, report.servers) == ((), 1)


async def test_a_release_by_hand(here: World) -> None:
    await here.turn(catalog(web=6))
    await here.turn(Catalog())
    report = await here.turn(Catalog(), registry=True)
    assert (report.holds, report.servers) == ((), 0)


async def test_a_provisional_catalog_is_not_remembered(here: World) -> None:
    report = await here.turn(Catalog(), provisional=True)
    assert report.outcome is Outcome.RELOADED
    assert here.state.catalog is None


async def test_what_cannot_be_kept_is_said_and_kept_later(here: World) -> None:
    here.state.error = StateError("disk full")
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.RELOADED
    assert any("not kept for a restart: disk full" in note for note in report.notes)
    here.state.error = None
    report = await here.turn(catalog(web=2))
    assert report.outcome is Outcome.IN_STEP
    assert here.state.record is not None
    assert here.haproxy.reloads == 1


async def test_our_own_listener_as_a_backend_is_left_out(here: World) -> None:
    here.local.add("10.0.0.2")
    report = await here.turn(catalog(web=3))
    assert report.servers == 2
    assert [p.instance for p in report.problems] == ["web2"]


async def test_a_service_named_like_a_proxy_of_the_template_gets_a_suffix(here: World) -> None:
    here.renderer.head += "backend web\n"
    await here.turn(catalog(web=1))
    assert here.store.disk[MAIN].count("backend web\n") == 1
    assert "backend web-" in here.store.disk[MAIN]


async def test_secrets_are_masked_everywhere(here: World) -> None:
    here.renderer.secrets = ("hunter2",)
    here.renderer.head += "    stats auth a:hunter2\n"
    report = await here.turn(catalog(web=1), apply=False)
    assert "hunter2" not in str(report)
    assert "*****" in report.diff


async def test_servers_that_differ_after_the_reload_are_told(here: World) -> None:
    here.haproxy.servers_error = ReloadFailed("socket gone")
    report = await here.turn(catalog(web=1))
    assert report.outcome is Outcome.RELOADED
    assert any(note.startswith("not verified") for note in report.notes)


async def test_check_renders_and_has_it_checked(here: World) -> None:
    report = await here.cycle.check(catalog(web=1), haproxy=True)
    assert (report.exit_code, here.haproxy.checks, here.store.done) == (0, 1, [])
    await here.cycle.check(catalog(web=1), haproxy=False)
    assert here.haproxy.checks == 1
    here.haproxy.refuses = lambda _: True
    assert (await here.cycle.check(None, haproxy=True)).exit_code == 65


async def test_unreadable_holds_hold_nothing(here: World) -> None:
    unreadable: list[object] = [
        "x",
        {"services": 3},
        {"services": [{"base": {}}]},
        {"services": []},
    ]
    for junk in unreadable:
        here.state.values["holds"] = junk
        here.restarted()
        assert not (await here.turn(catalog(web=1), apply=False)).holds
