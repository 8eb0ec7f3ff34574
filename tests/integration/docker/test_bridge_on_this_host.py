"""The bridge with its inner half on this machine; in containers: tests/integration/docker."""

import asyncio
import errno
import os
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync import errors
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.link import Frames
from tests.integration.docker.conftest import LB, Listen, LocalWay
from tests.support.process import wait_until
from tests.unit.adapters.docker.fake import refusal


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([b"D", b"E"]), st.binary())),
    st.integers(1, 9),
)
def test_frames_come_out_whole_however_they_are_cut(
    sent: list[tuple[int, bytes, bytes]], size: int
) -> None:
    data, frames, got = b"".join(Frames.pack(*each) for each in sent), Frames(), []
    for at in range(0, len(data), size):
        got += frames.feed(data[at : at + size])
    assert got == sent


# Exchanges


async def test_what_is_sent_arrives_and_all_that_is_said_comes_back(
    bridge: Bridge, peer: Listen
) -> None:
    def serve(made: socket.socket) -> None:
        line = made.recv(100)
        made.sendall(line.upper() + b"x" * 3_000_000)

    path = peer(serve)
    reply = await bridge.exchange(path, b"show info\n", half_close=False, timeout=10)
    assert reply == b"SHOW INFO\n" + b"x" * 3_000_000


async def test_a_half_close_is_seen_by_who_waits_for_it(bridge: Bridge, peer: Listen) -> None:
    def serve(made: socket.socket) -> None:
        whole = b"".join(iter(lambda: made.recv(100), b""))
        made.sendall(b"got " + whole)

    assert await bridge.exchange(peer(serve), b"abc", half_close=True, timeout=10) == b"got abc"


async def test_a_long_request_goes_out_whole(bridge: Bridge, peer: Listen) -> None:
    def serve(made: socket.socket) -> None:
        made.sendall(str(sum(map(len, iter(lambda: made.recv(1000), b"")))).encode())

    sent = b"y" * 2_000_000
    assert await bridge.exchange(peer(serve), sent, half_close=True, timeout=10) == b"2000000"


async def test_many_at_once_do_not_mix(bridge: Bridge, way: LocalWay, peer: Listen) -> None:
    together = threading.Barrier(20)

    def serve(made: socket.socket) -> None:
        said = made.recv(100)
        together.wait(10)  # none is answered before all are asked
        made.sendall(said * 1000)

    path = peer(serve)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(bridge.exchange(path, b"%d," % n, half_close=False, timeout=20))
            for n in range(20)
        ]
    assert [t.result() for t in tasks] == [b"%d," % n * 1000 for n in range(20)]
    assert len(way.opened) == 1


@pytest.mark.parametrize(
    ("name", "number"),
    [("none.sock", errno.ENOENT), ("file", errno.ECONNREFUSED), ("file/x", errno.ENOTDIR)],
)
async def test_what_was_not_sent_has_its_errno(
    bridge: Bridge, tmp_short: Path, name: str, number: int
) -> None:
    (tmp_short / "file").touch()
    with pytest.raises(OSError) as caught:
        await bridge.exchange(str(tmp_short / name), b"x", half_close=False, timeout=10)
    assert caught.value.errno == number


async def test_a_path_that_is_too_long_is_refused(bridge: Bridge) -> None:
    with pytest.raises(OSError) as caught:
        await bridge.exchange("/" + "x" * 107, b"x", half_close=False, timeout=10)
    assert caught.value.errno == errno.ENAMETOOLONG


async def test_a_cut_after_sending_is_no_oserror(bridge: Bridge, peer: Listen) -> None:
    def serve(made: socket.socket) -> None:
        # Closed with something unread: the other side gets ECONNRESET.
        made.recv(1)

    with pytest.raises(EOFError):
        await bridge.exchange(peer(serve), b"reload\n", half_close=False, timeout=10)


async def test_a_cut_while_sending_is_no_oserror_either(bridge: Bridge, peer: Listen) -> None:
    path = peer(lambda made: [made.recv(1000) for _ in range(100)])
    with pytest.raises(EOFError):
        await bridge.exchange(path, b"z" * 3_000_000, half_close=False, timeout=10)


async def test_an_exchange_that_is_late_frees_its_connection(bridge: Bridge, peer: Listen) -> None:
    closed = threading.Event()

    def serve(made: socket.socket) -> None:
        made.recv(100)
        if not made.recv(100):
            closed.set()

    await bridge.run(["true"], timeout=10)  # it is open: the time is that of the exchange
    with pytest.raises(TimeoutError):
        await bridge.exchange(peer(serve), b"prompt\n", half_close=False, timeout=1)
    assert await asyncio.to_thread(closed.wait, 10)


# Commands


async def test_a_command_has_exactly_its_environment_and_folder(
    bridge: Bridge, tmp_path: Path
) -> None:
    variables = {"PATH": os.environ["PATH"], "A": "x=y z", "LATIN": "\udce9", "EMPTY": ""}
    code, output = await bridge.run(
        ["env", "-0"], environment=variables, directory=str(tmp_path), timeout=10
    )
    found = dict(each.split(b"=", 1) for each in output.split(b"\0") if each)
    assert code == 0
    assert found == {
        b"PATH": os.environ["PATH"].encode(),
        b"A": b"x=y z",
        b"LATIN": b"\xe9",
        b"EMPTY": b"",
    }
    assert (await bridge.run(["pwd"], directory=str(tmp_path), timeout=10))[1] == (
        f"{tmp_path}\n".encode()
    )


async def test_a_program_is_found_without_a_path_in_its_environment(bridge: Bridge) -> None:
    assert await bridge.run(["env"], environment={"A": "1"}, timeout=10) == (0, b"A=1\n")


async def test_both_outputs_and_the_code_come_back(bridge: Bridge) -> None:
    done = await bridge.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
    assert done == (3, b"out\nerr\n")


async def test_words_with_spaces_newlines_and_nothing_arrive_as_they_are(bridge: Bridge) -> None:
    argv = ["printf", "%s|", "a b", "", "c\nd", "$HOME", "é"]
    assert (await bridge.run(argv, timeout=10))[1] == "a b||c\nd|$HOME|é|".encode()


async def test_how_a_command_fails_is_told(bridge: Bridge, tmp_path: Path) -> None:
    assert await bridge.run(["no-such-program"], timeout=10) == (
        127,
        b"cannot run no-such-program: No such file or directory\n",
    )
    code, said = await bridge.run(["true"], directory=str(tmp_path / "none"), timeout=10)
    assert (code, said[:12]) == (126, b"cannot enter")
    assert (await bridge.run(["sh", "-c", "kill -SEGV $$"], timeout=10))[0] == -signal.SIGSEGV


async def test_a_commands_input_is_empty_and_signals_are_as_usual(bridge: Bridge) -> None:
    assert await bridge.run(["cat"], timeout=10) == (0, b"")
    ignored = ["sh", "-c", "grep SigIgn /proc/self/status"]
    usual = subprocess.run(ignored, capture_output=True, check=True).stdout
    assert (await bridge.run(ignored, timeout=10))[1] == usual
    assert int(usual.split()[1], 16) & 1 << signal.SIGPIPE - 1 == 0


async def test_output_is_bounded(bridge: Bridge) -> None:
    code, output = await bridge.run(["head", "-c", "5000000", "/dev/zero"], timeout=20)
    assert (code, len(output)) == (0, 1 << 20)


async def test_a_child_that_keeps_the_output_open_does_not_hold_up_the_end(
    bridge: Bridge, tmp_path: Path
) -> None:
    script = f"echo said; sleep 30 & echo $! > {tmp_path}/pid"
    assert await bridge.run(["sh", "-c", script], timeout=20) == (0, b"said\n")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_a_command_that_closes_its_output_is_waited_for(bridge: Bridge) -> None:
    script = "exec >&- 2>&-; sleep 0.2; exit 5"
    assert await bridge.run(["sh", "-c", script], timeout=20) == (5, b"")


@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_what_is_late_or_cancelled_is_killed_with_its_children(
    bridge: Bridge, tmp_path: Path, how: str
) -> None:
    script = f"sleep 60 & echo $! >{tmp_path}/child; echo $$ >{tmp_path}/own; wait"
    await bridge.run(["true"], timeout=10)
    command = bridge.run(["sh", "-c", script], timeout=2 if how == "late" else 60)
    if how == "late":
        with pytest.raises(TimeoutError):
            await command
    else:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(command)
            while not (tmp_path / "own").exists() or not (tmp_path / "own").read_text():
                await asyncio.sleep(0.01)
            task.cancel()
    for name in ("child", "own"):
        pid = int((tmp_path / name).read_text())
        await asyncio.to_thread(wait_until, lambda p=pid: _gone(p), f"the end of {pid}")


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# Its life


async def test_it_ends_with_its_input_and_so_do_its_commands(
    bridge: Bridge, way: LocalWay, tmp_path: Path
) -> None:
    script = f"echo $$ >{tmp_path}/own; exec sleep 60"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_broken(bridge, script))
        while not (tmp_path / "own").exists() or not (tmp_path / "own").read_text():
            await asyncio.sleep(0.01)
        bridge.close()
        await asyncio.wait_for(asyncio.shield(way.opened[0].ended), 10)
    assert "broke" in task.result()
    pid = int((tmp_path / "own").read_text())
    await asyncio.to_thread(wait_until, lambda: _gone(pid), "the end of the command")


async def _broken(bridge: Bridge, script: str) -> str:
    with pytest.raises(errors.TargetUnavailable) as caught:
        await bridge.run(["sh", "-c", script], timeout=60)
    return caught.value.what


async def test_an_exchange_whose_way_breaks_may_have_been_sent(
    bridge: Bridge, way: LocalWay, peer: Listen
) -> None:
    def serve(made: socket.socket) -> None:
        made.recv(100)
        os.kill(way.opened[0].pid, signal.SIGKILL)
        made.recv(100)

    with pytest.raises(EOFError):
        await bridge.exchange(peer(serve), b"reload\n", half_close=False, timeout=10)


async def test_a_broken_one_is_opened_anew(bridge: Bridge, way: LocalWay) -> None:
    await bridge.run(["true"], timeout=10)
    os.kill(way.opened[0].pid, signal.SIGKILL)
    await asyncio.wait_for(asyncio.shield(way.opened[0].ended), 10)
    assert (await bridge.run(["echo", "again"], timeout=10)) == (0, b"again\n")
    assert len(way.opened) == 2


async def test_another_run_of_the_container_is_reached_anew(bridge: Bridge, way: LocalWay) -> None:
    await bridge.run(["true"], timeout=10)
    bridge.use(LB)
    await bridge.run(["true"], timeout=10)
    assert len(way.opened) == 1
    again = Container(id=LB.id, name="lb", started=2.0)
    bridge.use(again)
    with pytest.raises(errors.TargetUnavailable, match="the container lb was replaced"):
        await bridge.run(["true"], timeout=10)  # what was entered is another run of it
    assert len(way.opened) == 2
    await asyncio.wait_for(asyncio.shield(way.opened[-1].ended), 10)
    way.now = again
    await bridge.run(["true"], timeout=10)
    assert len(way.opened) == 3


async def test_who_it_is_inside_can_be_chosen(way: LocalWay) -> None:
    bridge = Bridge(way, user="haproxy")
    bridge.use(LB)
    await bridge.run(["true"], timeout=10)
    assert way.users == ["haproxy"]


MISSING = 'exec failed: exec: "perl": executable file not found in $PATH: unknown'


@pytest.mark.parametrize("refused", [False, True])
async def test_a_container_without_perl_is_tried_once(
    bridge: Bridge, way: LocalWay, refused: bool
) -> None:
    if refused:
        way.refused = refusal(400, MISSING)
    else:
        way.program = ["sh", "-c", f"echo '{MISSING}'; exit 126"]
    for _ in range(2):
        with pytest.raises(errors.TargetUnavailable, match="there is no perl in it"):
            await bridge.run(["true"], timeout=10)
        assert not bridge.available
    assert len(way.users) == 1
    bridge.use(Container(id=LB.id, name="lb", started=2.0))
    assert bridge.available


async def test_a_perl_that_does_not_work_is_tried_once_and_quoted(
    bridge: Bridge, way: LocalWay
) -> None:
    way.program = ["sh", "-c", 'echo "Can\'t locate Socket.pm" >&2; exit 2']
    with pytest.raises(
        errors.TargetUnavailable, match=r"perl fails in it: Can't locate Socket\.pm"
    ):
        await bridge.exchange("/x", b"", half_close=False, timeout=10)
    assert not bridge.available


@pytest.mark.parametrize(
    "now",
    [
        Container(id=LB.id, name="lb", started=1.0, state="exited"),
        Container(id=LB.id, name="lb", started=3.0),
    ],
)
async def test_a_container_that_ended_meanwhile_is_not_given_up(
    bridge: Bridge, way: LocalWay, now: Container
) -> None:
    way.now, way.program = now, ["false"]
    with pytest.raises(errors.TargetUnavailable, match="ended"):
        await bridge.run(["true"], timeout=10)
    assert bridge.available


async def test_without_a_container_there_is_no_way(way: LocalWay) -> None:
    with pytest.raises(errors.TargetUnavailable, match="no container"):
        await Bridge(way).run(["true"], timeout=10)


async def test_a_greeting_in_pieces_is_a_greeting(bridge: Bridge, way: LocalWay) -> None:
    hello = struct.pack(">IIc", 1, 0, b"H") + b"1"
    octal = "".join(f"\\{b:03o}" for b in hello)
    end = "".join(f"\\{b:03o}" for b in Frames.pack(1, b"E", struct.pack(">BI", 3, 9)))
    way.program = [
        "sh",
        "-c",
        f"printf '{octal[:12]}'; sleep 0.1; printf '{octal[12:]}'; sleep 0.2; printf '{end}'; cat",
    ]
    assert await bridge.run(["x"], timeout=10) == (9, b"")
