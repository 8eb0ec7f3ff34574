"""A HAProxy in a container, and confsync's hands on it: engine, bridge, and what is inside."""

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

from confsync.adapters.docker.archive import File, pack
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import ONE_OFF, Container
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.master import Masters
from confsync.adapters.docker.options import DockerOptions
from tests.support import machine
from tests.support.containers import docker
from tests.support.process import wait_until

ETC = "/usr/local/etc/haproxy"
MAIN = f"{ETC}/haproxy.cfg"
CONFIG = """\
global
    stats socket /tmp/admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend front
    bind 127.0.0.1:8080
"""
STARTED = ("haproxy", "-W", "-db", "-S", "/tmp/master.sock", "-f", MAIN)


class Box:
    """One container; without a `folder` its files are its own."""

    def __init__(self, image: str, folder: Path | None = None) -> None:
        self.image = machine.docker_image(image)
        self.folder = folder
        self.name = f"confsync-test-{secrets.token_hex(4)}"

    def create(self, *command: str, options: tuple[str, ...] = ()) -> None:
        shared = ("-v", f"{self.folder}:{ETC}") if self.folder else ()
        docker(
            *("create", "--name", self.name, "--network", "none", "--tmpfs", "/run"),
            *(*shared, *options, self.image, *(command or STARTED)),
        )

    def start(self) -> None:
        docker("start", self.name)

    def run(self, *command: str, options: tuple[str, ...] = ()) -> None:
        """Start it; HAProxy's master answers when this returns."""
        self.create(*command, options=options)
        self.start()
        self.wait()

    def wait(self) -> None:
        try:
            wait_until(lambda: self.status("test", "-S", "/tmp/admin.sock") == 0, "HAProxy")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.logs()}") from None

    def sh(self, script: str, *arguments: str) -> str:
        return docker("exec", "--user", "0", self.name, "sh", "-ec", script, "sh", *arguments)

    def status(self, *argv: str) -> int:
        argv = ("docker", "exec", self.name, *argv)
        return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode

    def files(self, folder: str = ETC) -> list[str]:
        return sorted(self.sh('ls -A "$1"', folder).split())

    def read(self, path: str) -> str:
        return docker("exec", "--user", "0", self.name, "cat", path) + "\n"

    def put(self, path: str, text: str) -> None:
        """Have a file there, in a container that runs or not, as another hand would put it."""
        argv = ["docker", "cp", "-", f"{self.name}:{path.rpartition('/')[0]}"]
        subprocess.run(argv, input=pack([File(path=path, data=text.encode())]), check=True)

    def logs(self) -> str:
        argv = ["docker", "logs", self.name]
        return subprocess.run(argv, capture_output=True, check=False).stderr.decode()

    def pause(self) -> None:
        docker("pause", self.name)

    def ended(self) -> None:
        """Wait for its end."""
        docker("wait", self.name)

    def one_offs(self) -> list[str]:
        """List containers that were made beside this one for a moment, and not removed."""
        made = docker("ps", "-aq", "--filter", f"label={ONE_OFF}").split()
        ident = docker("inspect", "-f", "{{.Id}}", self.name)
        beside = [
            docker("inspect", "-f", "{{.HostConfig.VolumesFrom}}", m, check=False) for m in made
        ]
        return [each for each in beside if ident in each]

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.name, check=False)


class Hands:
    """An engine and a bridge for one box, in the running loop."""

    def __init__(self, box: Box, *, bridged: bool = True) -> None:
        self.engine = Engine(DockerOptions(container=box.name))
        self.bridge = Bridge(self.engine)
        self.inside = Inside(self.engine, self.bridge if bridged else None)
        self.masters = Masters(self.inside)
        self._box = box

    async def container(self) -> Container:
        return await self.engine.find(self._box.name)

    async def reload(self) -> None:
        """Have the master reload, so that its environment is that of a reloaded one."""
        await self.engine.run(
            self._box.name,
            ["perl", "-MIO::Socket::UNIX", "-e", _RELOAD],
            timeout=10,
        )

    def close(self) -> None:
        self.bridge.close()
        self.engine.close()


_RELOAD = (
    '$s=IO::Socket::UNIX->new("/tmp/master.sock")or die;print $s "reload\\n";'
    "shutdown($s,1);local $/;print <$s>"
)


@contextlib.contextmanager
def hands(box: Box, *, bridged: bool = True) -> Iterator[Hands]:
    made = Hands(box, bridged=bridged)
    try:
        yield made
    finally:
        made.close()
