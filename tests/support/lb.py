"""HAProxy in a container of the stand-in for its official image, as the docker target meets it.

On the host's network, so that load and toy servers are on loopback; its files and sockets are where
the test says: on a shared folder, or inside alone.
"""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support import machine
from tests.support.containers import Container, docker
from tests.support.process import wait_until

INSIDE = "/usr/local/etc/haproxy"
LABEL = "confsync.test"


class Lb(Container):
    """One container. `etc`: the shared folder of its configuration; `run`: that of its sockets.

    `shared`: mount `etc`, else files must be put in. `way`: "shared" (sockets on `run`), "inside"
    (sockets in the container alone), "stats" (a stats socket inside, no master's) or "none".
    """

    def __init__(
        self, folder: Path, version: str = "2.6", *, shared: bool = True, way: str = "shared"
    ) -> None:
        super().__init__(f"confsync-test-{secrets.token_hex(4)}")
        self.version = version
        self.shared = shared
        self.way = way
        self.label = f"{LABEL}={self.name}"
        self.etc, self.run = folder / "etc", folder / "run"
        for made in (self.etc, self.run):
            made.mkdir(parents=True, exist_ok=True)
            made.chmod(0o777)  # HAProxy's user is another one
        # Short: a unix socket's path holds some 100 bytes.
        sockets = self.run if way == "shared" else Path("/var/lib/haproxy")
        self.master_socket, self.stats_socket = sockets / "master.sock", sockets / "admin.sock"
        self.options: Sequence[str] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", "--volumes", self.name, check=False)

    @property
    def config(self) -> str:
        """`target.config`: as confsync sees it."""
        return f"{self.etc}/haproxy.cfg" if self.shared else f"{INSIDE}/haproxy.cfg"

    def create(self, *options: str, start: bool = True, version: str = "") -> None:
        """Make the container, from the image of a version."""
        image = machine.docker_image(f"stock-{version or self.version}")
        argv = ["--name", self.name, "--label", self.label, "--network", "host"]
        argv += [*self.options, *options]
        if self.shared:
            argv += ["--volume", f"{self.etc}:{INSIDE}"]
        if self.way == "shared":
            argv += ["--volume", f"{self.run}:{self.run}"]
        command = ["haproxy", "-W", "-db", "-f", f"{INSIDE}/haproxy.cfg"]
        if self.way in {"shared", "inside"}:
            command[3:3] = ["-S", f"{self.master_socket},mode,666"]
        docker("create", *argv, image, *command)
        if start:
            self.start()

    def again(self, *options: str, version: str = "") -> None:
        """Replace it by a new one of the same name and label."""
        self.remove()
        self.create(*options, version=version)

    def target(self, container: str = "", **extra: str) -> str:
        """Write [target] for the settings file."""
        stats = self.stats_socket if self.way != "none" else "/nowhere/admin.sock"
        master = self.master_socket if self.way in {"shared", "inside"} else "/nowhere/master.sock"
        lines = {
            "type": "docker",
            "container": container or f"label={self.label}",
            "config": self.config,
            "directory": INSIDE if self.shared else "",
            "master_socket": str(master),
            "stats_socket": str(stats),
            **extra,
        }
        return "[target]\n" + "".join(f'{key} = "{value}"\n' for key, value in lines.items())

    def workers(self) -> set[str]:
        """Name HAProxy's workers, old ones too, by the host's pids; none when it does not run."""
        rows = docker("top", self.name, "-eo", "pid,ppid,args", check=False).splitlines()[1:]
        found = [row.split(None, 2) for row in rows if "haproxy" in row]
        pids = {row[0] for row in found}
        return {row[0] for row in found if row[1] in pids}

    def wait_worker(self) -> str:
        """Wait until it has one worker, and name it."""

        def one() -> str:
            found = self.workers()
            return found.pop() if len(found) == 1 else ""

        return wait_until(one, f"a worker in {self.name}")

    def file(self, name: str = "haproxy.cfg") -> str:
        """Read a file as the container has it."""
        return docker("exec", self.name, "cat", f"{INSIDE}/{name}", check=False)

    def servers(self) -> set[str]:
        """Name the servers in the configuration that the container has."""
        return set(re.findall(r"^\s*server (\S+)", self.file(), re.MULTILINE))
