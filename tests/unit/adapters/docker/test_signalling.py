"""Reloads by signal, on processes and logs as an engine would tell them."""

import dataclasses
from typing import Any, cast

import pytest

from confsync import errors
from confsync.adapters.docker import signalling
from confsync.adapters.docker.engine import Engine, Process
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.master import Masters
from confsync.adapters.docker.signalling import Signalling
from confsync.domain.running import Observed
from tests.unit.adapters.docker.box import FakeEngine, container

pytestmark = pytest.mark.fast_clock

NOTHING = Observed(running=False, notes=("no socket",))
ALERT = "[ALERT]    (1) : config : parsing [/x/haproxy.cfg:3] : unknown keyword 'frob'\n"


def process(pid: int, parent: int, age: int = 5, command: str = "haproxy -W -f x") -> Process:
    return Process(pid=pid, parent=parent, age=age, command=command)


class Fake(FakeEngine):
    """A container whose processes change at a signal. `after`: what is there then."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(pid=100, **fields)
        self.now: tuple[Process, ...] = (process(100, 1), process(101, 100))
        self.after: tuple[Process, ...] = (*self.now, process(90, 100, 0))
        self.signals: list[str] = []
        self.log: str | Exception = ""

    async def processes(self, container: str) -> tuple[Process, ...]:
        return self.now

    async def kill(self, container: str, signal: str) -> None:
        self.signals.append(signal)
        self.now = self.after

    async def logs(self, container: str, since: float) -> str:
        if isinstance(self.log, Exception):
            raise self.log
        return self.log


def made(fake: Fake, timeout: float = 5) -> Signalling:
    return Signalling(
        cast(Engine, fake),
        Inside(fake),
        Masters(Inside(fake)),
        timeout=timeout,
        masked=lambda text: text.replace("secret", "***"),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_POLL", "_APART", "_STEADY", "_LOG_LAG"):
        monkeypatch.setattr(signalling, name, 0.02)


async def reloaded(fake: Fake, timeout: float = 5) -> Observed:
    one, box = made(fake, timeout), container(pid=100)
    return await one.reload(box, lambda: one.observe(box, NOTHING))


async def test_what_the_processes_tell() -> None:
    seen = await made(Fake()).observe(container(pid=100), NOTHING)
    assert (seen.running, seen.master, seen.master_pid, seen.worker_pid) == (True, False, 100, 101)
    assert seen.notes[0] == "no socket"
    assert "reloads go by signal" in seen.notes[1]


async def test_a_worker_that_answers_is_not_doubted() -> None:
    fake = Fake()
    fake.now = ()
    answers = Observed(running=True, worker_pid=8, worker_started=1.0, notes=("no master",))
    seen = await made(fake).observe(container(pid=100), answers)
    assert dataclasses.replace(seen, notes=("no master",)) == answers
    assert "another worker answers" in seen.notes[1]


async def test_a_container_without_haproxy_does_not_run() -> None:
    fake = Fake()
    fake.now = (process(100, 1, command="sleep infinity"),)
    seen = await made(fake).observe(container(pid=100), NOTHING)
    assert (seen.running, seen.why) == (False, "no HAProxy runs in the container lb")


async def test_a_new_worker_that_stays_is_a_reload() -> None:
    """Its pid is lower than the old one's: numbers begin again."""
    fake = Fake()
    assert (await reloaded(fake)).worker_pid == 90
    assert fake.signals == ["SIGUSR2"]


async def test_an_alert_in_the_log_is_a_failure_with_its_words() -> None:
    fake = Fake()
    fake.after, fake.log = fake.now, ALERT + "secret\n"
    with pytest.raises(errors.ReloadFailed, match="unknown keyword") as caught:
        await reloaded(fake)
    assert "secret" not in caught.value.detail
    # also when a worker is there: the master starts another one of the old configuration
    fake = Fake()
    fake.log = ALERT
    with pytest.raises(errors.ReloadFailed, match="unknown keyword"):
        await reloaded(fake)


async def test_no_new_worker_in_time_is_not_confirmed() -> None:
    fake = Fake()
    fake.after = fake.now
    with pytest.raises(errors.ReloadFailed, match=r"not confirmed within 0\.2 s: worker 101"):
        await reloaded(fake, timeout=0.2)


async def test_a_worker_that_does_not_stay_is_no_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signalling, "_STEADY", 0.1)
    fake = Fake()
    count = 200

    async def flapping(container: str) -> tuple[Process, ...]:
        nonlocal count
        count += 1
        return (process(100, 1), process(count, 100, 0))

    async def kill(container: str, signal: str) -> None:
        fake.signals.append(signal)
        fake.processes = flapping  # type: ignore[method-assign]

    fake.kill = kill  # type: ignore[method-assign]
    with pytest.raises(errors.ReloadFailed, match="not confirmed"):
        await reloaded(fake, timeout=0.4)


async def test_a_log_that_cannot_be_read_leaves_the_processes() -> None:
    fake = Fake()
    fake.log = errors.TargetUnavailable("the log driver cannot be read")
    assert (await reloaded(fake)).worker_pid == 90


async def test_haproxy_that_ends_is_said_to_have_ended() -> None:
    fake = Fake()
    fake.after = ()
    with pytest.raises(errors.ReloadFailed, match="HAProxy ended"):
        await reloaded(fake)


async def test_without_a_master_process_nothing_is_signalled() -> None:
    fake = Fake()
    fake.now = (process(100, 1, command="haproxy -db -f x"),)
    with pytest.raises(errors.ReloadFailed, match="without a master process") as caught:
        await reloaded(fake)
    assert "-W" in caught.value.remedy
    assert fake.signals == []


async def test_a_master_under_an_init_is_signalled_itself() -> None:
    """The container's first process is an entrypoint's shell; inside, the master is 7."""
    fake = Fake()
    fake.now = (process(100, 1, command="sh /start"), process(101, 100), process(102, 101))
    fake.after = (*fake.now, process(103, 101, 0))
    status = b"PPid:\t1\nUid:\t99 99 99 99\nGid:\t99 99 99 99\n".hex()
    line = b"haproxy\0-W\0-f\0/x.cfg\0".hex()
    told = f"pid 7\ncwd /\nexe /usr/sbin/haproxy\nstatus {status}\ncmdline {line}\nenviron 00\n"

    async def run(_: str, argv: list[str], *, user: str = "", **__: object) -> tuple[int, bytes]:
        if "kill" in argv[-1]:
            fake.signals.append(f"{argv[-1]} as {user}")
            fake.now = fake.after
            return 0, b""
        return 0, told.encode()

    fake.run = run  # type: ignore[assignment,method-assign]
    assert (await reloaded(fake)).worker_pid == 103
    assert fake.signals == ["kill -USR2 7 as 99:99"]
