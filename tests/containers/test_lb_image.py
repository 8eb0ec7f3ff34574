"""The image of the whole load balancer by itself: as a base, with a file alone, with no rights."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.containers import Container, Project, balancer, building, docker, get, tidy
from tests.support.pair import write
from tests.support.process import wait_until

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the image
GOOD = """\
global
    log stdout format raw local0
    user haproxy
    group haproxy
defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
frontend site
    bind :80
    http-request return status 200 content-type text/plain string "one"
"""
BAD = GOOD.replace("bind :80", "bnd :80")
PLACE = "/haproxy/haproxy.cfg:11"
CHECKS = ("confsync check", "haproxy -c -f /haproxy/haproxy.cfg")
BUILDERS = ("legacy", "buildkit")


@pytest.fixture(scope="module")
def image() -> str:
    return balancer()


def build(image: str, folder: Path, config: str, check: str, builder: str) -> tuple[int, str]:
    """Build a derived image as its author would; returns the exit code and all that was said."""
    write(folder / "haproxy.cfg", config)
    write(folder / "Dockerfile", f"FROM {image}\nCOPY . /haproxy\nRUN {check}\n")
    argv, environment = machine.builder(builder)
    with building():
        done = subprocess.run(
            [*argv, "build", "--no-cache", "--force-rm", str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said = done.stdout + done.stderr
        if made := re.search(r"(?:Successfully built |writing image sha256:)([0-9a-f]+)", said):
            docker("rmi", made[1])
    tidy()  # what was built has inherited our name
    return done.returncode, said


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("check", CHECKS)
def test_a_bad_configuration_fails_the_build_of_a_derived_image(
    image: str, tmp_path: Path, check: str, builder: str
) -> None:
    code, said = build(image, tmp_path, GOOD, check, builder)
    assert code == 0, said
    code, said = build(image, tmp_path, BAD, check, builder)
    assert code != 0
    assert PLACE in said
    assert "bnd" in said
    assert "Traceback" not in said


def test_the_posts_own_example_of_several_processes_is_explained(
    image: str, tmp_path: Path
) -> None:
    several = GOOD.replace("global\n", "global\n    nbproc 3\n")
    code, said = build(image, tmp_path, several, CHECKS[0], "legacy")
    assert code != 0
    assert "haproxy.cfg:2" in said
    assert "nbthread" in said


@contextlib.contextmanager
def running(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    with Project() as project:
        yield project.run("lb", image, *command, options=options)


def last_words(container: Container) -> str:
    """Wait for its end; returns what it ended with: the error, then what to do."""
    wait_until(lambda: not container.running, "its end")
    said = container.logs()
    assert "Traceback" not in said
    return said[said.index("confsync: error: ") :]


def test_without_the_right_to_set_addresses_it_says_so_and_ends(image: str, tmp_path: Path) -> None:
    mount = f"{write(tmp_path / 'haproxy.cfg', GOOD)}:/haproxy/haproxy.cfg"
    with running(image, "-v", mount, command=("10.99.99.99", "pw")) as lb:
        error, remedy = last_words(lb).splitlines()
        assert "NET_ADMIN is missing" in error
        assert "--cap-add=NET_ADMIN" in remedy
        assert lb.inspect("{{.State.ExitCode}}") == "77"


def test_a_bad_file_is_refused_at_the_start_with_its_line(image: str, tmp_path: Path) -> None:
    mount = f"{write(tmp_path / 'haproxy.cfg', BAD)}:/haproxy/haproxy.cfg"
    with running(image, "-v", mount) as lb:
        assert PLACE in last_words(lb)
        assert lb.inspect("{{.State.ExitCode}}") == "65"


def test_a_file_mounted_alone_is_served_read_anew_and_refused_when_bad(
    image: str, tmp_path: Path
) -> None:
    """As the post has it, without an address to share; the sites of nginx too."""
    web = GOOD.replace(
        '    http-request return status 200 content-type text/plain string "one"\n',
        "    default_backend pages\nbackend pages\n    server nginx 127.0.0.1:8080\n",
    )
    config = write(tmp_path / "haproxy.cfg", web)
    site = 'server { listen 127.0.0.1:8080; location / { return 200 "%s"; } }\n'
    pages = write(tmp_path / "nginx.d" / "site.conf", site % "first")
    mounts = (
        "-v",
        f"{config}:/haproxy/haproxy.cfg:ro",
        "-v",
        f"{pages.parent}:/haproxy/nginx.d/:ro",
    )
    health = ("--health-interval", "1s")
    with running(image, *mounts, *health) as lb:
        wait_until(lambda: get(lb.address, 80) == (200, "first"), "the first page")
        wait_until(lambda: lb.health == "healthy", "healthy")

        write(pages, site % "second")
        lb.kill("HUP")
        wait_until(lambda: get(lb.address, 80) == (200, "second"), "the second page")
        write(pages, "server { nonsense; }\n")
        mark = lb.mark()
        lb.kill("HUP")
        wait_until(lambda: "nonsense" in lb.logs()[mark:], "the refusal of nginx's file")
        assert get(lb.address, 80) == (200, "second")
        write(pages, site % "second")

        # Written in place: a file that is mounted alone stays the one that it was.
        write(config, GOOD)
        lb.kill("HUP")
        wait_until(lambda: get(lb.address, 80) == (200, "one"), "the changed file")
        write(config, BAD)
        mark = lb.mark()
        lb.kill("HUP")
        wait_until(lambda: PLACE in lb.logs()[mark:], "the refusal of HAProxy's file")
        assert get(lb.address, 80) == (200, "one")
        assert lb.running

        rows = docker("top", lb.name, "-eo", "user,pid,args").splitlines()
        found = [(row.split()[0], row.split(None, 2)[2]) for row in rows]
        assert [who for who, what in found if "worker process" in what] != ["root"]
        haproxies = [who for who, what in found if what.split()[0].endswith("/haproxy")]
        assert haproxies.count("root") == 1, found  # the master
        assert len(haproxies) > 1

        docker("stop", lb.name)
        assert lb.inspect("{{.State.ExitCode}}") == "0"


def test_the_programs_in_it_can_be_called(image: str) -> None:
    assert "HAProxy version" in docker("run", "--rm", image, "haproxy", "-v")
    assert docker("run", "--rm", image, "confsync", "--version").startswith("confsync ")


def test_its_byte_code_is_the_same_in_each_build(image: str) -> None:
    """One that holds its source's time is not, and no file of it may be missing: nobody can write one.

    Flags of 1 (PEP 552): by the source's hash, never looked at again.
    """
    code = """\
import pathlib
for file in pathlib.Path("/opt/confsync/lib").rglob("*.py"):
    made, = file.parent.glob(f"__pycache__/{file.stem}.cpython-*.pyc")
    print(made.read_bytes()[4:8].hex())
"""
    found = docker("run", "--rm", "--entrypoint", "python3", image, "-c", code).split()
    assert len(found) > 500
    assert set(found) == {"01000000"}
