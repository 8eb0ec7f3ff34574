"""A configuration that somebody wrote is served, read anew, and refused when it is wrong."""

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Soak
from tests.integration.lb.conftest import on_both
from tests.support.backend import Backends
from tests.support.balancer import Balancer, config, end
from tests.support.figures import Figures
from tests.support.load import Load
from tests.support.process import alive, wait_until

HOST = {"Host": "test"}


def get(port: int, path: str = "/", timeout: float = 10) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=HOST)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return str(answer.read().decode())


def pair(lb: Balancer) -> list[int]:
    """Name HAProxy's master and worker; nothing while a check, which is a child too, runs."""
    found = lb.children()
    return found if len(found) == 2 else []


@on_both
def test_a_file_alone_is_served_and_a_stop_leaves_nothing(lb: Balancer, port: int) -> None:
    lb.config.write_text(config(port, answer="hello"))
    lb.up()
    assert get(port) == "hello"
    assert lb.config.read_text() == config(port, answer="hello"), "the source stays as it is"
    lb.wait_cycle("in step")
    assert lb.reloads() == 0, "started once, with the checked file"
    shown = lb.run("status")
    assert shown.returncode == 0, shown.stderr
    assert f"programs: haproxy {lb.child()}" in shown.stdout
    left = wait_until(lambda: pair(lb), "a master and its worker")
    assert lb.stop() == 0
    assert not any(map(alive, left))
    with pytest.raises(urllib.error.URLError):
        get(port)


@on_both
def test_old_habits_do_no_harm(lb: Balancer, port: int) -> None:
    """What configurations of years ago have; and how editors of other systems save them."""
    (lb.folder / "jail").mkdir()
    text = config(port, answer="hello").replace(
        "global\n",
        f"global\n    master-worker\n    pidfile {lb.folder}/pid\n    chroot {lb.folder}/jail\n"
        f"    user nobody\n    stats socket {lb.directory}/admin.sock mode 600\n",
        1,
    )
    lb.config.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    lb.up()
    assert get(port) == "hello"
    assert (lb.state.stat().st_mode & 0o777) == 0o700
    mark = lb.mark()
    lb.again()
    lb.wait_cycle("reloaded", since=mark)
    assert get(port) == "hello"
    mark = lb.mark()
    lb.config.unlink()
    lb.again()
    line = lb.event("settings refused, the old ones stay", since=mark)
    assert "no such file" in str(line)
    assert get(port) == "hello"
    assert lb.stop() == 0


def test_folders_of_its_own_sockets_are_made(lb: Balancer, port: int, tmp_short: Path) -> None:
    """As in Debian's own file, which relies on a unit for /run/haproxy."""
    own, other = tmp_short / "one" / "admin.sock", tmp_short / "two" / "admin.sock"
    text = config(port, answer="x")
    lb.config.write_text(text.replace("daemon\n", f"daemon\n    stats socket {own} level admin\n"))
    lb.up()
    assert own.is_socket()
    lb.wait_cycle("in step")
    mark = lb.mark()
    lb.config.write_text(text.replace("daemon\n", f"daemon\n    stats socket {other} level user\n"))
    lb.again()
    lb.wait_cycle("reloaded", since=mark)
    assert other.is_socket()


@on_both
def test_hup_takes_a_good_file_and_refuses_a_bad_one_without_loss(
    lb: Balancer, port: int, backends: Backends, soak: Soak, figures: Figures
) -> None:
    first, second = backends.start("one"), backends.start("two")
    lb.config.write_text(config(port, first))
    lb.up()
    rounds = soak.n(4, 50)
    with Load(port, keepalive=4, close=4, streams=1, seconds=800) as load:
        load.wait(lambda report: report.ok > 50 and report.streams_alive == 1, "a running load")
        for number in range(rounds):
            mark = lb.mark()
            lb.config.write_text(config(port, *((first, second) if number % 2 == 0 else (first,))))
            lb.again()
            lb.wait_cycle("reloaded", since=mark)
            load.wait_ok(20)
            mark = lb.mark()
            lb.config.write_text(config(port, first, extra="    bogus word\n"))
            lb.again()
            line = lb.wait_cycle("failed", since=mark)
            assert f"{lb.config}:18: " in str(line["error"]), "the operator's own file and line"
            load.wait_ok(20)
        report = load.stop()
    figures(report, reloads=rounds)
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert "two" in report.servers
    assert lb.stop() == 0


def test_hup_reloads_though_the_file_is_the_same(lb: Balancer, port: int, tmp_short: Path) -> None:
    """What the configuration names may have changed: error pages, lists, scripts."""
    page = tmp_short / "page.txt"
    page.write_text("old")
    line = f"    http-request return status 200 content-type text/plain file {page}\n"
    text = config(port, answer="x").replace(
        "    http-request return status 200 content-type text/plain string x\n", line
    )
    lb.config.write_text(text)
    lb.up()
    lb.wait_cycle("in step")
    assert get(port) == "old"
    page.write_text("new")
    mark = lb.mark()
    lb.again()
    lb.wait_cycle("reloaded", since=mark)
    wait_until(lambda: get(port) == "new", "the new page")  # the old worker may still accept
    mark = lb.mark()
    lb.again()
    lb.wait_cycle("reloaded", since=mark)  # also where nobody can tell that anything differs
    assert lb.reloads() == 2


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("global\n    bogus word\n", 65, "haproxy.cfg:2: unknown keyword 'bogus'"),
        (
            "global\n    nbproc 3\ndefaults\n    mode http\n",
            65,
            "haproxy.cfg:2: nbproc: HAProxy from 2.5 on is one process with threads",
        ),
        ("", 78, "haproxy.cfg: no such file, and no "),
    ],
)
def test_what_cannot_be_served_is_one_clear_error(
    lb: Balancer, text: str, code: int, words: str
) -> None:
    if text:
        lb.config.write_text(text)
    lb.start()
    wait_until(lambda: not lb.process.running, "its end")
    assert lb.process.exit_code == code
    assert words in lb.output()
    assert "Traceback" not in lb.output()
    checked = lb.run("check")
    assert checked.returncode == code
    assert words in checked.stderr


def test_a_port_that_is_taken_is_an_error_with_haproxys_words(lb: Balancer, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        lb.config.write_text(config(port, answer="hello"))
        lb.start()
        wait_until(lambda: not lb.process.running, "its end")
    assert lb.process.exit_code == 69
    assert "haproxy ended at its start" in lb.output()
    assert "cannot bind socket" in lb.output()


def test_one_that_was_killed_is_told_of_what_it_left_behind(lb: Balancer, port: int) -> None:
    lb.config.write_text(config(port, answer="hello"))
    lb.up()
    left = wait_until(lambda: pair(lb), "a master and its worker")
    lb.process.kill9()
    try:
        lb.start()
        wait_until(lambda: not lb.process.running, "its end")
        assert lb.process.exit_code == 75
        assert f"listens on {lb.master_socket} already (pid {left[0]})" in lb.output()
        assert get(port) == "hello", "it serves on"
    finally:
        for pid in left:
            end(pid)
    mark = lb.mark()
    lb.start()
    lb.event("HAProxy answers", since=mark)
    wait_until(lambda: lb.run("status").returncode == 0, "all well")
    assert get(port) == "hello"


class TestDeaths:
    @on_both
    @pytest.mark.parametrize("who", ["master", "worker"])
    def test_of_haproxy_is_mended(self, lb: Balancer, port: int, who: str) -> None:
        lb.config.write_text(config(port, answer="hello"))
        lb.up()
        before = wait_until(lambda: pair(lb), "a master and its worker")
        os.kill(lb.child() if who == "master" else lb.worker(), signal.SIGKILL)
        lb.event("HAProxy does not answer")
        lb.event("HAProxy answers again")
        assert get(port) == "hello"
        assert not any(map(alive, before)), "nothing of the old one is left"
        wait_until(lambda: pair(lb), "a master and its worker")
        wait_until(lambda: lb.run("status").returncode == 0, "all well")
        assert "start 2 (" in lb.run("status").stdout

    def test_a_haproxy_that_hangs_is_told_and_started_anew(self, lb: Balancer, port: int) -> None:
        lb.env["CONFSYNC_LB__HUNG"] = "8"  # time enough for a look at the status
        lb.config.write_text(config(port, answer="hello"))
        lb.up()
        os.kill(lb.worker(), signal.SIGSTOP)
        lb.event("HAProxy does not answer", why="HAProxy did not answer within 0.25 s")
        shown = lb.run("status")
        assert shown.returncode == 69
        assert "unfit:" in shown.stdout
        lb.event("HAProxy hangs and is started anew")
        lb.event("HAProxy answers again")
        assert get(port) == "hello"

    def test_a_page_that_fails_makes_it_unfit_and_is_no_reason_to_end_it(
        self, lb: Balancer, port: int, backends: Backends
    ) -> None:
        server = backends.start("one")
        lb.env |= {"CONFSYNC_LB__PROBE": f"http://127.0.0.1:{port}/", "CONFSYNC_LB__HUNG": "3"}
        lb.config.write_text(config(port, server))
        lb.up()
        backends.answer_with(server, 503)
        said = lb.event("HAProxy does not answer")
        assert str(said["why"]).startswith(f"http://127.0.0.1:{port}/ answers HTTP/1.1 503")
        wait_until(lambda: lb.run("status").returncode == 69, "the status")
        time.sleep(4)  # longer than what hangs may live
        backends.answer_with(server, 200)
        lb.event("HAProxy answers again")
        assert "programs: haproxy" in lb.run("status").stdout
        assert len([e for e in lb.log() if e.get("event") == "program runs"]) == 1


class TestEnd:
    @on_both
    def test_what_runs_is_let_end(self, lb: Balancer, port: int, backends: Backends) -> None:
        lb.config.write_text(config(port, backends.start("one")))
        lb.up()
        with Load(port, keepalive=2, close=2, streams=0) as load:
            load.wait(lambda report: report.ok > 20, "a running load")
        slow = socket.create_connection(("127.0.0.1", port), timeout=10)
        slow.sendall(b"GET /stream?s=2.5 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert slow.recv(10)
        began = time.monotonic()
        lb.process.signal(signal.SIGTERM)
        rest = b"".join(iter(lambda: slow.recv(65536), b""))
        slow.close()
        wait_until(lambda: not lb.process.running, "its end")
        assert lb.process.exit_code == 0
        assert rest.endswith(b"0\r\n\r\n"), "to its last byte"
        assert time.monotonic() - began > 0.5

    def test_who_does_not_end_in_time_is_ended(
        self, lb: Balancer, port: int, backends: Backends
    ) -> None:
        lb.env["CONFSYNC_LB__DRAIN"] = "1"
        lb.config.write_text(config(port, backends.start("one")))
        lb.up()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as endless:
            endless.sendall(b"GET /stream?s=0 HTTP/1.1\r\nHost: test\r\n\r\n")
            assert endless.recv(10)
            left = lb.children()
            assert lb.stop() == 0
        assert not any(map(alive, left))
        assert any(line.get("event") == "program does not end" for line in lb.log())


def test_the_password_reaches_no_child_and_no_log(lb: Balancer, port: int) -> None:
    lb.config.write_text(config(port, answer="hello"))
    lb.words = ("192.0.2.7", "s3cret-word", "192.0.2.8")
    lb.env |= {"HA": "none", "CONFSYNC_SOURCE_TOKEN": "x"}
    lb.start()
    lb.event("HAProxy answers")
    for pid in wait_until(lambda: pair(lb), "a master and its worker"):
        for name in ("cmdline", "environ"):
            assert b"s3cret-word" not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert lb.stop() == 0
    lb.words, lb.env["PASSWORD"] = ("192.0.2.7",), "s3cret-word"
    mark = lb.mark()
    lb.start()
    lb.event("HAProxy answers", since=mark)
    for pid in wait_until(lambda: pair(lb), "a master and its worker"):
        assert b"s3cret-word" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert lb.stop() == 0
    assert "s3cret-word" not in lb.output()
