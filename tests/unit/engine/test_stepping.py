"""Changes at runtime, turn by turn: file first, steps, record; and what only a reload ends."""

import asyncio
from dataclasses import replace

import pytest

from confsync.core.planning import Surroundings, disagreement
from confsync.domain.catalog import Catalog, Status
from confsync.domain.change import AddServer, Admin, RetireServer
from confsync.domain.rendered import digest
from confsync.domain.running import Record
from confsync.domain.status import CycleReport, Outcome, Stage
from confsync.engine.auditing import Options as Upkeep
from confsync.engine.cycle import Cycle, Options, Turn
from confsync.errors import (
    CheckUnavailable,
    ReloadFailed,
    StateError,
    TargetUnavailable,
    WriteError,
)
from tests.fakes import world
from tests.fakes.socket import Killed, Socket
from tests.fakes.world import MAIN, catalog


class World:
    def __init__(self) -> None:
        self.store = world.Store()
        self.scratch = world.Store()
        self.state = world.State()
        self.haproxy = world.Haproxy(self.store)
        self.socket = Socket(self.haproxy)
        self.renderer = world.Renderer()
        self.registry = world.Registry()
        self.options = Upkeep(audit=30)
        self.now = 2000.0
        self.cycle = self.restarted()

    def restarted(self) -> Cycle:
        """Begin anew with what the state directory has; as wiring does, an open journal is told."""
        if self.store.previous is not None and self.state.record is not None:
            promoted = {n: digest(t) for n, t in self.store.disk.items()}
            if self.state.record.files != promoted:
                self.state.values["sending"] = True
            self.state.record = replace(self.state.record, promoted=promoted)
        self.cycle = Cycle(
            options=Options(main=MAIN, upkeep=self.options),
            discoverer=self.registry,
            store=self.store,
            scratch=self.scratch,
            state=self.state,
            target=self.haproxy,
            renderer=self.renderer,
            is_local=lambda _: False,
            runtime=self.socket,
            surveyor=self.socket,
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

    async def swift(self, seen: Catalog, **changes: object) -> CycleReport:
        return await self.turn(seen, swift=True, **changes)

    def in_step(self) -> bool:
        """Tell whether the running servers are those of the file."""
        text = self.store.disk[MAIN]
        wanted = {f"{b}/{s}" for b, s in world.rows(text)}
        servers = tuple(
            s for s in self.haproxy.states() if f"{s.backend}/{s.server}" in self.haproxy.serving()
        )
        return self.haproxy.serving() == wanted and not disagreement(text, servers)


@pytest.fixture
async def here() -> World:
    made = World()
    await made.turn(catalog(web=3, api=2))
    assert made.haproxy.reloads == 1
    made.haproxy.checks = 0
    return made


async def test_a_server_comes_and_goes_without_a_reload_or_a_check_before(here: World) -> None:
    report = await here.swift(catalog(web=4, api=2))
    assert (report.outcome, report.exit_code) == (Outcome.APPLIED, 0)
    assert here.store.done == ["stage", "quick"]
    assert [type(s) for s in here.socket.sent[0]] == [AddServer]
    assert report.steps[0].startswith("add server web/")
    assert (report.reload, report.waits) == ((), False)
    assert here.in_step()
    report = await here.swift(catalog(web=2, api=2))
    assert [type(s) for s in here.socket.sent[1]] == [RetireServer, RetireServer]
    assert here.in_step()
    assert (here.haproxy.reloads, here.haproxy.checks) == (1, 0)
    assert (await here.swift(catalog(web=2, api=2))).outcome is Outcome.IN_STEP


async def test_the_file_is_live_before_a_step_is_sent(here: World) -> None:
    here.socket.killed_after = 0
    with pytest.raises(Killed):
        await here.swift(catalog(web=4, api=2))
    assert here.store.disk[MAIN].count("server ") == 6
    assert len(here.haproxy.table) == 5


async def test_what_cannot_be_written_is_not_sent(here: World) -> None:
    here.store.promote_error = WriteError("read-only")
    report = await here.swift(catalog(web=4, api=2))
    assert (report.exit_code, report.failed_stage) == (73, Stage.WRITE)
    assert here.socket.sent == []
    here.store.promote_error = None
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.APPLIED


async def test_nothing_is_sent_where_no_program_can_check_for_what_runs(here: World) -> None:
    before = here.store.disk[MAIN]
    here.haproxy.unfit = "HAProxy 3 runs, but haproxy is 2"
    here.haproxy.check_error = CheckUnavailable(here.haproxy.unfit)
    report = await here.turn(catalog(web=4, api=2))
    assert (report.exit_code, report.failed_stage) == (69, Stage.CHECK)
    assert (here.socket.sent, here.store.disk[MAIN]) == ([], before)


async def test_a_new_structure_is_checked_before_and_a_refused_one_never_sent(here: World) -> None:
    here.cycle.stepper.shapes.forget()
    here.cycle.stepper.seed = lambda *_: None  # type: ignore[method-assign]
    here.haproxy.refuses = lambda staged: staged is not None
    report = await here.swift(catalog(web=4, api=2))
    assert (report.exit_code, report.failed_stage) == (65, Stage.CHECK)
    assert here.socket.sent == []
    here.haproxy.refuses = lambda _: False
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.APPLIED
    checks = here.haproxy.checks
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.APPLIED
    assert here.haproxy.checks == checks


async def test_once_does_the_same_and_leaves_nothing_for_later(here: World) -> None:
    dry = await here.turn(catalog(web=4, api=2), apply=False)
    assert (dry.outcome, dry.exit_code) == (Outcome.WOULD_CHANGE, 3)
    assert here.socket.sent == []
    here.restarted()
    report = await here.turn(catalog(web=4, api=2))
    assert report.outcome is Outcome.APPLIED
    assert (dry.steps, dry.reasons, dry.reload) == (report.steps, report.reasons, report.reload)
    assert here.store.done == ["stage", "quick", "settle", "settle"]
    assert here.state.record == here.cycle.outlook.record
    assert here.haproxy.checks == 2  # the dry one's, and the one after the steps
    assert here.state.catalog == catalog(web=4, api=2)


async def test_paused_sends_nothing(here: World) -> None:
    report = await here.swift(catalog(web=4, api=2), paused=True)
    assert (report.outcome, bool(report.steps)) == (Outcome.PAUSED, True)
    assert here.socket.sent == []


async def test_a_build_that_can_be_told_nothing_is_reloaded(here: World) -> None:
    here.socket.told, here.socket.notes = None, ("level admin is missing",)
    report = await here.swift(catalog(web=4, api=2))
    assert report.outcome is Outcome.RELOADED
    assert "level admin is missing" in report.notes
    here.socket.error = TargetUnavailable("the socket refuses")
    report = await here.swift(catalog(web=3, api=2))
    assert report.outcome is Outcome.RELOADED
    assert "no change without a reload: the socket refuses" in report.notes
    here.socket.error, here.socket.around_it = None, None
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.RELOADED
    assert here.socket.sent == []


async def test_what_a_reload_must_bring_waits_and_the_rest_does_not(here: World) -> None:
    report = await here.swift(catalog(web=4, api=2, new=1), reload=False)
    assert (report.outcome, report.waits) == (Outcome.APPLIED, True)
    assert any("new" in why for why in report.reload)
    assert here.store.done == []
    assert len(here.haproxy.table) == 6
    report = await here.swift(catalog(web=4, api=2, new=1), reload=False)
    assert (report.outcome, report.waits) == (Outcome.PENDING, True)
    report = await here.swift(catalog(web=4, api=2, new=1))
    assert (report.outcome, report.waits) == (Outcome.RELOADED, False)
    assert here.haproxy.reloads == 2
    assert len(here.socket.sent) == 1
    assert here.in_step()
    assert here.state.record is not None
    assert here.state.record.steps == ()


async def test_what_was_done_before_a_reload_that_waits_survives_a_restart(here: World) -> None:
    await here.swift(catalog(web=4, api=2, new=1), reload=False)
    assert here.state.values["sending"] is True
    await here.cycle.finish()
    assert here.state.values["sending"] is False
    assert here.state.record is not None
    assert [type(s) for s in here.state.record.steps] == [AddServer]
    here.restarted()
    report = await here.swift(catalog(web=4, api=2), reload=False)
    assert (report.outcome, report.steps) == (Outcome.WRITTEN, ())


@pytest.mark.parametrize("done", [0, 1])
async def test_a_socket_that_dies_in_a_batch_is_a_reload(here: World, done: int) -> None:
    here.socket.dies_after = done
    report = await here.swift(catalog(web=5, api=2))
    assert report.outcome is Outcome.RELOADED
    assert "the socket died" in report.reload
    assert here.haproxy.reloads == 2
    assert here.in_step()
    here.socket.dies_after = -1
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.IN_STEP
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.APPLIED


async def test_a_doubt_is_kept_until_its_reload_has_had_its_turn(here: World) -> None:
    here.socket.dies_after = 1
    report = await here.swift(catalog(web=5, api=2), reload=False)
    assert (report.waits, here.haproxy.reloads) == (True, 1)
    here.socket.dies_after = -1
    report = await here.swift(catalog(web=4, api=2), reload=False)
    assert (report.outcome, report.waits) == (Outcome.PENDING, True)
    assert len(here.socket.sent) == 1  # nothing is built upon what is not certain
    here.haproxy.reload_error = ReloadFailed("no")
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.FAILED
    here.haproxy.reload_error = None
    report = await here.swift(catalog(web=4, api=2))
    assert (report.outcome, here.haproxy.reloads) == (Outcome.RELOADED, 2)
    assert here.in_step()


async def test_a_doubt_ends_with_its_worker(here: World) -> None:
    """Whoever restarted HAProxy: it has loaded the file, and what was sent before is gone."""
    here.socket.dies_after = 1
    assert (await here.swift(catalog(web=5, api=2), reload=False)).waits
    here.socket.dies_after = -1
    here.haproxy.loading = 200  # nothing is known of the worker yet
    assert (await here.swift(catalog(web=5, api=2), reload=False)).waits
    here.haproxy.loading = 0
    here.now += 10
    here.store.now = here.now
    here.haproxy.start()
    assert (await here.swift(catalog(web=5, api=2))).outcome is Outcome.IN_STEP
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.APPLIED
    assert here.in_step()
    assert here.haproxy.reloads == 1


async def test_a_reload_that_is_asked_for_is_not_forgotten_with_a_worker(here: World) -> None:
    """The files may have changed since the new worker read them."""
    here.socket.dies_after = 1
    assert (await here.swift(catalog(web=5, api=2), reload=False)).waits
    here.socket.dies_after = -1
    here.cycle.outlook.must = "a certificate"
    here.now += 10
    here.store.now = here.now
    here.haproxy.start()
    report = await here.swift(catalog(web=5, api=2))
    assert (report.outcome, report.reload) == (Outcome.RELOADED, ("a certificate",))


async def test_another_worker_is_met_before_anything_is_sent(here: World) -> None:
    here.haproxy.pid += 1
    report = await here.swift(catalog(web=4, api=2))
    assert here.socket.sent == []
    assert report.outcome is Outcome.RELOADED
    assert here.in_step()


async def test_haproxy_that_ended_meanwhile_starts_with_the_file(here: World) -> None:
    here.haproxy.running = False
    report = await here.swift(catalog(web=4, api=2))
    assert (report.outcome, here.haproxy.reloads) == (Outcome.PENDING, 1)
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.IN_STEP
    here.now += 5
    here.store.now = here.now
    here.haproxy.start()
    await here.swift(catalog(web=4, api=2))
    assert here.in_step()


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_an_agent_killed_in_or_around_its_steps_repeats_them(here: World, steps: int) -> None:
    here.socket.killed_after = steps
    with pytest.raises(Killed):
        await here.swift(catalog(web=5, api=2))
    here.socket.killed_after = -1
    here.restarted()
    report = await here.swift(catalog(web=5, api=2))
    assert (report.outcome, report.exit_code) == (Outcome.APPLIED, 0)
    assert here.haproxy.reloads == 1
    assert here.in_step()
    await here.cycle.finish()
    here.restarted()


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("then", [3, 4, 6])
async def test_an_agent_killed_in_its_steps_that_wants_others_now_reloads(
    here: World, steps: int, then: int
) -> None:
    here.socket.killed_after = steps
    with pytest.raises(Killed):
        await here.swift(catalog(web=5, api=2))
    here.socket.killed_after = -1
    here.restarted()
    report = await here.swift(catalog(web=then, api=2))
    assert report.outcome is Outcome.RELOADED
    assert "a change at runtime was cut short" in report.reload
    assert here.in_step()


async def test_an_agent_killed_in_steps_before_a_reload_reloads(here: World) -> None:
    here.socket.killed_after = 1
    with pytest.raises(Killed):
        await here.swift(catalog(web=5, api=2, new=1), reload=False)
    here.socket.killed_after = -1
    here.restarted()
    report = await here.swift(catalog(web=3, api=2))
    assert (report.outcome, report.reload) == (
        Outcome.RELOADED,
        ("a change at runtime was cut short",),
    )
    assert here.in_step()


async def test_a_kept_record_lets_a_restarted_agent_do_nothing(here: World) -> None:
    await here.swift(catalog(web=5, api=2))
    await here.cycle.finish()
    here.restarted()
    report = await here.swift(catalog(web=5, api=2))
    assert report.outcome is Outcome.IN_STEP
    assert len(here.socket.sent) == 1
    assert here.haproxy.reloads == 1


async def test_haproxy_that_came_up_with_an_older_text_is_mended(here: World) -> None:
    await here.swift(catalog(web=4, api=2))
    await here.cycle.finish()
    here.haproxy.start()
    here.haproxy.started -= 100  # it read the file before that change
    here.haproxy.table.popitem()
    here.restarted()
    report = await here.swift(catalog(web=4, api=2))
    assert report.outcome is Outcome.RELOADED
    assert here.in_step()


async def test_a_full_state_directory_stops_no_change(here: World) -> None:
    here.state.error = StateError("disk full")
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.APPLIED
    assert any("disk full" in note for note in await here.cycle.finish())
    here.state.error = None
    assert await here.cycle.finish() == ()
    assert here.state.record == here.cycle.outlook.record


async def test_the_registrys_word_decides_how_a_server_leaves(here: World) -> None:
    seen = catalog(web=3, api=2)
    web = seen.get("web")
    assert web is not None
    kept = replace(web.instances[0], status=Status.MAINTENANCE)
    services = (seen.services[0], replace(web, instances=(kept, *web.instances[1:])))
    await here.swift(Catalog(services=services))
    (step,) = here.socket.sent[0]
    assert isinstance(step, RetireServer)
    assert (step.state, step.cause) == (Admin.DRAIN, "maintenance")
    record = here.cycle.outlook.record
    assert record is not None
    assert [(o.state, o.cause) for o in record.leftovers] == [(Admin.DRAIN, "maintenance")]


async def test_an_edit_by_hand_is_kept_before_a_quick_write(here: World) -> None:
    here.store.put(MAIN, here.store.disk[MAIN] + "# by hand\n")
    report = await here.swift(catalog(web=4, api=2))
    assert report.outcome is Outcome.APPLIED
    assert here.store.kept[f"foreign{MAIN}"].endswith("# by hand\n")
    assert "# by hand" in report.diff


async def test_what_waits_to_be_deleted_is_not_forgotten_with_a_promotion(here: World) -> None:
    await here.turn(catalog(web=2, api=2))
    record = here.cycle.outlook.record
    assert record is not None
    here.cycle.outlook.record = replace(record, promoted={})
    assert (await here.turn(catalog(web=2, api=2))).outcome is Outcome.IN_STEP
    assert here.cycle.outlook.record == record
    assert len(record.leftovers) == 1


async def test_comments_cost_a_worker_that_others_loaded_no_reload(here: World) -> None:
    here.now += 10
    here.store.now = here.now
    here.haproxy.start()
    here.renderer.head = f"# said\n{here.renderer.head}"
    assert (await here.swift(catalog(web=3, api=2))).outcome is Outcome.WRITTEN
    assert (await here.swift(catalog(web=3, api=2))).outcome is Outcome.IN_STEP
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.APPLIED
    assert here.haproxy.reloads == 1


async def test_steps_before_a_reload_that_never_comes_do_not_pile_up(here: World) -> None:
    for number in range(20):
        await here.swift(catalog(web=3 + number % 2, api=2, new=1), reload=False)
        assert here.cycle.upkeep is not None
        await here.cycle.upkeep.chores(paused=False)
    record = here.cycle.outlook.record
    assert record is not None
    assert len(record.steps) == 1
    assert len(here.haproxy.serving()) == 6


async def test_an_edit_of_a_configuration_beside_is_loaded_and_no_drift(here: World) -> None:
    around = Surroundings(configs=(MAIN, "/b.cfg"), texts={"/b.cfg": "backend mine\n"})
    here.socket.around_it = around
    here.haproxy.start()
    await here.turn(catalog(web=3, api=2))
    await here.swift(catalog(web=4, api=2))
    edited = "backend mine\n    server x 10.9.9.9:80\n"
    here.socket.around_it = replace(around, texts={"/b.cfg": edited})
    assert here.cycle.upkeep is not None
    assert "x" not in {e.server for e in here.cycle.upkeep.auditor.expected()}
    report = await here.swift(catalog(web=4, api=2))
    assert report.outcome is Outcome.RELOADED
    assert report.reload == ("/b.cfg changed, and HAProxy reads it only when it loads",)
    assert "x" in {e.server for e in here.cycle.upkeep.auditor.expected()}
    assert (await here.swift(catalog(web=4, api=2))).outcome is Outcome.IN_STEP


async def test_files_beside_that_are_newer_than_a_found_worker_are_loaded_first(
    here: World,
) -> None:
    """Without a record nobody knows what it has loaded of them."""
    around = Surroundings(configs=(MAIN, "/b.cfg"), texts={"/b.cfg": "backend mine\n"})
    for servers, since, outcome in ((4, -1, Outcome.APPLIED), (3, 1, Outcome.RELOADED)):
        here.now += 10
        here.store.now = here.now
        here.haproxy.start()
        here.socket.around_it = replace(around, changed=here.now + since)
        promoted = {n: digest(t) for n, t in here.store.disk.items()}
        here.cycle.outlook.record = Record(promoted=promoted)
        assert (await here.swift(catalog(web=servers, api=2))).outcome is outcome
        assert here.in_step()


async def test_a_record_that_is_kept_beside_later_steps_does_not_speak_for_them(
    here: World,
) -> None:
    """The state must still say that steps were sent which the kept record does not have."""
    await here.swift(catalog(web=4, api=2, new=1), reload=False)
    assert here.state.values["sending"] is True
    save = here.state.save_record
    later: list[CycleReport] = []

    def slow(record: Record) -> None:
        save(record)
        if not later:
            turn = here.swift(catalog(web=5, api=2, new=1), reload=False)
            later.append(asyncio.run_coroutine_threadsafe(turn, loop).result(5))

    loop = asyncio.get_running_loop()
    here.state.save_record = slow  # type: ignore[method-assign]
    await here.cycle.finish()
    assert later[0].outcome is Outcome.APPLIED
    assert here.state.record is not here.cycle.outlook.record
    assert here.state.values["sending"] is True
    await here.cycle.finish()
    assert here.state.values["sending"] is False
