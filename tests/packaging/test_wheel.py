"""The wheel as an ordinary user installs it: `uv tool install`, which does what pipx does."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from confsync import __version__
from tests.support import machine
from tests.support.backend import Backends
from tests.support.containers import get
from tests.support.haproxy import Haproxy, simple_config
from tests.support.load import Load
from tests.support.process import Process, wait_until

pytestmark = pytest.mark.timeout(300)  # it is built and installed from the package index
PROJECT = Path(__file__).parents[2]
UV = PROJECT / "scripts" / "uv"
NOBODY = 65534


class Somebody:
    """An ordinary user with a home, and with a program of ours in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / ".local" / "bin"
        self.env = {
            **{key: value for key, value in os.environ.items() if "CONFSYNC" not in key},
            "HOME": str(home),
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            # pyenv and the like have folders that are not this user's.
            "UV_PYTHON": "/usr/bin/python3",
            "UV_CACHE_DIR": str(home / "cache"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_BIN_HOME": str(self.bin),
        }
        self.own(home)

    def own(self, *paths: Path) -> None:
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, NOBODY, NOBODY)

    def words(self, *command: object) -> list[str]:
        """Make a command one of this user's."""
        words = [str(word) for word in command]
        if os.geteuid():
            return words
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [*become, *words]

    def run(self, *command: object, exit_code: int = 0) -> str:
        done = subprocess.run(
            self.words(*command),
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr


def _output(command: Sequence[object]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def somebody(tmp_short: Path) -> Somebody:
    """The wheel is in this user's home, and so is uv."""
    if not Path("/usr/bin/python3").exists():
        raise machine.Missing("no /usr/bin/python3")
    user = Somebody(tmp_short)
    _output([UV, "build", "--quiet", "--wheel", "--out-dir", tmp_short / "dist", PROJECT])
    # uv may be a wrapper, in a folder that others may not enter.
    shutil.copy(_output([UV, "run", "--no-sync", "sh", "-c", 'printf %s "$UV"']), tmp_short / "uv")
    (wheel,) = (tmp_short / "dist").glob("*.whl")
    (tmp_short / "dist").chmod(0o755)
    user.run(tmp_short / "uv", "tool", "install", "--quiet", wheel)
    return user


def test_an_ordinary_user_installs_uses_and_uninstalls_it_under_load(
    somebody: Somebody, tmp_short: Path
) -> None:
    home, user = tmp_short, somebody
    assert user.run("confsync", "--version") == f"confsync {__version__}\n"
    assert "good" in user.run("confsync", "check", "--no-haproxy")
    assert (home / "data/uv/tools/confsync/share/man/man1/confsync.1").is_file()

    haproxy = Haproxy("2.6", home / "h")
    port, stats = machine.free_ports(2)
    user.own(haproxy.directory, haproxy.etc, haproxy.run)
    services = home / "services.json"
    (home / "confsync.toml").write_text(
        f'[source]\ntype = "file"\npath = "services.json"\n'
        f'[[template]]\nsource = "builtin:haproxy.cfg"\ndestination = "{haproxy.cfg}"\n'
        f'[template.vars]\nbind = "127.0.0.1:{port}"\nlog = ""\n'
        f'stats_bind = "127.0.0.1:{stats}"\n'
        f'[target]\nconfig = "{haproxy.cfg}"\nmaster_socket = "{haproxy.master_socket}"\n'
        f'stats_socket = "{haproxy.admin_socket}"\n[state]\ndirectory = "state"\n'
    )
    with Backends() as backends:

        def serve(*ports: int) -> None:
            rows = [{"id": f"w{each}", "address": "127.0.0.1", "port": each} for each in ports]
            services.write_text(json.dumps({"services": [{"name": "web", "instances": rows}]}))

        first, second = backends.start_many(2)
        serve(first)
        haproxy.cfg.write_text(simple_config(haproxy, port=port, servers=[first]))
        user.own(haproxy.cfg)
        argv = [haproxy.binary, "-W", "-db", "-S", haproxy.master_socket, "-f", haproxy.cfg]
        balancer = Process(user.words(*argv), log=home / "haproxy.log")
        try:
            wait_until(haproxy.admin_socket.exists, "HAProxy")
            wait_until(haproxy.master_socket.exists, "its master")
            wait_until(lambda: get("127.0.0.1", port)[0] == 200, "its answer")
            with Load(port, host_header="web", streams=1) as load:
                load.wait_server(f"s{first}")
                assert "reloaded" in user.run("confsync", "once", "--apply", "--adopt")
                serve(first, second)
                user.run("confsync", "once", exit_code=3)
                user.run("confsync", "once", "--apply")
                load.wait_server(f"s{second}")
                user.run(home / "uv", "tool", "uninstall", "confsync")
                assert not (user.bin / "confsync").exists()
                load.wait_ok(20)
                report = load.stop()
        finally:
            balancer.stop()
    assert report.failed_as == {}
    assert report.streams_alive == 1
