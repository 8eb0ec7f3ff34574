"""Every answer here was given by a real HAProxy of the version that its folder names."""

from pathlib import Path

import pytest

from confsync.adapters.haproxy import show
from confsync.domain.running import Worker

VERSIONS = ("2.6", "2.8", "3.0", "3.2")
FULL = {
    "2.6": "2.6.12-1+deb12u4",
    "2.8": "2.8.25-5cf5d0683",
    "3.0": "3.0.11-1+deb13u3",
    "3.2": "3.2.26-1",
}


def captured(version: str, name: str) -> str:
    return (Path(__file__).parent / "captured" / version / name).read_text()


def processes(version: str, name: str) -> show.Processes:
    found = show.processes(captured(version, name))
    assert found is not None
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_info_has_the_workers_pid_version_and_start(version: str) -> None:
    info = show.info(captured(version, "show-info.first"))
    first = processes(version, "show-proc.first")
    assert info is not None
    assert info.version == FULL[version]
    assert info.pid == first.workers[0].pid
    assert 1_795_362_000 < info.started < 1_795_363_000
    assert not info.stopping


def test_info_of_a_stopping_worker_says_so() -> None:
    text = captured("2.6", "show-info.first").replace("Stopping: 0", "Stopping: 1")
    info = show.info(text)
    assert info is not None
    assert info.stopping


@pytest.mark.parametrize(
    "text", ["", "Permission denied\n", "Unknown command\n", "Name: HAProxy\n", "Pid: 4\n"]
)
def test_no_info_comes_of_another_answer(text: str) -> None:
    assert show.info(text) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_processes_of_a_fresh_master(version: str) -> None:
    found = processes(version, "show-proc.first")
    assert (found.reloads, found.failed) == (0, 0)
    assert len(found.workers) == 1
    assert found.old_workers == ()
    assert found.version == FULL[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_processes_count_a_reload_and_change_the_worker(version: str) -> None:
    before, after = processes(version, "show-proc.first"), processes(version, "show-proc.reloaded")
    assert after.reloads == 1
    assert after.failed == 0
    assert after.master_pid == before.master_pid
    assert after.workers[0].pid != before.workers[0].pid


@pytest.mark.parametrize("version", ["2.6", "2.8", "3.0"])
def test_a_failed_reload_is_counted_and_the_worker_stays_current(version: str) -> None:
    found = processes(version, "show-proc.bind")
    assert (found.reloads, found.failed) == (2, 1)
    assert found.workers == processes(version, "show-proc.reloaded").workers[:0] + found.workers
    assert found.workers[0].pid == processes(version, "show-proc.reloaded").workers[0].pid
    assert found.old_workers == ()


def test_3_2_lists_the_worker_that_survives_a_failed_reload_as_an_old_one() -> None:
    found = processes("3.2", "show-proc.bind")
    assert (found.reloads, found.failed) == (2, 1)
    assert found.workers == ()
    assert [w.pid for w in found.old_workers] == [
        w.pid for w in processes("3.2", "show-proc.reloaded").workers
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_processes_tell_old_workers_with_what_they_outlived(version: str) -> None:
    found = processes(version, "show-proc.old")
    assert len(found.workers) == 1
    (old,) = found.old_workers
    assert isinstance(old, Worker)
    assert old.reloads == 3
    assert 0 < old.uptime < 10
    assert old.version == FULL[version]


def test_uptime_is_in_seconds() -> None:
    text = captured("2.6", "show-proc.first").replace("0d00h00m01s", "2d03h04m05s")
    found = show.processes(text)
    assert found is not None
    assert found.workers[0].uptime == 2 * 86400 + 3 * 3600 + 4 * 60 + 5


@pytest.mark.parametrize("text", ["", "Permission denied\n", "# workers\n12 worker 0 x\n"])
def test_no_processes_come_of_another_answer(text: str) -> None:
    assert show.processes(text) is None


def test_programs_are_no_workers() -> None:
    text = captured("2.6", "show-proc.first").replace(
        "# programs\n", "# programs\n77              sidecar         0               0d00h00m01s\n"
    )
    found = show.processes(text)
    assert found is not None
    assert [w.pid for w in found.workers + found.old_workers].count(77) == 0


@pytest.mark.parametrize("version", ["2.8", "3.0", "3.2"])
def test_a_reload_that_failed_says_so_with_the_parsers_words(version: str) -> None:
    reply = show.reload_reply(captured(version, "reload.bad"))
    assert reply.success is False
    assert "unknown keyword 'bogus'" in reply.log
    assert not reply.log.startswith("--")


@pytest.mark.parametrize("version", ["2.8", "3.0", "3.2"])
def test_a_good_reload_says_so(version: str) -> None:
    assert show.reload_reply(captured(version, "reload.good")).success is True


@pytest.mark.parametrize("name", ["reload.good", "reload.bad", "reload.bind"])
def test_2_6_answers_nothing_either_way(name: str) -> None:
    assert show.reload_reply(captured("2.6", name)) == show.ReloadReply(success=None, log="")


def test_another_answer_to_reload_is_kept_as_words() -> None:
    reply = show.reload_reply("Another reload is still in progress.\n\n")
    assert reply == show.ReloadReply(success=None, log="Another reload is still in progress.")


def test_startup_logs_are_empty_where_the_command_is_unknown() -> None:
    assert show.startup_logs(captured("2.6", "show-startup-logs.bind")) == ""
    assert "cannot bind socket" in show.startup_logs(captured("3.0", "show-startup-logs.bind"))


@pytest.mark.parametrize("version", VERSIONS)
def test_servers_with_address_state_and_whether_they_are_checked(version: str) -> None:
    found = {s.server: s for s in show.servers(captured(version, "show-servers-state"))}
    assert list(found) == ["a", "b", "c"]
    a, b, c = found.values()
    assert (a.backend, a.address, a.port, a.up, a.checked) == ("be", "127.0.0.1", 1, False, True)
    assert (b.up, b.checked) == (True, False)
    assert (c.address, c.port, c.up, c.checked) == ("::1", 3, False, False)


def test_a_server_in_maintenance_is_not_down_by_its_checks() -> None:
    text = captured("2.6", "show-servers-state").replace("a 127.0.0.1 0 0 ", "a 127.0.0.1 0 1 ")
    assert not show.servers(text)[0].checked


@pytest.mark.parametrize(
    ("config", "version", "limit"),
    [
        ("global\n", "2.6.12", 0),
        ("global\n", "3.2.26-1", 0),
        ("global\n", "3.3.0", 50),
        ("global\n  mworker-max-reloads 7\n", "3.3.0", 7),
        ("global\n  # mworker-max-reloads 7\n", "2.6.12", 0),
        ("", "", 0),
    ],
)
def test_max_reloads(config: str, version: str, limit: int) -> None:
    assert show.max_reloads(config, version) == limit
