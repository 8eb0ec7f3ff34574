"""A real nginx: started as the supervisor starts it, checked, reloaded without loss, refused."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.nginx.server import Nginx
from confsync.engine.webserver import WebServer
from tests.conftest import Soak
from tests.golden import cases
from tests.support import machine
from tests.support.haproxy import Haproxy
from tests.support.load import Load
from tests.support.process import Process, wait_until


def program() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise machine.Missing("no nginx on this machine")
    return found


class Site:
    """One nginx with one site that says its version, `write(2)` makes it another."""

    def __init__(self, folder: Path) -> None:
        self.sites = folder / "nginx.d"
        self.sites.mkdir()
        self.run = folder / "run"
        self.log = folder / "nginx.log"
        self.port = machine.free_port()
        # Workers are another user: the way to the files must be open to them.
        folder.chmod(0o755)
        self.server = Nginx(str(self.run), str(self.sites), program=program(), timeout=5)
        self.web = WebServer(self.server)

    def write(self, version: int, *, more: str = "", name: str = "web") -> None:
        (self.sites / f"{name}.conf").write_text(
            f"server {{\n  listen 127.0.0.1:{self.port};\n  {more}\n"
            f"  location / {{ add_header X-Server v{version}; return 200 v{version}; }}\n}}\n"
        )

    @contextlib.contextmanager
    def serving(self) -> Iterator[Process]:
        process = Process(self.web.command(), log=self.log)
        try:
            wait_until(self._answers, "nginx's port")
            wait_until(lambda: len(self.workers()) == os.cpu_count(), "all of its workers")
            yield process
        finally:
            process.signal(signal.SIGQUIT)
            process.stop()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False

    def _pid(self) -> str:
        # It listens before it writes the file; and a reload writes it anew, from empty.
        with contextlib.suppress(FileNotFoundError):
            return (self.run / "nginx.pid").read_text().strip()
        return ""

    def ask(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def workers(self) -> set[str]:
        pid = wait_until(self._pid, "nginx's pid")
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.fixture
def site(tmp_short: Path) -> Site:
    return Site(tmp_short)


async def test_it_serves_from_the_operators_folder_as_another_user(site: Site) -> None:
    assert not site.server.wanted()
    site.write(1, more="access_log /dev/stdout;")
    assert site.server.wanted()
    await site.web.check()
    assert not await site.web.changed()
    with site.serving() as process:
        assert site.ask() == "v1"

        def users() -> set[int]:
            return {Path(f"/proc/{pid}").stat().st_uid for pid in site.workers()}

        wait_until(lambda: 0 not in users(), "workers that are not root")
        process.signal(signal.SIGQUIT)
        wait_until(lambda: not process.running, "nginx's end")
        assert process.exit_code == 0
    log = site.log.read_text()
    assert '"GET / HTTP/1.1" 200' in log
    assert not any(word in log for word in ("[emerg]", "[alert]", "[crit]"))
    # Nothing of it lies elsewhere.
    assert {path.name for path in site.run.iterdir()} >= {"nginx.conf", "body", "proxy"}


async def test_reloads_lose_nothing(site: Site, soak: Soak) -> None:
    site.write(0)
    await site.web.check()
    count = soak.n(10, 50)
    # nginx closes idle connections at a reload, which a client that reuses one blindly sees: HAProxy,
    # which is the client here, asks again. So: a connection for each request.
    with site.serving(), Load(site.port, keepalive=0, close=8, streams=0, think=0.002) as load:
        load.wait_ok(100)
        for version in range(1, count + 1):
            site.write(version)
            assert await site.web.changed()
            before = site.workers()
            await site.web.reload()
            assert not await site.web.changed()
            assert site.ask() == f"v{version}"
            assert not site.workers() <= before
            load.wait_server(f"v{version}")
            load.wait_ok(20)
        report = load.stop()
        assert report.failed_as == {}
        assert f"v{count}" in report.servers


@pytest.mark.parametrize("haproxy_version", ["2.6", "2.8"], indirect=True)
async def test_reloads_lose_nothing_behind_haproxy(
    site: Site, haproxy: Haproxy, soak: Soak
) -> None:
    """Kept-alive connections end with the old workers: HAProxy, as it is built in, asks again."""
    site.write(0)
    await site.web.check()
    port, stats = machine.free_ports(2)
    made = cases.render(
        [
            {
                "name": "web",
                "instances": [{"id": "nginx", "address": "127.0.0.1", "port": site.port}],
            }
        ],
        str(haproxy.etc),
        variables={"bind": f"127.0.0.1:{port}", "stats_bind": f"127.0.0.1:{stats}", "log": ""},
        target="socket",
        stats_socket=str(haproxy.admin_socket),
    )
    for file in made.config.files:
        (haproxy.etc / file.destination.rpartition("/")[2]).write_text(file.text)
    with site.serving(), haproxy, Load(port, host_header="web", streams=0, think=0.001) as load:
        load.wait_ok(100)
        for version in range(1, soak.n(10, 50) + 1):
            site.write(version)
            await site.web.reload()
            load.wait_server(f"v{version}")
            load.wait_ok(20)
        assert load.stop().failed_as == {}


async def test_a_bad_file_is_refused_with_file_and_line(site: Site) -> None:
    site.write(1)
    await site.web.check()
    with site.serving():
        workers = site.workers()
        site.write(2, more="nonsense on;")
        for call in (site.web.check, site.web.reload):
            with pytest.raises(errors.CheckRejected) as caught:
                await call()
            assert f'unknown directive "nonsense" in {site.sites}/web.conf:3' in caught.value.what
            assert caught.value.exit_code == 65
        assert not await site.web.changed()  # told once; the next change is looked at
        assert (site.ask(), site.workers()) == ("v1", workers)
        site.write(3)
        assert await site.web.changed()
        await site.web.reload()
        assert site.ask() == "v3"


async def test_what_only_the_start_shows_is_not_called_loaded(site: Site) -> None:
    """`nginx -t` does not mind an address in use; the reload does, and goes on as before."""
    site.write(1)
    await site.web.check()
    with site.serving(), socket.create_server(("127.0.0.1", 0)) as taken:
        workers = site.workers()
        port = taken.getsockname()[1]
        site.write(2, more=f"listen 127.0.0.1:{port};")
        site.server._timeout = 1.0
        with pytest.raises(errors.ReloadFailed, match="the old workers serve"):
            await site.web.reload()
        assert (site.ask(), site.workers()) == ("v1", workers)
    assert "Address already in use" in site.log.read_text()


async def test_one_that_does_not_run_is_told(site: Site) -> None:
    site.write(1)
    await site.web.check()
    with pytest.raises(errors.TargetUnavailable, match="does not run"):
        await site.web.reload()
    # The pid of a dead one may be somebody else's.
    (site.run / "nginx.pid").write_text(str(os.getpid()))
    with pytest.raises(errors.TargetUnavailable, match="does not run"):
        await site.web.reload()


async def test_without_the_program_it_is_one_clear_error(site: Site) -> None:
    site.write(1)
    server = Nginx(str(site.run), str(site.sites), program="no-such-nginx")
    with pytest.raises(
        errors.CheckUnavailable, match="there is no program no-such-nginx"
    ) as caught:
        await WebServer(server).check()
    assert "nginx.binary" in caught.value.remedy
