"""The target over a fake HAProxy that does, as each version would, what is hard to catch live."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.domain.running import Observed
from tests.unit.adapters.haproxy.fake import FakeHaproxy

pytestmark = pytest.mark.fast_clock


def target(fake: FakeHaproxy, *, timeout: float = 20, lost: float = 0.05) -> SocketTarget:
    """Another one checks: no program here is asked for its version."""
    return SocketTarget(
        SocketOptions(
            config=str(fake.stats_socket.with_name("haproxy.cfg")),
            master_socket=str(fake.master_socket),
            stats_socket=str(fake.stats_socket),
            timeout=timeout,
            lost=lost,
            patience=0.05,
        ),
        masked=str,
    )


@pytest.fixture
async def fake(tmp_short: Path) -> AsyncIterator[FakeHaproxy]:
    one = FakeHaproxy(tmp_short)
    async with one.serving():
        yield one


def dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


# observe


async def test_what_runs(fake: FakeHaproxy) -> None:
    fake.old = [90]
    observed = await target(fake).observe()
    assert observed.running
    assert observed.master
    assert not observed.loading
    assert (observed.version, observed.master_pid, observed.worker_pid) == ("3.0.11", 100, 101)
    assert observed.worker_started == 1_700_000_000
    assert (observed.reloads, observed.failed) == (0, 0)
    assert [w.pid for w in observed.old_workers] == [90]
    assert (observed.notes, observed.unfit) == ((), "")


async def test_a_worker_that_survives_a_failed_reload_of_3_2_is_the_current_one(
    fake: FakeHaproxy,
) -> None:
    fake.workers, fake.old, fake.failed = [], [101], 1
    observed = await target(fake).observe()
    assert observed.worker_pid == 101
    assert not observed.loading
    assert observed.old_workers == ()


async def test_3_2_is_loading_while_the_old_worker_answers(fake: FakeHaproxy) -> None:
    fake.workers, fake.old = [102], [101]
    assert (await target(fake).observe()).loading


async def test_no_master_socket_still_runs_and_says_what_to_do(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    async with fake.serving(master=False):
        observed = await target(fake).observe()
    assert observed.running
    assert not observed.master
    assert (observed.reloads, observed.failed) == (-1, -1)
    (note,) = observed.notes
    assert "reloads have no proof" in note
    assert f'EXTRAOPTS="-S {fake.master_socket}"' in note


async def test_no_stats_socket_is_read_through_the_master(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    async with fake.serving(stats=False):
        observed = await target(fake).observe()
    assert observed.worker_pid == 101
    assert f"stats socket {fake.stats_socket} mode 660 level admin" in observed.notes[0]


async def test_neither_socket_is_no_running_haproxy(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    observed = await target(fake).observe()
    assert not observed.running
    assert observed.why == f"no socket {fake.master_socket}; no socket {fake.stats_socket}"
    assert len(observed.notes) == 2


async def test_sockets_left_by_a_dead_haproxy_are_no_running_one(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    dead(fake.stats_socket)
    dead(fake.master_socket)
    observed = await target(fake).observe()
    assert not observed.running
    assert "nobody listens" in observed.why


async def test_a_master_that_refuses_while_its_worker_answers_is_loading(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    dead(fake.master_socket)
    async with fake.serving(master=False):
        observed = await target(fake).observe()
    assert observed.running
    assert observed.loading
    assert observed.notes == ()


async def test_a_master_that_answered_before_and_refuses_now_is_loading(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    one = target(fake)
    async with fake.serving(stats=False):
        await one.observe()
    fake.master_socket.unlink(missing_ok=True)
    dead(fake.master_socket)
    observed = await one.observe()
    assert observed.running
    assert observed.loading


async def test_a_master_socket_that_refuses_for_ever_is_a_dead_ones(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    one = target(fake, timeout=0.05)
    async with fake.serving():
        await one.observe()
        fake.master_socket.unlink()
        dead(fake.master_socket)  # HAProxy was started anew without -S; the file stays
        async with asyncio.timeout(10):
            while (observed := await one.observe()).loading:
                await asyncio.sleep(0.01)
    assert observed.running
    assert not observed.master
    assert "reloads have no proof" in observed.notes[0]


async def test_another_haproxy_on_the_stats_socket_is_noticed(fake: FakeHaproxy) -> None:
    fake.answering = 999
    observed = await target(fake).observe()
    assert observed.worker_pid == 101
    assert not observed.loading
    assert any("999, which is no worker of this master" in note for note in observed.notes)


async def test_a_worker_at_half_of_the_reloads_it_may_outlive_is_noted(fake: FakeHaproxy) -> None:
    config = fake.stats_socket.with_name("haproxy.cfg")
    config.write_text("global\n  mworker-max-reloads 20\n")
    fake.outlived = 10
    observed = await target(fake).observe()
    assert "outlived 10 reloads of the 20" in observed.notes[0]


# reload


async def test_a_reload_is_confirmed_by_the_new_worker(fake: FakeHaproxy) -> None:
    one = target(fake)
    after = await one.reload(await one.observe())
    assert (after.worker_pid, after.reloads) == (102, 1)
    assert fake.asked.count("reload") == 1


async def test_2_6_is_confirmed_by_its_counters(fake: FakeHaproxy) -> None:
    fake.on_reload = fake.succeed_silently
    one = target(fake)
    after = await one.reload(await one.observe())
    assert (after.worker_pid, after.reloads) == (102, 1)


async def test_success_is_not_believed_while_the_old_worker_answers(fake: FakeHaproxy) -> None:
    def promise() -> str:
        fake.new_worker()
        fake.answering, fake.started = 101, 1_700_000_000
        return "Success=1\n--\n"

    fake.on_reload = promise
    one = target(fake, timeout=0.3)
    with pytest.raises(errors.ReloadFailed, match=r"not confirmed within 0\.3 s: worker 101"):
        await one.reload(await one.observe())
    assert fake.asked.count("reload") == 1


async def test_a_count_alone_is_not_believed(fake: FakeHaproxy) -> None:
    def count() -> str:
        fake.reloads += 1  # and the worker stays, listed as current
        return "Success=1\n--\n"

    fake.on_reload = count
    one = target(fake, timeout=0.2)
    with pytest.raises(errors.ReloadFailed, match="not confirmed"):
        await one.reload(await one.observe())


async def test_a_new_worker_that_the_master_does_not_list_as_current_is_not_believed(
    fake: FakeHaproxy,
) -> None:
    def overtaken() -> str:
        fake.new_worker()
        fake.workers, fake.old = [103], [101, 102]  # another reload has begun since
        return "Success=1\n--\n"

    fake.on_reload = overtaken
    one = target(fake, timeout=0.2)
    with pytest.raises(errors.ReloadFailed, match="not confirmed"):
        await one.reload(await one.observe())


async def test_a_refused_reload_has_haproxys_words(fake: FakeHaproxy) -> None:
    fake.on_reload = fake.fail
    one = target(fake)
    with pytest.raises(errors.ReloadFailed) as caught:
        await one.reload(await one.observe())
    assert "port taken" in str(caught.value)
    assert "port taken" in caught.value.detail


async def test_2_6_fails_by_its_counters_and_says_where_the_words_are(fake: FakeHaproxy) -> None:
    fake.on_reload, fake.version = fake.fail_silently, "2.6.12-1+deb12u4"
    plain = fake.reply

    def reply(command: str) -> str | None:
        return plain("unknown" if command == "show startup-logs" else command)

    fake.reply = reply  # type: ignore[method-assign]
    one = target(fake)
    with pytest.raises(errors.ReloadFailed) as caught:
        await one.reload(await one.observe())
    assert "HAProxy 2.6 says why only in its own log" in caught.value.remedy
    fake.on_reload = fake.succeed_silently
    assert (await one.reload(await one.observe())).failed == 0


async def test_a_silent_failure_is_explained_by_the_startup_logs(fake: FakeHaproxy) -> None:
    fake.on_reload = fake.fail_silently
    one = target(fake)
    with pytest.raises(errors.ReloadFailed, match="no port for it"):
        await one.reload(await one.observe())


async def test_a_lost_reload_is_asked_for_again(fake: FakeHaproxy) -> None:
    def lose() -> None:
        fake.on_reload = fake.succeed_silently

    fake.on_reload = lose
    one = target(fake)
    assert (await one.reload(await one.observe())).reloads == 1
    assert fake.asked.count("reload") == 2


async def test_a_reload_of_another_that_is_in_progress_is_waited_for(fake: FakeHaproxy) -> None:
    def busy() -> str:
        fake.new_worker()  # the other's, begun after the files were written
        return "Another reload is still in progress.\n\n"

    fake.on_reload = busy
    one = target(fake)
    assert (await one.reload(await one.observe())).reloads == 1
    assert fake.asked.count("reload") == 1


async def test_no_reload_is_asked_for_while_one_is_loading(fake: FakeHaproxy) -> None:
    fake.workers, fake.old = [102], [101]  # of somebody else
    one = target(fake)
    before = await one.observe()
    async with asyncio.TaskGroup() as group:
        done = group.create_task(one.reload(before))
        while fake.asked.count("show proc") < 4:
            await asyncio.sleep(0)
        assert "reload" not in fake.asked
        fake.answering, fake.started = 102, fake.started + 5
        after = await done
    assert after.worker_pid == 103


async def test_a_reload_that_never_ends_is_said_to_be_anothers(fake: FakeHaproxy) -> None:
    fake.workers, fake.old = [102], [101]
    one = target(fake, timeout=0.1)
    with pytest.raises(errors.ReloadFailed, match="another reload of HAProxy does not end"):
        await one.reload(await one.observe())


async def test_two_reloads_never_overlap(fake: FakeHaproxy) -> None:
    under_way = 0

    def slow() -> str:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        fake.new_worker()
        under_way -= 1
        return "Success=1\n--\n"

    fake.on_reload = slow
    one = target(fake)
    before = await one.observe()
    async with asyncio.TaskGroup() as group:
        done = [group.create_task(one.reload(before)) for _ in range(5)]
    assert sorted(task.result().reloads for task in done) == [1, 2, 3, 4, 5]


async def test_after_a_cancelled_reload_the_next_waits_for_its_end(fake: FakeHaproxy) -> None:
    def begin() -> str:
        fake.old, fake.workers = [101], [102]  # loads; 101 still answers
        fake.reloads += 1
        return "Success=1\n--\n"

    fake.on_reload = begin
    one = target(fake)
    before = await one.observe()
    async with asyncio.TaskGroup() as group:
        cut = group.create_task(one.reload(before))
        while "reload" not in fake.asked:
            await asyncio.sleep(0)
        cut.cancel()
        fake.on_reload = fake.succeed
        following = group.create_task(one.reload(before))
        seen = len(fake.asked)
        while len(fake.asked) < seen + 6:
            await asyncio.sleep(0)
        assert fake.asked.count("reload") == 1
        fake.answering, fake.started = 102, fake.started + 5
        assert (await following).reloads == 2
    assert fake.asked.count("reload") == 2


async def test_a_master_of_too_low_a_level_is_denied(fake: FakeHaproxy) -> None:
    fake.on_reload = lambda: "Permission denied\n\n"
    one = target(fake)
    with pytest.raises(errors.TargetDenied, match="may not be used to reload"):
        await one.reload(await one.observe())


async def test_no_master_socket_is_no_reload(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    async with fake.serving(master=False):
        one = target(fake)
        with pytest.raises(errors.TargetUnavailable) as caught:
            await one.reload(await one.observe())
    assert f"-S {fake.master_socket}" in caught.value.remedy


async def test_a_master_that_died_is_an_error_in_time(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    dead(fake.master_socket)
    one = target(fake, timeout=0.1)
    with pytest.raises(errors.ReloadFailed, match="the master does not answer"):
        await one.reload(Observed(running=True))


# servers


async def test_servers_are_read_through_the_master_where_the_stats_socket_is_missing(
    tmp_short: Path,
) -> None:
    fake = FakeHaproxy(tmp_short)
    async with fake.serving(stats=False):
        assert await target(fake).servers() == ()
    assert fake.asked[-1] == "@1 show servers state"


async def test_servers_without_a_haproxy_are_an_error(tmp_short: Path) -> None:
    with pytest.raises(errors.TargetUnavailable):
        await target(FakeHaproxy(tmp_short)).servers()
