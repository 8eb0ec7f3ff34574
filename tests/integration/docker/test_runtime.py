"""Changes of a real HAProxy in a container, on a shared socket and over the bridge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from confsync.adapters.docker import surroundings
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.engine import Engine, Stream
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.link import Conversation
from confsync.adapters.docker.master import Masters
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.docker.runtime import DockerRuntime
from confsync.adapters.docker.surroundings import Surveyor
from confsync.adapters.docker.ways import Ways
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.runtime import SocketRuntime
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core import placement
from confsync.core.planning import Surroundings
from confsync.domain.change import AddServer, Admin, ReplaceMap, SetWeight, Step
from confsync.domain.rendered import RenderedConfig, RenderedFile, digest
from confsync.domain.running import Expected, Observed
from tests.support import machine
from tests.support.containers import docker
from tests.support.lb import INSIDE, Lb
from tests.support.process import wait_until

VERSIONS = ("2.6", "3.2")
WAYS = ("shared", "inside")
CONFIG = """\
global
    stats socket {stats} mode 666 level admin
    maxconn 5000
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend front
    bind 127.0.0.1:{port}
    use_backend %[req.hdr(host),map({folder}/hosts.map,web)]
    http-request deny if {{ src -f {deny} }}
backend web
    server first 127.0.0.1:9 id 100000 weight 1
"""
DENY = "/var/lib/haproxy/deny.lst"
OLD = "/etc/shells"
"""A file of the image."""
ASK = '$s=IO::Socket::UNIX->new($ARGV[0])or die;print $s "$ARGV[1]\\n";local $/;print <$s>'
WEIGHT = SetWeight(backend="web", server="first", weight=7)


class LateEngine(Engine):
    """Counts ways into the container. `late`: says what it has said first, as events that lag."""

    late = False
    entered = 0
    _first: Container | None = None

    async def find(self, selector: str) -> Container:
        if self._first is None or not self.late:
            self._first = await super().find(selector)
        return self._first

    async def attach(self, *args: Any, **how: Any) -> Stream:
        self.entered += 1
        return await super().attach(*args, **how)


class Cutting:
    """A bridge at whose Nth sending something happens first."""

    def __init__(self, bridge: Bridge, at: int, happens: Callable[[], object]) -> None:
        self._bridge = bridge
        self._at = at
        self._happens = happens

    async def exchange(self, *args: Any, **how: Any) -> bytes:
        return await self._bridge.exchange(*args, **how)

    async def connect(self, path: str) -> "Talk":
        return Talk(await self._bridge.connect(path), self)

    async def sending(self) -> None:
        self._at -= 1
        if self._at == 0:
            await asyncio.to_thread(self._happens)


class Talk:
    def __init__(self, inner: Conversation, cutting: Cutting) -> None:
        self._inner = inner
        self._cutting = cutting
        self.receive = inner.receive
        self.close = inner.close

    async def send(self, data: bytes) -> None:
        await self._cutting.sending()
        await self._inner.send(data)


class Site:
    """One container's HAProxy, and all that leads to it. `way`: see Lb."""

    def __init__(self, folder: Path, version: str, way: str) -> None:
        self.lb = Lb(folder, version, way=way)
        text = CONFIG.format(
            stats=self.lb.stats_socket, port=machine.free_port(), folder=INSIDE, deny=DENY
        )
        Path(self.lb.config).write_text(text)
        (self.lb.etc / "hosts.map").write_text("old web\n")
        self.text = text
        self.engine = LateEngine(DockerOptions(container=self.lb.name))
        self.bridge = Bridge(self.engine)
        self.options = SocketOptions(
            config=self.lb.config,
            master_socket=str(self.lb.master_socket),
            stats_socket=str(self.lb.stats_socket),
        )
        self.current = Current(self.lb.name, self.engine, self.bridge)
        self.ways = Ways(
            self.bridge,
            near=SocketTarget(self.options, masked=str),
            far=SocketTarget(self.options, masked=str, wire=self.bridge),
            master_socket=self.options.master_socket,
            stats_socket=self.options.stats_socket,
        )
        self.runtime = self.through(self.bridge)

    def through(self, bridge: Bridge | Cutting) -> DockerRuntime:
        return DockerRuntime(
            self.current,
            self.ways,
            near=SocketRuntime(self.options, astray=self.ways.near_astray),
            far=SocketRuntime(self.options, astray=self.ways.far_astray, wire=bridge),
        )

    def create(self) -> None:
        self.lb.create(start=False)
        self.deny("10.0.0.1\n")
        self.lb.start()

    def deny(self, text: str) -> None:
        """Have a list inside alone, as another hand would put it."""
        file = self.lb.run.parent / "deny.lst"
        file.write_text(text)
        file.chmod(0o644)
        docker("cp", str(file), f"{self.lb.name}:{DENY}")

    async def observed(self) -> Observed:
        async with asyncio.timeout(30):
            while True:
                seen = await self.ways.observe(await self.current.container())
                if seen.worker_pid and not seen.loading:
                    return seen
                await asyncio.sleep(0.05)

    def states(self) -> dict[str, str]:
        """Tell the servers of `web` and their weights, by a way of its own."""
        path = self.options.stats_socket
        said = self.lb.exec("perl", "-MIO::Socket::UNIX", "-e", ASK, path, "show servers state web")
        rows = [line.split() for line in said.splitlines()]
        return {row[3]: row[7] for row in rows if len(row) > 20 and row[0] != "#"}

    def entries(self) -> list[str]:
        said = self.lb.exec(
            *("perl", "-MIO::Socket::UNIX", "-e", ASK, self.options.stats_socket),
            f"show map {INSIDE}/hosts.map",
        )
        return [line.split(" ", 1)[1] for line in said.splitlines() if line]

    def listens(self) -> None:
        """Wait until HAProxy is up."""

        def answers() -> bool:
            with contextlib.suppress(RuntimeError):
                return bool(self.states())
            return False

        wait_until(answers, "HAProxy's answer")

    def config(self, weight: int = 1, listed: str = DENY) -> RenderedConfig:
        """Render the main file with another weight, and another list."""
        text = self.text.replace("weight 1", f"weight {weight}").replace(DENY, listed)
        file = RenderedFile(
            destination=self.lb.config, seen_as=f"{INSIDE}/haproxy.cfg", text=text, template="t"
        )
        return RenderedConfig(files=(file,))

    def close(self) -> None:
        self.bridge.close()
        self.engine.close()
        self.lb.__exit__()


def added(count: int) -> tuple[Step, ...]:
    return tuple(
        AddServer(
            backend="web",
            server=f"s{n}",
            address="127.0.0.1",
            port=10_000 + n,
            words=("id", str(200_000 + n), "weight", "3"),
            server_id=200_000 + n,
            weight=3,
        )
        for n in range(count)
    )


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WAYS)
async def site(
    request: pytest.FixtureRequest, version: str, tmp_short: Path
) -> AsyncIterator[Site]:
    one = Site(tmp_short, version, request.param)
    try:
        await asyncio.to_thread(one.create)
        await asyncio.to_thread(one.listens)
        yield one
    finally:
        one.close()


async def test_much_is_said_on_either_way(site: Site) -> None:
    """Hundreds of servers in batches, a map of some hundred kB in one version, an audit of all."""
    seen = await site.observed()
    assert seen.place
    capabilities = await site.runtime.capabilities(seen)
    assert capabilities is not None
    assert capabilities.maps
    steps = (*added(500), WEIGHT)
    applied = await site.runtime.apply(steps, seen)
    assert (len(applied.done), applied.doubt) == (501, "")
    assert site.states() == {"first": "7"} | {f"s{n}": "3" for n in range(500)}
    entries = tuple((f"host-{n}.example.org", "web") for n in range(5000))
    text = "".join(f"{k} {v}\n" for k, v in entries)
    hosts = ReplaceMap(
        destination="hosts.map", name=f"{INSIDE}/hosts.map", entries=entries, text=text
    )
    applied = await site.runtime.apply((hosts,), seen)
    assert (applied.done, applied.doubt) == ((hosts,), "")
    assert sorted(site.entries()) == sorted(text.splitlines())
    expected = tuple(
        Expected(
            backend="web",
            server=s.server,
            address=s.address,
            port=s.port,
            weight=3,
            state=Admin.READY,
        )
        for s in steps
        if isinstance(s, AddServer)
    )
    drifts = await site.runtime.audit(expected[1:], seen)
    assert {drift.server for drift in drifts} == {"first", "s0"}  # nobody expects these


async def test_a_change_enters_the_container_no_more(site: Site) -> None:
    """One way in serves all; what HAProxy loads is looked at seldom."""
    inside = Inside(site.engine, site.bridge)
    place = placement.shared(site.lb.config, INSIDE)
    surveyor = Surveyor(site.current, site.ways, inside, Masters(inside), place)
    ran: list[Sequence[str]] = []
    run = inside.run

    async def counted(container: Container, argv: Sequence[str], **how: Any) -> tuple[int, bytes]:
        ran.append(argv)
        return await run(container, argv, **how)

    inside.run = counted  # type: ignore[method-assign]
    seen = await site.observed()
    for weight in range(20):
        around = await surveyor.around(site.lb.config, site.config(weight, OLD), seen)
        assert around is not None
        assert sorted(around.named) == [OLD, f"{INSIDE}/hosts.map"]
        step = SetWeight(backend="web", server="first", weight=weight)
        assert not (await site.runtime.apply((step,), seen)).doubt
    assert site.engine.entered == 1
    # The master; what is named inside, and its digest.
    assert len(ran) == 3


async def test_what_is_inside_is_found_when_it_changes(site: Site) -> None:
    inside = Inside(site.engine, site.bridge)
    place = placement.shared(site.lb.config, INSIDE)
    now = 0.0
    surveyor = Surveyor(site.current, site.ways, inside, Masters(inside), place, clock=lambda: now)
    seen = await site.observed()

    async def around() -> Surroundings:
        found = await surveyor.around(site.lb.config, site.config(), seen)
        assert found is not None
        return found

    assert (await around()).configs == (site.lb.config,)
    await asyncio.to_thread(site.deny, "10.0.0.2\n")
    now = surroundings.AGAIN
    assert (await around()).named[DENY] == digest("10.0.0.2\n")
    (site.lb.etc / "hosts.map").write_text("new web\n")
    assert (await around()).named[f"{INSIDE}/hosts.map"] == digest("new web\n")


# The container ends, or is another one


@pytest.mark.parametrize("site", ["inside"], indirect=True)
@pytest.mark.parametrize("at", [2, 3, 5])
async def test_a_container_that_is_killed_in_a_batch(site: Site, at: int) -> None:
    """`at`: sendings of which the first is the greeting, the others batches of 200."""
    seen = await site.observed()
    await site.runtime.capabilities(seen)
    way = Cutting(site.bridge, at + 1, site.lb.kill)  # its capabilities are asked once more
    one = site.through(way)
    await one.capabilities(seen)
    async with asyncio.timeout(30):
        applied = await one.apply(added(900), seen)
    assert len(applied.done) < 900
    assert applied.doubt
    assert not (await site.ways.observe(await site.current.container())).running
    await asyncio.to_thread(site.lb.start)
    again = await site.observed()
    assert not again.same_worker(seen)
    assert not (await site.runtime.apply((WEIGHT,), again)).doubt
    assert site.states() == {"first": "7"}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", ["restarted", "replaced"])
async def test_another_one_in_its_place_is_told_nothing(
    site: Site, how: str, *, late: bool
) -> None:
    """Its processes have the same numbers. `late`: the engine's events have told nothing yet."""
    seen = await site.observed()
    assert not (await site.runtime.apply((WEIGHT,), seen)).doubt
    site.engine.late = late
    if how == "restarted":
        await asyncio.to_thread(docker, "restart", "--time", "1", site.lb.name)
    else:
        await asyncio.to_thread(site.lb.remove)
        await asyncio.to_thread(site.create)
    await asyncio.to_thread(site.lb.wait_worker)
    await asyncio.to_thread(site.listens)
    async with asyncio.timeout(30):
        applied = await site.runtime.apply((WEIGHT,), seen)
    assert applied.done == ()
    assert "nothing was changed" in applied.doubt
    assert site.states() == {"first": "1"}
    site.engine.late = False
    again = await site.observed()
    assert not again.same_worker(seen)
    assert not (await site.runtime.apply((WEIGHT,), again)).doubt
    assert site.states() == {"first": "7"}
