"""Changes over the socket of real HAProxies, with clients on them: no request fails.

One HAProxy of each version serves all tests that leave it alive; each test brings its own servers.
"""

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.runtime import SocketRuntime
from confsync.adapters.haproxy.target import SocketTarget
from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)
from confsync.domain.running import Applied, Expected, Leftover, Observed
from tests.support import machine
from tests.support.backend import Backends
from tests.support.haproxy import VERSIONS, Haproxy
from tests.support.load import Load
from tests.support.process import wait_until

T = TypeVar("T")

SAFE = {"2.6": False, "2.8": True, "3.0": True, "3.2": True}
"""Whether a deletion cannot crash the version of the test bed."""

CONFIG = """\
global
  stats socket {admin} mode 600 level admin expose-fd listeners
  stats timeout 1h

defaults
  mode http
  option idle-close-on-response
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 5s

# Of the same name as a backend, which is legal and confuses `show stat NAME`.
frontend web
  bind 127.0.0.1:{port}
  use_backend %[req.hdr(host),map_str({map},web)]

backend web
  server first 127.0.0.1:{first} id 100000

backend other
  balance leastconn
  server second 127.0.0.1:{second} id 100001

backend empty

backend sticky
  dynamic-cookie-key key
  cookie SRV insert dynamic
  server first 127.0.0.1:{first} id 100000

backend fixed
  balance source
  server first 127.0.0.1:{first} id 100000
"""


class Site:
    """A HAProxy with a server `first` in `web` and a server `second` in `other`."""

    def __init__(self, version: str, folder: Path, backends: Backends) -> None:
        self.version = version
        self.backends = backends
        self.haproxy = Haproxy(version, folder)
        self.port = machine.free_port()
        self.map = str(self.haproxy.etc / "hosts.map")
        self.first, self.second = backends.start("first"), backends.start("second")
        Path(self.map).write_text("slow web\n")
        self.haproxy.cfg.write_text(
            CONFIG.format(
                admin=self.haproxy.admin_socket,
                port=self.port,
                map=self.map,
                first=self.first,
                second=self.second,
            )
        )
        self.options = SocketOptions(
            config=str(self.haproxy.cfg),
            master_socket=str(self.haproxy.master_socket),
            stats_socket=str(self.haproxy.admin_socket),
        )
        self.runtime = SocketRuntime(self.options)
        self._numbers = 200_000

    def start(self) -> None:
        self.haproxy.start()
        wait_until(self.haproxy.admin_socket.exists, "the admin socket")

    async def observed(self) -> Observed:
        async with asyncio.timeout(20):
            while True:
                seen = await SocketTarget(self.options).observe()
                if seen.worker_pid and not seen.loading:
                    return seen
                await asyncio.sleep(0.05)

    async def apply(self, *steps: Step) -> Applied:
        return await self.runtime.apply(steps, await self.observed())

    def added(self, name: str, *, backend: str = "web", port: int = 0) -> AddServer:
        """A step for a new server, whose port is opened unless it is given."""
        self._numbers += 1
        words = ("id", str(self._numbers), "check", "inter", "200ms")
        return AddServer(
            backend=backend,
            server=name,
            address="127.0.0.1",
            port=port or self.backends.start(name),
            words=words,
            server_id=self._numbers,
            checked=True,
        )

    def get(self, path: str = "/", host: str = "test", cookie: str = "") -> tuple[str, str]:
        """Return who answered, and the cookie that came with it."""
        headers = {"Host": host, **({"Cookie": cookie} if cookie else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.headers["X-Server"], answer.headers.get("Set-Cookie") or ""

    def row(self, server: str) -> list[str]:
        rows = [line.split() for line in self.haproxy.runtime("show servers state").splitlines()]
        return next((row for row in rows if len(row) > 4 and row[3] == server), [])


@pytest.fixture(scope="module")
def many_backends() -> Iterator[Backends]:
    with Backends() as running:
        yield running


@pytest.fixture(scope="module", params=VERSIONS)
def site(request: pytest.FixtureRequest, many_backends: Backends) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="cs", dir="/tmp"))
    one = None
    try:
        one = Site(request.param, folder / "hap", many_backends)
        one.start()
        yield one
    finally:
        if one is not None:
            one.haproxy.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_site(haproxy_version: str, tmp_short: Path, backends: Backends) -> Iterator[Site]:
    """One that a test may reload or kill."""
    one = Site(haproxy_version, tmp_short / "hap", backends)
    try:
        one.start()
        yield one
    finally:
        one.haproxy.close()


@pytest.fixture
def load(site: Site) -> Iterator[Load]:
    with Load(site.port, keepalive=3, close=3, streams=0, think=0.01) as running:
        yield running


async def _off(function: Callable[..., T], *args: object) -> T:
    return await asyncio.to_thread(function, *args)


def _rarely_checked(step: AddServer) -> AddServer:
    rarely = ("inter", "60s", "fastinter", "60s", "downinter", "60s")
    return dataclasses.replace(step, words=(*step.words, *rarely))


def _out(server: str) -> RetireServer:
    return RetireServer(backend="web", server=server)


def leftover(step: AddServer) -> Leftover:
    return Leftover(
        backend=step.backend,
        server=step.server,
        address=step.address,
        port=step.port,
        server_id=step.server_id,
        delete=True,
    )


async def test_every_change_under_load_fails_no_request(site: Site, load: Load) -> None:
    """Each new server answers, and one that is retired gets nothing more."""
    await _off(load.wait_ok, 50)
    for turn in range(3):
        new, moved = site.added(f"new{turn}"), site.added(f"moved{turn}")
        target = site.backends.start(f"target{turn}")
        where = {"backend": "web", "server": moved.server}
        steps: tuple[Step, ...] = (new, moved, SetWeight(backend="web", server="first", weight=2))
        assert await site.apply(*steps) == Applied(done=steps)
        await _off(load.wait_server, new.server)
        assert site.row(moved.server)[4:8] == ["127.0.0.1", "2", "0", "1"]
        steps = (
            SetAddress(**where, address="127.0.0.1", port=target, down=True),
            SetMaxconn(**where, maxconn=50),
            SetWeight(**where, weight=20),
            ReplaceMap(
                destination=site.map,
                name=site.map,
                entries=(("test", "web"), *((f"h{n}", f"b {n}") for n in range(1_500))),
                text="",
            ),
            SetState(backend="web", server=new.server, state=Admin.DRAIN),
        )
        assert await site.apply(*steps) == Applied(done=steps)
        await _off(load.wait_server, f"target{turn}")  # its check has passed
        steps = (
            SetState(backend="web", server=new.server, state=Admin.READY),
            RetireServer(backend="web", server=moved.server),
        )
        assert await site.apply(*steps) == Applied(done=steps)
        gone = (await _off(load.wait_ok, 30)).servers[f"target{turn}"].count
        assert (await _off(load.wait_ok, 60)).servers[f"target{turn}"].count == gone
        await site.apply(RetireServer(backend="web", server=new.server))
    report = load.stop()
    assert report.failed_as == {}
    assert report.ok > 300


async def test_a_map_routes_to_other_servers_from_one_request_to_the_next(
    site: Site, load: Load
) -> None:
    for backend in ("other", "web", "other"):
        entries = (("test", backend), ("slow", "web"))
        step = ReplaceMap(destination=site.map, name=site.map, entries=entries, text="")
        assert (await site.apply(step)).doubt == ""
        expected = {"other": "second", "web": "first"}[backend]
        assert (await _off(site.get))[0] == expected
    step = ReplaceMap(destination=site.map, name=site.map, entries=(("slow", "web"),), text="")
    assert (await site.apply(step)).doubt == ""
    assert site.get()[0] == "first"
    assert load.stop().failed_as == {}


async def test_a_long_request_on_a_retired_server_ends_well(site: Site) -> None:
    """And the server is deleted only behind it, where that is safe."""
    plain = site.added("long", backend="empty")
    # Before 3.0 idle connections keep a server, until the pool is purged (of itself every 5 s).
    step = dataclasses.replace(plain, words=(*plain.words, "pool-purge-delay", "200ms"))
    route = ReplaceMap(destination=site.map, name=site.map, entries=(("long", "empty"),), text="")
    # One whose delay is written out does not tell whether deletions are safe.
    usual = site.added("usual", backend="empty")
    assert (
        await site.apply(usual, SetWeight(backend="empty", server="usual", weight=0))
    ).doubt == ""
    assert (await site.apply(step, route)).doubt == ""
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(_off(site.get, "/slow?s=2", "long"))
        await _until(lambda: site.backends.counts()[step.port].requests > 0)
        assert (await site.apply(RetireServer(backend="empty", server="long"))).doubt == ""
        before = await site.observed()
        assert await site.runtime.collect((leftover(step),), before) == ()
        assert not answer.done()
    assert answer.result()[0] == "long"
    if SAFE[site.version]:
        async with asyncio.timeout(20):
            while await site.runtime.collect((leftover(step),), before) != (leftover(step),):
                await asyncio.sleep(0.02)
    else:
        assert await site.runtime.collect((leftover(step),), before) == ()
    assert bool(site.row("long")) is not SAFE[site.version]


async def test_what_the_build_can_do_is_what_it_does(site: Site) -> None:
    before = await site.observed()
    assert (await site.apply(site.added("probe"))).doubt == ""
    found = await site.runtime.capabilities(before)
    assert found is not None
    assert found.deletes is SAFE[site.version]
    assert found.waits is (site.version >= "3.0")
    assert (found.words is not None) is (site.version >= "3.2")
    # A server added to a backend with dynamic cookies keeps its clients, or not.
    step = site.added("cookie", backend="sticky")
    route = ReplaceMap(destination=site.map, name=site.map, entries=(("c", "sticky"),), text="")
    hide = SetState(backend="sticky", server="first", state=Admin.DRAIN)
    assert (await site.apply(step, route, hide)).doubt == ""
    cookie = site.get(host="c")[1].partition(";")[0]
    assert (cookie not in {"", "SRV="}) is found.dynamic_cookies
    await site.apply(
        RetireServer(backend="web", server="probe"),
        RetireServer(backend="sticky", server="cookie"),
        SetState(backend="sticky", server="first", state=Admin.READY),
    )


async def test_all_servers_replaced_leave_no_moment_without_one(site: Site, load: Load) -> None:
    """Also where a new server waits for its first check: the only ones are opened before it."""
    await _off(load.wait_ok, 20)
    site.runtime = SocketRuntime(site.options, closed=True)
    added = site.added("only"), site.added("later")
    first, later = (_rarely_checked(step) for step in added)
    try:
        assert (await site.apply(first, _out("first"))).doubt == ""
        await _off(load.wait_server, first.server)
        assert (await site.apply(later)).doubt == ""
        assert site.row(later.server)[5] == "0"  # it waits while another one serves
        assert (await site.apply(_out(first.server))).doubt == ""
        await _off(load.wait_server, later.server)
        again = dataclasses.replace(first, port=site.second, again=True)
        assert (await site.apply(again, _out(later.server))).doubt == ""
        await _off(load.wait_server, "second")
    finally:
        site.runtime = SocketRuntime(site.options)
        await site.apply(SetState(backend="web", server="first", state=Admin.READY))
        await site.apply(_out(first.server), _out(later.server))
    assert load.stop().failed_as == {}


async def test_servers_that_move_one_after_the_other_leave_none_without_one(
    site: Site, load: Load
) -> None:
    """Each is DOWN at its new place until its check has passed, unless it would be the last."""
    await _off(load.wait_ok, 20)
    both = tuple(_rarely_checked(site.added(name)) for name in ("mover1", "mover2"))
    try:
        assert (await site.apply(*both, _out("first"))).doubt == ""
        for step in both:
            port = site.backends.start(f"to-{step.server}")
            move = SetAddress(
                backend="web", server=step.server, address="127.0.0.1", port=port, down=True
            )
            assert (await site.apply(move)).doubt == ""
            await _off(load.wait_ok, 20)
        await _off(load.wait_server, "to-mover1")
        assert site.row("mover2")[5] == "0"
    finally:
        await site.apply(SetState(backend="web", server="first", state=Admin.READY))
        await site.apply(*(_out(step.server) for step in both))
    assert load.stop().failed_as == {}


async def test_a_refusal_is_told_in_haproxys_words_and_takes_nothing_away(site: Site) -> None:
    good, bad = site.added("good"), site.added("bad", backend="fixed")
    applied = await site.apply(good, bad, RetireServer(backend="web", server="first"))
    assert applied.done == (good,)
    assert "server fixed/bad: `add server` was answered with `Backend must use" in applied.doubt
    assert site.row("first")[6] == "0"
    again = await site.apply(good)
    assert again == Applied(done=(good,))
    await site.apply(RetireServer(backend="web", server="good"))


async def test_what_is_retired_comes_back_as_it_was_and_can_be_deleted(site: Site) -> None:
    step = site.added("back")
    assert (await site.apply(step, RetireServer(backend="web", server="back"))).doubt == ""
    again = AddServer(
        backend="web",
        server="back",
        address="127.0.0.1",
        port=site.second,
        server_id=step.server_id,
        weight=7,
        maxconn=3,
        checked=True,
        again=True,
    )
    assert await site.apply(again) == Applied(done=(again,))
    assert site.row("back")[5:8] == ["2", "0", "7"]
    await _until(lambda: site.get()[0] == "second")
    assert (await site.apply(RetireServer(backend="web", server="back"))).doubt == ""
    left = leftover(again)
    gone = await site.runtime.collect((left,), await site.observed())
    assert gone == ((left,) if SAFE[site.version] else ())


async def test_a_second_actor(site: Site) -> None:
    """An operator's hand is told from drift; what takes a server away is neither."""
    mine, theirs = site.added("mine"), site.added("theirs")
    assert (await site.apply(mine, theirs)).doubt == ""
    rows = [
        line.split()
        for line in site.haproxy.runtime("show servers state web").splitlines()
        if line[:1].isdigit() and len(line) > 2
    ]
    expected = tuple(
        Expected(
            backend="web",
            server=row[3],
            address=row[4],
            port=int(row[18]),
            weight=int(row[7]),
            state=Admin.MAINT if int(row[6]) & 1 else Admin.READY,
        )
        for row in rows
    )
    before = await site.observed()
    assert await site.runtime.audit(expected, before) == ()
    site.haproxy.runtime("disable server web/mine")
    site.haproxy.runtime(f"set server web/theirs addr 127.0.0.1 port {site.first}")
    site.haproxy.runtime("set weight web/theirs 9")
    await _until(lambda: site.row("theirs")[18] == str(site.first))
    found = {drift.what: drift for drift in await site.runtime.audit(expected, before)}
    moved = f"web/theirs: at 127.0.0.1:{site.first}, not 127.0.0.1:{theirs.port}"
    assert sorted(found) == sorted(
        ["web/mine: maint, not ready", moved, "web/theirs: weight 9, not 1"]
    )
    assert found[moved].hand is None
    assert found["web/mine: maint, not ready"].hand is not None
    repairs = [step for drift in found.values() for step in drift.repair]
    assert (await site.apply(*repairs)).doubt == ""
    assert await site.runtime.audit(expected, before) == ()
    await site.apply(*(RetireServer(backend="web", server=name) for name in ("mine", "theirs")))


async def test_an_agent_check_drains_as_it_likes_but_not_out_of_maintenance(site: Site) -> None:
    said = "drain\n"

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said.encode())
        writer.close()

    agent = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with agent:
        port = agent.sockets[0].getsockname()[1]
        plain = site.added("agent")
        words = ("agent-check", "agent-port", str(port), "agent-inter", "50ms")
        step = dataclasses.replace(plain, words=(*plain.words, *words), agent=True)
        assert (await site.apply(step)).doubt == ""
        await _until(lambda: site.row("agent")[6] == "8")
        expected = Expected(
            backend="web",
            server="agent",
            address="127.0.0.1",
            port=step.port,
            weight=1,
            state=Admin.READY,
            agent=True,
        )
        before = await site.observed()
        found = await site.runtime.audit((expected,), before)
        assert [drift.what for drift in found if drift.server == "agent"] == []
        gone = RetireServer(backend="web", server="agent", agent=True)
        assert await site.apply(gone) == Applied(done=(gone,))
        said = "ready up\n"
        await asyncio.sleep(0.3)  # some answers of the agent, were it asked
        assert int(site.row("agent")[6]) & 1


@pytest.mark.parametrize("haproxy_version", ["3.0", "3.2"], indirect=True)
async def test_a_server_is_closed_until_its_first_check(own_site: Site) -> None:
    """A dead one, made ready, gets not one request; a good one gets them after its check."""
    one = SocketRuntime(own_site.options, closed=True)
    before = await own_site.observed()
    dead = own_site.added("dead", port=machine.free_port())
    with Load(own_site.port, keepalive=2, close=2, streams=0, think=0.01) as load:
        good = own_site.added("good")
        assert (await one.apply((dead, good), before)).doubt == ""
        await _off(load.wait_server, "good")
        report = load.stop()
    assert report.failed_as == {}
    assert own_site.row("dead")[5] == "0"


@pytest.mark.parametrize("haproxy_version", ["2.6", "3.2"], indirect=True)
async def test_a_reload_in_between_is_a_doubt_and_changes_nothing(own_site: Site) -> None:
    before = await own_site.observed()
    step = own_site.added("late")
    await _off(own_site.haproxy.reload)
    applied = await own_site.runtime.apply((step,), before)
    assert applied.done == ()
    assert "nothing was changed" in applied.doubt
    assert own_site.row("late") == []
    assert await own_site.apply(step) == Applied(done=(step,))


@pytest.mark.parametrize("haproxy_version", ["2.6", "3.2"], indirect=True)
async def test_haproxy_ends_in_the_middle(own_site: Site) -> None:
    """A doubt that names the socket, whenever it comes; what was confirmed is told."""
    before = await own_site.observed()
    await own_site.runtime.capabilities(before)
    steps = tuple(own_site.added(f"n{n}", port=own_site.first) for n in range(3_000))
    async with asyncio.TaskGroup() as group:
        work = group.create_task(own_site.runtime.apply(steps, before))
        await _until(lambda: bool(own_site.row("n250")), pause=0.001)
        await _off(own_site.haproxy.kill9)
    applied = work.result()
    assert applied.doubt
    assert str(own_site.haproxy.admin_socket) in applied.doubt
    assert steps[: len(applied.done)] == applied.done
    assert len(applied.done) < len(steps)


async def _until(true: Callable[[], object], *, pause: float = 0.02) -> None:
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError):
            if await _off(true):
                return
        assert time.monotonic() < end, "it never came to be"
        await asyncio.sleep(pause)
