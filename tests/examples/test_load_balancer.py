"""The load balancer's example, typed as its page has it, on two hosts of our own."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.following import EXAMPLES, commands
from tests.support.backend import Backends
from tests.support.containers import balancer, building, consul_image, docker, get
from tests.support.pair import Host, Pair
from tests.support.process import wait_until

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the image
NAME = "07-load-balancer"


class Hosts(Pair):
    """Where the page is followed. What it calls a host's network is that of a host of the pair."""

    def __init__(self, image: str, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLES / NAME, folder, dirs_exist_ok=True)
        super().__init__(image)

    def type(self, line: str, host: Host) -> subprocess.CompletedProcess[str]:
        words = {
            " confsync-lb": f" {self.image}",
            "--net=host": f"--network container:{host.name}",
            "192.0.2.100": self.vip,
            "--name lb": f"--name {host.lb.name}",
            "site-lb": f"{self.name}-site",
            "docker build": f"docker build --build-arg BASE={self.image}",
            "consul services": f"docker exec {self.name}-consul-{host.letter} consul services",
            "10.0.0.21": self.a.own,
        }
        for old, new in words.items():
            line = line.replace(old, new)
        if line.split()[:2] in (
            ["docker", w] for w in ("exec", "kill", "logs", "stop", "start", "rm")
        ):
            line = line.replace(" lb", f" {host.lb.name}", 1)
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "DOCKER_BUILDKIT": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def on_both(self, line: str) -> None:
        for host in (self.b, self.a):
            done = self.type(line, host)
            assert done.returncode == 0, done.stderr


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with Hosts(balancer(), tmp_path / NAME) as made:
        try:
            yield made
        finally:
            docker("rmi", f"{made.name}-site", check=False)


def test_each_step_does_what_the_page_says(hosts: Hosts) -> None:
    lines = iter(commands(NAME))
    vip, a = hosts.vip, hosts.a

    refused = hosts.type(next(lines), a)
    assert refused.returncode == 65
    for place in ("haproxy.cfg:4: nbproc", "haproxy.cfg:16: bind-process", "nbthread"):
        assert place in refused.stdout + refused.stderr
    taken = hosts.type(next(lines), a)
    assert (taken.returncode, taken.stderr) == (0, ""), taken

    # In the foreground on the page.
    post = next(lines).replace("docker run ", "docker run --detach --name lb ")
    for host in hosts.hosts:
        done = hosts.type(post, host)
        assert done.returncode == 0, done.stderr
    holder = hosts.both_ready()
    wait_until(lambda: "It works" in get(vip, 80)[1], "the page of nginx")
    assert get(vip, 80)[0] == 200
    assert get(vip, 80, "x") == get(vip, 80)
    docker("rm", "--force", *(host.lb.name for host in hosts.hosts))

    password, run, status, page, metrics = (next(lines) for _ in range(5))
    assert hosts.type(password, a).returncode == 0
    hosts.on_both(run)
    holder = hosts.both_ready()
    assert "here (ucarp)" in hosts.type(status, holder).stdout
    assert "It works" in hosts.type(page, a).stdout
    assert "haproxy_process_nbthread" in hosts.type(metrics, a).stdout
    # Whoever does not say a password sees no statistics.
    assert hosts.type(metrics.partition(" --user")[0], a).stdout.startswith("<html>")

    hup, logs = next(lines), next(lines)
    file = hosts.folder / "haproxy.cfg"
    good = file.read_text()
    file.write_text(good.replace("bind :80\n", "bnd :80\n"))
    mark = holder.lb.mark()
    assert hosts.type(hup, holder).returncode == 0
    wait_until(lambda: "unknown keyword 'bnd'" in holder.lb.logs()[mark:], "the refusal")
    assert "bnd" in (said := hosts.type(logs, holder)).stdout + said.stderr
    assert "It works" in hosts.type(page, a).stdout
    file.write_text(good)

    stop, start = next(lines), next(lines)
    other = hosts.other(holder)
    assert hosts.type(stop, holder).returncode == 0
    wait_until(lambda: hosts.holders() == [other], "the other one's turn")
    assert "It works" in hosts.type(page, a).stdout
    assert hosts.type(start, holder).returncode == 0
    assert hosts.both_ready() is other

    build, check = next(lines), next(lines)
    with building():
        assert (done := hosts.type(build, a)).returncode == 0, done.stderr
        assert hosts.type(check, a).returncode == 0

    remove, discover, register, secure = lines
    for host in hosts.hosts:
        name = f"{hosts.name}-consul-{host.letter}"
        hosts._made.append(name)
        network = ("--network", f"container:{host.name}")
        docker("run", "--detach", "--name", name, *network, consul_image(), "agent", "-dev")
    with Backends(python=hosts.a.python) as backends:
        hosts.on_both(remove)
        hosts.on_both(discover)
        backends.start("web-1", port=8080, host="0.0.0.0")
        hosts.both_ready()
        hosts.on_both(register)
        wait_until(lambda: hosts.type(secure, a).stdout == "web-1", "web-1 over TLS")
