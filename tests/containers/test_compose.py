"""deploy/compose as it stands, with local images in the place of the public ones: up, traffic, down.

The stub of registrator registers what Compose starts, with registrator's own payloads.
"""

import functools
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.containers import (
    balancer,
    building,
    consul_image,
    demo_image,
    docker,
    get,
    registrator_image,
    sidecar,
)
from tests.support.load import Load
from tests.support.polling import Polling
from tests.support.process import wait_until

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the images
DEPLOY = Path(__file__).parents[2] / "deploy" / "compose"
FILE = DEPLOY / "docker-compose.yml"
PAIR = DEPLOY / "pair" / "docker-compose.yml"


class Compose:
    """One project of the file."""

    def __init__(self, variables: Mapping[str, str], file: Path = FILE) -> None:
        self.name = f"confsync-test-{secrets.token_hex(4)}"
        self._command = (*machine.compose(), "--project-name", self.name, "--file", str(file))
        # No BuildKit: a machine may lack its plugin.
        self._environment = {**os.environ, "DOCKER_BUILDKIT": "0", **variables}

    def __call__(self, *argv: str) -> str:
        done = subprocess.run(
            [*self._command, *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=self._environment,
        )
        assert done.returncode == 0, f"compose {' '.join(argv)}: {done.stderr}"
        return done.stdout

    def up(self, *options: str, **scale: int) -> None:
        counts = [word for name, n in scale.items() for word in ("--scale", f"{name}={n}")]
        with building():
            self("up", "--detach", *options, *counts)

    def left(self) -> list[str]:
        """Name all that Docker still has of the project."""
        label = f"label=com.docker.compose.project={self.name}"
        kinds = (("container", "ls", "--all"), ("volume", "ls"), ("network", "ls"))
        return [
            found
            for kind in kinds
            for found in docker(*kind, "--quiet", "--filter", label).splitlines()
        ]


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    http, stats = machine.free_ports(2)
    return {
        "CONSUL_IMAGE": consul_image(),
        "REGISTRATOR_IMAGE": registrator_image(),
        "HAPROXY_IMAGE": machine.docker_image("stock-3.2"),
        "CONFSYNC_IMAGE": sidecar("3.2"),
        "DEMO_IMAGE": demo_image(),
        "HTTP": f"127.0.0.1:{http}",
        "STATS": f"127.0.0.1:{stats}",
    }


@pytest.fixture
def compose(variables: dict[str, str]) -> Iterator[Compose]:
    project = Compose(variables)
    yield project
    project("down", "--volumes", "--timeout", "1")
    assert project.left() == []


def test_a_site_comes_up_with_nothing_serves_what_registrator_finds_and_goes(
    compose: Compose, variables: dict[str, str]
) -> None:
    port, stats = (int(variables[name].rpartition(":")[2]) for name in ("HTTP", "STATS"))
    compose.up("--build", web=0, api=0)
    wait_until(lambda: get("127.0.0.1", port)[0] == 503, "a serving HAProxy", timeout=60)
    assert get("127.0.0.1", stats)[0] == 200

    compose.up("--no-recreate", web=1, api=1)
    for host in ("web", "api.example.org"):
        wait_until(functools.partial(answers, port, host), host)

    with Load(port, host_header="web", streams=0) as load:
        load.wait_ok(50)
        compose.up("--no-recreate", web=2, api=1)
        load.wait(lambda report: len(report.servers) == 2, "two servers")
        compose("restart", "confsync")
        load.wait_ok(200)
        # Its container is gone before anyone knows: the requests go to the other one.
        compose.up("--no-recreate", web=1, api=1)
        wait_until(lambda: config(compose).count("\n    server ") == 2, "one server each")
        load.wait_ok(200)
        report = load.stop()
    assert report.failed_as == {}
    assert len(report.servers) == 2
    assert "added: " in compose("logs", "registrator")

    compose("down", "--volumes", "--timeout", "1")
    assert compose.left() == []


def answers(port: int, host: str) -> bool:
    return get("127.0.0.1", port, host)[0] == 200


def config(compose: Compose) -> str:
    return compose("exec", "-T", "haproxy", "cat", "/etc/haproxy/haproxy.cfg")


@pytest.fixture(scope="module")
def of_pair(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    password = tmp_path_factory.mktemp("secret") / "password"
    password.write_text("0nly-in-this-test\n")
    images = {name: variables[name] for name in PUBLIC}
    return {
        **images,
        "LB_IMAGE": balancer(),
        "BASE": machine.docker_image("debian-13"),
        "NET": f"10.{180 + secrets.randbelow(60)}.{secrets.randbelow(256)}",
        "PASSWORD_FILE": str(password),
    }


PUBLIC = ("CONSUL_IMAGE", "REGISTRATOR_IMAGE", "DEMO_IMAGE")


@pytest.fixture
def pair(of_pair: dict[str, str]) -> Iterator[Compose]:
    project = Compose(of_pair, PAIR)
    yield project
    project("down", "--volumes", "--timeout", "1")
    assert project.left() == []


def test_a_pair_serves_what_registrator_finds_and_survives_the_stop_of_either(
    pair: Compose, of_pair: dict[str, str]
) -> None:
    vip = f"{of_pair['NET']}.100"
    # Not built here: LB_IMAGE is what the file would build, and is tested as such.
    pair.up("--no-build")
    for host in ("web", "api.example.org"):
        wait_until(lambda h=host: get(vip, 80, h)[0] == 200, host, timeout=60)  # type: ignore[misc]
    for _ in range(2):
        # Both may have it, for a moment, when they start at once.
        (name,) = wait_until(lambda: one(holders(pair, vip)), "one holder")
        (other,) = {"lb-a", "lb-b"} - {name}
        wait_until(lambda o=other: takes_part(pair, o), f"{other} in the election")  # type: ignore[misc]
        with Polling(vip, host="web") as client:
            wait_until(lambda: get(vip, 80, "web")[0] == 200, "an answer")
            pair("stop", name)
            polls = client.stop()
        wait_until(lambda o=other: holders(pair, vip) == [o], "the other one's turn")  # type: ignore[misc]
        assert polls.failed_at_once, polls.failed
        assert len(polls.all) > 20
        pair("start", name)


def one(names: list[str]) -> list[str]:
    return names if len(names) == 1 else []


def takes_part(pair: Compose, name: str) -> bool:
    try:
        shown = pair("exec", "-T", name, "confsync", "status", "--output", "json")
    except AssertionError:
        return False
    return json.loads(shown)["balancer"]["vip"]["role"] == "waits"  # type: ignore[no-any-return]


def holders(pair: Compose, vip: str) -> list[str]:
    """List which of the two have the address."""
    running = pair("ps", "--services", "--status", "running").split()
    names = sorted({"lb-a", "lb-b"} & set(running))
    return [n for n in names if f" {vip}/" in pair("exec", "-T", n, "ip", "-o", "address")]


def test_every_image_is_a_public_one_and_can_be_another(variables: dict[str, str]) -> None:
    images = [line.strip() for line in FILE.read_text().splitlines() if "image: " in line]
    named = [re.fullmatch(r"image: \$\{(\w+_IMAGE):-([\w./-]+(?::[\w.]+)?)\}", i) for i in images]
    assert None not in named
    assert {found[1] for found in named if found} == {n for n in variables if n.endswith("_IMAGE")}
    local = set(Compose(variables)("config", "--images").split())
    assert local == {variables[name] for name in variables if name.endswith("_IMAGE")}
