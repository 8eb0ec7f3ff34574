"""The unit over a systemd and sockets that do what a test wants."""

import dataclasses
import os
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.systemd import unit
from confsync.adapters.systemd.systemctl import State, Systemctl
from confsync.adapters.systemd.unit import SystemdOptions, SystemdTarget
from confsync.domain.running import Observed, ServerState
from confsync.ports import Staged

pytestmark = pytest.mark.fast_clock

RUNS = State(load="loaded", active="active", sub="running", main_pid=50)
STOPPED = State(load="loaded", active="inactive", sub="dead")
WITH_MASTER = Observed(running=True, worker_pid=51, worker_started=100, master=True, reloads=0)
WITH_STATS = Observed(running=True, worker_pid=51, worker_started=100, notes=("no master",))
SILENT = Observed(running=False, why="no socket")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the real pauses, in the same proportions."""
    for name in ("_POLL", "_SIGNAL_AGE", "_STEADY", "_NOTHING_NEW"):
        monkeypatch.setattr(unit, name, getattr(unit, name) / 5)


class FakeSocket:
    """The target over the sockets. `seen` is what it observes, or raises."""

    def __init__(self, seen: Observed | errors.TargetError) -> None:
        self.seen = seen
        self.reloads = 0

    async def observe(self) -> Observed:
        if isinstance(self.seen, errors.TargetError):
            raise self.seen
        return self.seen

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        return (f"checked {main}",)

    async def ready(self, before: Observed) -> None:
        raise AssertionError("the unit's reload needs no socket")

    async def reload(self, before: Observed) -> Observed:
        self.reloads += 1
        return dataclasses.replace(before, worker_pid=before.worker_pid + 1)

    async def servers(self) -> tuple[ServerState, ...]:
        return ()


class FakeSystemctl(Systemctl):
    """A unit. `then` is called at each reload."""

    def __init__(self, state: State) -> None:
        super().__init__("haproxy.service")
        self.state = state
        self.shown = 0
        self.reloads = 0
        self.then: object = None

    async def show(self) -> State:
        self.shown += 1
        return self.state

    async def reload(self, timeout: float) -> None:
        self.reloads += 1
        if isinstance(self.then, Exception):
            raise self.then
        if callable(self.then):
            self.then()

    async def words(self, since: float) -> str:
        return "[ALERT] words of the journal"


class Proc:
    """A /proc with a master 50 and children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stat").write_text("cpu 1 2\nbtime 1000\n")
        self.process(50, "haproxy", 10)
        self.children()

    def process(self, pid: int, name: str, started: int) -> None:
        """`started`: seconds after the boot."""
        folder = self.folder / str(pid)
        (folder / "task" / str(pid)).mkdir(parents=True)
        ticks = started * os.sysconf("SC_CLK_TCK")
        (folder / "stat").write_text(f"{pid} ({name}) S 1{' 0' * 17} {ticks} 0 0\n")

    def children(self, *pids: int) -> None:
        (self.folder / "50" / "task" / "50" / "children").write_text(" ".join(map(str, pids)))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def target(
    socket: FakeSocket, systemctl: FakeSystemctl, proc: Proc, timeout: float = 20
) -> SystemdTarget:
    options = SystemdOptions(timeout=timeout)
    return SystemdTarget(options, socket, systemctl=systemctl, proc=proc.folder)


async def test_with_a_master_socket_systemd_is_never_asked(proc: Proc) -> None:
    socket, systemctl = FakeSocket(WITH_MASTER), FakeSystemctl(RUNS)
    one = target(socket, systemctl, proc)
    assert await one.observe() == WITH_MASTER
    assert (await one.reload(WITH_MASTER)).worker_pid == 52
    assert (socket.reloads, systemctl.reloads, systemctl.shown) == (1, 0, 0)


async def test_check_and_servers_are_the_sockets(proc: Proc) -> None:
    one = target(FakeSocket(WITH_MASTER), FakeSystemctl(RUNS), proc)
    assert await one.check("/a.cfg", None) == ("checked /a.cfg",)
    assert await one.servers() == ()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (STOPPED, "haproxy.service is inactive"),
        (
            State(load="loaded", active="failed", sub="failed", result="exit-code"),
            "haproxy.service has failed (exit-code)",
        ),
        (State(load="masked", active="inactive", sub="dead"), "haproxy.service is masked"),
        (
            State(load="loaded", active="activating", sub="auto-restart"),
            "haproxy.service is activating",
        ),
    ],
)
async def test_a_unit_that_does_not_run_is_not_started(proc: Proc, state: State, why: str) -> None:
    systemctl = FakeSystemctl(state)
    one = target(FakeSocket(SILENT), systemctl, proc)
    assert await one.observe() == Observed(running=False, why=why)
    with pytest.raises(errors.TargetUnavailable, match="does not run"):
        await one.reload(WITH_MASTER)
    assert systemctl.reloads == 0


async def test_a_stopped_unit_is_not_asked_for_at_each_look(proc: Proc) -> None:
    systemctl = FakeSystemctl(STOPPED)
    one = target(FakeSocket(SILENT), systemctl, proc)
    for _ in range(20):
        await one.observe()
    assert systemctl.shown == 1


async def test_with_the_stats_socket_alone_the_weaker_proof_is_named(proc: Proc) -> None:
    systemctl = FakeSystemctl(RUNS)
    one = target(FakeSocket(WITH_STATS), systemctl, proc)
    seen = await one.observe()
    assert (seen.worker_pid, seen.master_pid, seen.master) == (51, 50, False)
    assert seen.notes[0] == "no master"
    assert "`systemctl reload haproxy.service`" in seen.notes[1]
    assert "another worker answers on the stats socket" in seen.notes[1]
    await one.observe()
    assert systemctl.shown == 1


async def test_without_sockets_the_newest_child_of_the_master_is_the_worker(proc: Proc) -> None:
    proc.process(51, "haproxy", 20)
    proc.process(52, "haproxy", 30)
    proc.process(53, "sidecar", 40)
    proc.children(51, 52, 53)
    seen = await target(FakeSocket(SILENT), FakeSystemctl(RUNS), proc).observe()
    assert (seen.running, seen.worker_pid, seen.worker_started) == (True, 52, 1030)
    assert "new worker process" in seen.notes[-1]


async def test_sockets_that_are_denied_are_told_beside_the_units_state(proc: Proc) -> None:
    denied = errors.TargetDenied("may not", remedy="be root")
    seen = await target(FakeSocket(denied), FakeSystemctl(RUNS), proc).observe()
    assert seen.running
    assert seen.notes[0] == "may not (be root)"


async def test_a_reload_by_the_unit_is_proven_by_another_worker(proc: Proc) -> None:
    socket, systemctl = FakeSocket(WITH_STATS), FakeSystemctl(RUNS)

    def reloaded() -> None:
        socket.seen = dataclasses.replace(WITH_STATS, worker_pid=60, worker_started=200)

    systemctl.then = reloaded
    one = target(socket, systemctl, proc)
    assert (await one.reload(await one.observe())).worker_pid == 60
    assert (socket.reloads, systemctl.reloads) == (0, 1)


async def test_a_reload_is_not_believed_while_the_unit_reloads_or_the_worker_is_the_old_one(
    proc: Proc,
) -> None:
    socket, systemctl = FakeSocket(WITH_STATS), FakeSystemctl(RUNS)
    one = target(socket, systemctl, proc, timeout=0.2)
    with pytest.raises(errors.ReloadFailed, match="worker 51 is still the newest") as caught:
        await one.reload(await one.observe())
    assert caught.value.detail == "[ALERT] words of the journal"


async def test_a_unit_that_says_that_its_reload_failed_is_believed_before_the_time_is_over(
    proc: Proc,
) -> None:
    systemctl = FakeSystemctl(dataclasses.replace(RUNS, status="Reload failed!"))
    one = target(FakeSocket(WITH_STATS), systemctl, proc)
    with pytest.raises(errors.ReloadFailed, match="did not load the new configuration: worker 51"):
        await one.reload(WITH_STATS)


async def test_a_reload_of_another_is_waited_for(proc: Proc) -> None:
    socket = FakeSocket(WITH_STATS)
    systemctl = FakeSystemctl(dataclasses.replace(RUNS, active="reloading", sub="reload"))
    one = target(socket, systemctl, proc, timeout=0.2)
    with pytest.raises(errors.ReloadFailed, match="another reload"):
        await one.reload(WITH_STATS)
    assert systemctl.reloads == 0


async def test_a_failed_reload_of_the_unit_has_the_journals_words(proc: Proc) -> None:
    systemctl = FakeSystemctl(RUNS)
    systemctl.then = errors.ReloadFailed("`systemctl reload haproxy.service` failed: Job failed")
    one = target(FakeSocket(WITH_STATS), systemctl, proc)
    with pytest.raises(errors.ReloadFailed, match="Job failed") as caught:
        await one.reload(WITH_STATS)
    assert caught.value.detail == "[ALERT] words of the journal"
    assert "journalctl -u haproxy.service" in caught.value.remedy


async def test_a_denied_reload_passes_through(proc: Proc) -> None:
    systemctl = FakeSystemctl(RUNS)
    systemctl.then = errors.TargetDenied("may not", remedy="polkit")
    with pytest.raises(errors.TargetDenied):
        await target(FakeSocket(WITH_STATS), systemctl, proc).reload(WITH_STATS)


async def test_a_unit_that_ends_at_the_reload_is_an_error(proc: Proc) -> None:
    socket, systemctl = FakeSocket(WITH_STATS), FakeSystemctl(RUNS)

    def ended() -> None:
        socket.seen, systemctl.state = SILENT, STOPPED

    systemctl.then = ended
    with pytest.raises(errors.ReloadFailed, match=r"haproxy\.service ended"):
        await target(socket, systemctl, proc).reload(WITH_STATS)
