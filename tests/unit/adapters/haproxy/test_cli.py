import asyncio
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy import cli
from confsync.ports import Conversation
from tests.unit.adapters.haproxy.fake import FakeHaproxy


@pytest.fixture
async def fake(tmp_short: Path) -> AsyncIterator[FakeHaproxy]:
    one = FakeHaproxy(tmp_short)
    async with one.serving():
        yield one


async def test_the_whole_answer_comes_back(fake: FakeHaproxy) -> None:
    assert "Pid: 101\n" in await cli.Socket(str(fake.stats_socket)).ask("show info")


async def test_the_master_is_half_closed_so_that_its_answer_ends(fake: FakeHaproxy) -> None:
    answer = await cli.Socket(str(fake.master_socket), master=True).ask("show proc")
    assert "# workers" in answer
    assert fake.half_closed == [True]


async def test_the_peers_pid_is_known_after_a_connection(fake: FakeHaproxy) -> None:
    one = cli.Socket(str(fake.stats_socket))
    assert one.peer == 0
    await one.ask("show info")
    assert one.peer == os.getpid()


async def test_a_missing_stats_socket_names_the_line_to_add() -> None:
    with pytest.raises(errors.TargetUnavailable) as caught:
        await cli.Socket("/nowhere/admin.sock").ask("show info")
    line = "stats socket /nowhere/admin.sock mode 660 level admin expose-fd listeners"
    assert line in caught.value.remedy
    assert "global section" in caught.value.remedy


async def test_a_missing_master_socket_names_the_option_to_add() -> None:
    with pytest.raises(errors.TargetUnavailable) as caught:
        await cli.Socket("/run/nowhere.sock", master=True).ask("show proc")
    assert 'EXTRAOPTS="-S /run/nowhere.sock"' in caught.value.remedy


async def test_a_socket_that_nobody_listens_on_is_refused(tmp_short: Path) -> None:
    path = tmp_short / "dead.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    with pytest.raises(cli.Refused):
        await cli.Socket(str(path)).ask("show info")


async def test_a_refused_connection_is_tried_again_within_the_patience(tmp_short: Path) -> None:
    fake = FakeHaproxy(tmp_short)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(fake.stats_socket))
    one = cli.Socket(str(fake.stats_socket))
    async with fake.serving(stats=False, master=False), asyncio.TaskGroup() as group:
        answer = group.create_task(one.ask("show info", patience=20))
        with pytest.raises(cli.Refused):
            await one.ask("show info")
        await fake.listen(fake.stats_socket)
        assert "Pid: 101" in await answer
    assert fake.asked == ["show info"]


async def test_a_connection_cut_after_the_command_is_not_sent_again(tmp_short: Path) -> None:
    loop = asyncio.get_running_loop()
    heard = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_short / "cut.sock"))
        listener.listen()
        listener.setblocking(False)

        async def cut() -> None:
            connection, _ = await loop.sock_accept(listener)
            with connection:  # what stays unread makes the closing a reset
                heard.append(await loop.sock_recv(connection, 3))

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            with pytest.raises(cli.NoReply):
                await cli.Socket(str(tmp_short / "cut.sock"), master=True).ask(
                    "reload", patience=20
                )
    assert heard == [b"rel"]


async def test_a_silent_socket_is_given_up_in_time(tmp_short: Path) -> None:
    path = tmp_short / "mute.sock"
    done = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    async with await asyncio.start_unix_server(mute, path):
        with pytest.raises(errors.TargetUnavailable, match="did not answer `show info` within"):
            await cli.Socket(str(path)).ask("show info", timeout=0.05)
        done.set()


async def test_an_endless_answer_is_cut(tmp_short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "REPLY_LIMIT", 1000)
    path = tmp_short / "endless.sock"

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 5000)
        writer.close()

    async with await asyncio.start_unix_server(endless, path):
        with pytest.raises(errors.TargetUnavailable, match="more than 1000 bytes"):
            await cli.Socket(str(path)).ask("show info")


async def test_a_path_too_long_for_a_socket_is_no_traceback() -> None:
    with pytest.raises(errors.TargetUnavailable, match="cannot connect"):
        await cli.Socket("/" + "x" * 200).ask("show info")


async def test_no_descriptor_left_is_an_error_of_ours(fake: FakeHaproxy) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(errors.TargetUnavailable, match="cannot be asked"):
            await cli.Socket(str(fake.stats_socket)).ask("show info")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class FakeWire:
    """What stands between: it notes what was asked, and answers or fails as told."""

    def __init__(self, *outcomes: bytes | BaseException) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[str, bytes, bool, float]] = []

    async def connect(self, path: str) -> Conversation:
        raise AssertionError("a command is an exchange")

    async def exchange(
        self, path: str, payload: bytes, *, half_close: bool, timeout: float
    ) -> bytes:
        self.asked.append((path, payload, half_close, timeout))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.mark.parametrize("master", [True, False])
async def test_a_wire_carries_commands_to_sockets_that_are_not_here(master: bool) -> None:
    wire = FakeWire(b"Pid: 7\n")
    one = cli.Socket("/run/lb/x.sock", master=master, wire=wire)
    assert await one.ask("show info", timeout=3) == "Pid: 7\n"
    assert wire.asked == [("/run/lb/x.sock", b"show info\n", master, 3)]
    assert one.peer == 0


async def test_what_was_not_sent_over_a_wire_is_tried_again() -> None:
    wire = FakeWire(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), b"yes")
    one = cli.Socket("/x.sock", wire=wire)
    assert await one.ask("show info", patience=5) == "yes"
    wire.outcomes = [OSError(errno.ECONNREFUSED, "refused")]
    with pytest.raises(cli.Refused):
        await one.ask("show info")


async def test_what_a_wire_cut_after_sending_is_never_sent_twice() -> None:
    wire = FakeWire(EOFError(), b"yes")
    with pytest.raises(cli.NoReply, match="cut the connection at `reload`"):
        await cli.Socket("/x.sock", wire=wire).ask("reload", patience=5)
    assert len(wire.asked) == 1


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (TimeoutError(), "did not answer `show info` within 5 s"),
        (FileNotFoundError(errno.ENOENT, "none"), "no socket /x.sock"),
        (b"x" * 11, "more than 10 bytes"),
        (errors.TargetUnavailable("the container lb is paused"), "the container lb is paused"),
    ],
)
async def test_what_a_wire_says_is_told_as_of_a_socket(
    outcome: bytes | BaseException, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "REPLY_LIMIT", 10)
    with pytest.raises(errors.TargetUnavailable, match=words):
        await cli.Socket("/x.sock", wire=FakeWire(outcome)).ask("show info")


async def test_what_may_not_be_connected_to_over_a_wire_is_denied() -> None:
    wire = FakeWire(PermissionError(errno.EACCES, "denied"))
    with pytest.raises(errors.TargetDenied):
        await cli.Socket("/x.sock", wire=wire).ask("show info")
