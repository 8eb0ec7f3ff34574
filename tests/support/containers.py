"""Containers of a test: all named after one run, on a network of their own, removed at its end.

What stands in for public images is built here from what `prepare` left: the sidecar as its Dockerfile
has it, Consul around the test bed's binary, a stub of registrator and a demo service.
"""

import contextlib
import fcntl
import http.client
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import machine
from tests.support.process import wait_until

ROOT = Path(__file__).parents[2]
IMAGES = Path(__file__).with_name("images")
# No rights at all, and nothing but volumes to write to.
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def docker(*args: str, check: bool = True, timeout: float = 120, stdin: str = "") -> str:
    """Call Docker; return what it printed."""
    done = subprocess.run(
        ["docker", *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(args)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout.strip()


# Images


def sidecar(version: str) -> str:
    """Build the sidecar on the stand-in for haproxy:VERSION, once for all workers; return its tag."""
    return _ours("sidecar", version, machine.docker_image(f"stock-{version}"))


def balancer(debian: int = 13) -> str:
    """Build the whole load balancer's image on the stand-in for a Debian, once for all workers."""
    return _ours("image", str(debian), machine.docker_image(f"debian-{debian}"))


def _ours(folder: str, version: str, base: str) -> str:
    arguments = ["--file", str(ROOT / "deploy" / folder / "Dockerfile")]
    for name in ("PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy"):
        if name in os.environ:
            arguments += ["--build-arg", name]
    arguments += ["--build-arg", f"BASE={base}"]
    tag = f"confsync-testbed/{folder}-{version}"
    with _lock(f"{folder}-{version}"):
        # The first stages have a name too, so that the next run finds their layers.
        _build(f"{tag}-build", ROOT, *arguments, "--target", "build")
        return _build(tag, ROOT, *arguments)


def consul_image() -> str:
    """Build an image that behaves as hashicorp/consul does for `agent -dev`."""
    context = IMAGES / "consul"
    return _stub("consul", context, {"consul": Path(machine.consul_binary())})


def registrator_image() -> str:
    """Build the stub of gliderlabs/registrator."""
    return _stub("registrator", IMAGES / "registrator")


def demo_image() -> str:
    """Build a service that says its host's name."""
    return _stub("demo", IMAGES / "demo", {"worker.py": ROOT / "tests/support/backend_worker.py"})


def lb_host_image() -> str:
    """Build a machine with systemd and all that `confsync lb` starts."""
    return _stub("lbhost", IMAGES / "lbhost", base="debian-12")


def _stub(
    name: str, context: Path, files: Mapping[str, Path] | None = None, *, base: str = "systemd"
) -> str:
    """Build a small image on one that has Python."""
    base = machine.docker_image(base)
    with _lock(name), tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "context"
        shutil.copytree(context, made)
        for target, source in (files or {}).items():
            shutil.copy2(source, made / target)
        return _build(f"confsync-testbed/{name}", made, "--build-arg", f"BASE={base}")


def _build(tag: str, context: Path, *arguments: str) -> str:
    """Build an image; what had the tag before goes, unless a container of another test runs on it."""
    with building():
        before = docker("image", "inspect", "-f", "{{.Id}}", tag, check=False)
        docker("build", "--quiet", "--tag", tag, *arguments, str(context), timeout=600)
        after = docker("image", "inspect", "-f", "{{.Id}}", tag)
    if before.startswith("sha256:") and before != after:
        tidy(before)
    return tag


@contextlib.contextmanager
def _lock(name: str, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Let one of several test workers build at a time."""
    folder = machine.cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, how)
        yield


def building() -> contextlib.AbstractContextManager[None]:
    """Keep `tidy` away: what a build has made has no name until its end, and no container yet."""
    return _lock("images", fcntl.LOCK_SH)


def tidy(*images: str) -> None:
    """Remove images, and ours that have lost their name; leave that to the next who builds now."""
    with contextlib.suppress(BlockingIOError), _lock("images", fcntl.LOCK_EX | fcntl.LOCK_NB):
        for image in images:
            docker("rmi", image, check=False)
        for title in ("confsync", "confsync-lb"):
            ours = f"label=org.opencontainers.image.title={title}"
            docker("image", "prune", "--force", "--filter", ours, check=False)


# Containers


class Container:
    """One container, by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.python = ("docker", "exec", "-i", name, "python3")

    def inspect(self, template: str) -> str:
        """Ask for one thing: `{{.State.Status}}`."""
        return docker("inspect", "-f", template, self.name)

    @property
    def address(self) -> str:
        """Its address on its network; another one after a restart, maybe."""
        return self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    @property
    def running(self) -> bool:
        return self.inspect("{{.State.Running}}") == "true"

    @property
    def health(self) -> str:
        return self.inspect("{{.State.Health.Status}}")

    @property
    def environment(self) -> str:
        return self.inspect("{{json .Config.Env}}")

    def logs(self) -> str:
        """Return all that it has said, over restarts too: what is new comes last."""
        argv = ["docker", "logs", self.name]
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )
        return done.stdout

    def exec(self, *argv: str, check: bool = True) -> str:
        return docker("exec", self.name, *argv, check=check)

    def status(self, *argv: str) -> int:
        """Run a command in it and return its exit code."""
        argv = ("docker", "exec", self.name, *argv)
        return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode

    def restart(self) -> None:
        docker("restart", self.name)

    def kill(self, signal: str = "KILL") -> None:
        docker("kill", "--signal", signal, self.name)

    def start(self) -> None:
        docker("start", self.name)

    def remove(self) -> None:
        """Remove it as if it crashed, its anonymous volumes with it."""
        docker("rm", "--force", "--volumes", self.name)

    def wait_log(
        self, wanted: Callable[[dict[str, Any]], object], since: int = 0
    ) -> dict[str, Any]:
        """Wait for a line of its JSON log, after `since` bytes, that `wanted` accepts."""

        def found() -> dict[str, Any] | None:
            for line in self.logs()[since:].splitlines():
                with contextlib.suppress(ValueError):
                    entry: dict[str, Any] = json.loads(line)
                    if wanted(entry):
                        return entry
            return None

        try:
            return wait_until(found, f"a line of {self.name}") or {}
        except TimeoutError as error:
            raise AssertionError(f"{error}; it says:\n{self.logs()[-3000:]}") from None

    def mark(self) -> int:
        """Remember a place in the log, for `wait_log`."""
        return len(self.logs())


class Project:
    """A network, volumes and containers that end together."""

    def __init__(self) -> None:
        self.name = f"confsync-test-{secrets.token_hex(4)}"
        self._containers: dict[str, Container] = {}
        self._volumes: list[str] = []
        docker("network", "create", self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all, whatever state it is in."""
        for container in self._containers.values():
            docker("rm", "--force", "--volumes", container.name, check=False)
        for volume in self._volumes:
            docker("volume", "rm", "--force", volume, check=False)
        docker("network", "rm", self.name, check=False)

    def volume(self, name: str) -> str:
        """Name a volume of this project; Docker makes it when it is first mounted."""
        full = f"{self.name}-{name}"
        if full not in self._volumes:
            self._volumes.append(full)
        return full

    def run(
        self, name: str, image: str, *command: str, options: Sequence[str] = (), alias: str = ""
    ) -> Container:
        """Start a container in the background; others reach it by its name."""
        container = Container(f"{self.name}-{name}")
        self._containers[name] = container
        network = ["--network", self.name, "--network-alias", alias or name]
        argv = ["run", "--detach", "--name", container.name, *network, *options, image, *command]
        docker(*argv)
        return container


class RemoteConsul:
    """The API of a Consul agent in a container."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def wait_ready(self) -> None:
        """Wait for its leader."""

        def leader() -> object:
            with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
                return self.ask("GET", "/v1/status/leader")
            return None

        wait_until(leader, "Consul's leader")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self._container.address, 8500, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body).encode())
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None

    def register(self, name: str, ident: str, address: str, port: int) -> None:
        body = {"ID": ident, "Name": name, "Address": address, "Port": port}
        self.ask("PUT", "/v1/agent/service/register", body)

    def deregister(self, ident: str) -> None:
        self.ask("PUT", f"/v1/agent/service/deregister/{ident}")


def get(address: str, port: int, host: str = "test") -> tuple[int, str]:
    """Ask once over HTTP; (0, "") when nothing answers."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/", headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return 0, ""
