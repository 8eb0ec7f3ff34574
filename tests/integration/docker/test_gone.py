"""An engine that is gone, hangs, forbids, or is far away; and one that comes back."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker import faults, stream
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.bridge import Bridge
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.endpoint import Endpoint
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.events import Event, Kind
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.options import DockerOptions
from tests.support import machine
from tests.support.engine import Box, EngineProxy, docker
from tests.support.tls import Authority, Certificate


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box() as one:
        yield one


def engine(
    proxy: EngineProxy, environment: Mapping[str, str] | None = None, *, timeout: float = 10
) -> Engine:
    return Engine(
        DockerOptions(container="lb", timeout=timeout),
        environment={"DOCKER_HOST": proxy.address, **(environment or {})},
    )


async def test_an_engine_that_goes_and_comes_back(box: Box, tmp_short: Path) -> None:
    heard: list[Event] = []
    with EngineProxy(tmp_short / "docker.sock") as proxy:
        one = engine(proxy)
        bridge = Bridge(one)
        bridge.use(await one.find(box.name))
        assert await bridge.run(["echo", "1"], timeout=10) == (0, b"1\n")
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(one.watch(ears(box, heard)))
            await _until(lambda: len(heard) == 1)

            await asyncio.to_thread(proxy.close)
            with pytest.raises(faults.EngineGone, match="nobody listens"):
                await one.find(box.name)
            with pytest.raises(faults.EngineGone, match="nobody listens"):
                await bridge.run(["true"], timeout=10)
            await _until(lambda: len(heard) == 2)
            (tmp_short / "docker.sock").unlink()
            with pytest.raises(faults.EngineGone, match="no such socket"):
                await one.find(box.name)
            await asyncio.sleep(1)  # some more tries, of which nothing is told

            proxy.open()
            assert (await one.find(box.name)).id == box.id
            assert await bridge.run(["echo", "2"], timeout=10) == (0, b"2\n")
            await _until(lambda: len(heard) == 3)
            docker("pause", box.id)
            docker("unpause", box.id)
            await _until(lambda: len(heard) == 5)
            watching.cancel()
        bridge.close()
        one.close()
    kinds = [Kind.LISTENING, Kind.LOST, Kind.LISTENING, Kind.PAUSE, Kind.UNPAUSE]
    assert [e.kind for e in heard] == kinds
    assert isinstance(heard[1].why, faults.EngineGone)


def ears(box: Box, heard: list[Event]) -> Callable[[Event], None]:
    """Keep what is about this container or the engine: others live beside it."""
    return lambda event: heard.append(event) if event.id in {box.id, ""} else None


async def _until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not probe():
            await asyncio.sleep(0.01)


HANGS = """
import asyncio, os
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.options import DockerOptions
async def main():
    engine = Engine(DockerOptions(container="x", timeout=0.5))
    for attempt in range(2):
        try:
            await engine.find("x")
        except Exception as error:
            print(error)
asyncio.run(main())
"""


async def test_an_engine_that_hangs_holds_up_nothing(box: Box, tmp_short: Path) -> None:
    with EngineProxy(tmp_short / "docker.sock") as proxy:
        one = engine(proxy, timeout=0.5)
        found = await in_time(one, box)
        proxy.freeze()
        with pytest.raises(faults.EngineGone, match=r"did not answer within 0\.5 s"):
            await one.find(box.name)
        with pytest.raises(TimeoutError):
            await one.run(found.id, ["true"], timeout=0.2)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", HANGS],
            env={**os.environ, "DOCKER_HOST": proxy.address},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert done.stdout.count("did not answer within 0.5 s") == 2
        assert not done.stderr
        proxy.thaw()
        assert (await in_time(one, box)).id == box.id
        one.close()


async def in_time(one: Engine, box: Box) -> Container:
    """Find the box by an engine that may be late for once."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(faults.EngineGone):
                return await one.find(box.name)


FORBIDDEN = """
import asyncio, os
from confsync.adapters.docker import api
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.options import DockerOptions
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
async def main():
    engine = Engine(DockerOptions(container="x"))
    heard = []
    try:
        await engine.find("x")
    except Exception as error:
        print(type(error).__name__, error)
    async with asyncio.timeout(20):
        watching = asyncio.ensure_future(engine.watch(heard.append))
        while not heard:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # some more tries, of which nothing is told
        watching.cancel()
    print([(e.kind.value, type(e.why).__name__) for e in heard])
asyncio.run(main())
"""


def test_a_socket_that_may_not_be_used_is_a_denial_with_a_remedy(tmp_short: Path) -> None:
    if os.geteuid() != 0:
        raise machine.Missing("only root can become somebody else")
    tmp_short.chmod(0o755)
    with EngineProxy(tmp_short / "docker.sock") as proxy:
        (tmp_short / "docker.sock").chmod(0o660)
        done = subprocess.run(
            [sys.executable, "-c", FORBIDDEN],
            env={**os.environ, "DOCKER_HOST": proxy.address},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    first, second = done.stdout.splitlines()
    assert first.startswith("TargetDenied this user may not use the Docker engine at")
    assert "in the group that owns the socket (docker)" in first
    assert second == "[('lost', 'TargetDenied')]"
    assert not done.stderr


async def test_a_proxy_that_forbids_is_told_apart_and_names_what_it_forbids(
    box: Box, tmp_short: Path
) -> None:
    with EngineProxy(tmp_short / "docker.sock") as proxy:
        one = engine(proxy)
        found = await one.find(box.name)
        for path, work in (
            ("/json", one.find(box.name)),
            ("/exec", one.run(found.id, ["true"], timeout=10)),
            ("/start", one.run(found.id, ["true"], timeout=10)),
            ("/archive", Inside(one).file(found, "/etc/passwd")),
            ("/kill", one.kill(found.id, "SIGWINCH")),
            ("/create", one.one_off(found, ["true"], timeout=10)),
        ):
            proxy.forbidden = (path,)
            with pytest.raises(errors.TargetDenied, match=f"forbids .*{path}: rules") as caught:
                await work
            assert "POST /containers/NAME/exec" in caught.value.remedy
        proxy.forbidden = ()
        assert (await one.find(box.name)).id == box.id
        one.close()


# Far away


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def certificates(authority: Authority, into: Path, client: Certificate) -> str:
    into.mkdir()
    for name, source in (
        ("ca.pem", authority.cert),
        ("cert.pem", client.cert),
        ("key.pem", client.key),
    ):
        (into / name).write_bytes(source.read_bytes())
    return str(into)


def server_context(authority: Authority, server: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    context.load_verify_locations(authority.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def works(one: Engine, box: Box) -> None:
    """Everything that has a connection of its own, and what the SDK does."""
    heard: list[Event] = []
    found = await one.find(box.name)
    bridge = Bridge(one)
    bridge.use(found)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(one.watch(ears(box, heard)))
        big = os.urandom(1 << 20)
        await one.put(found.id, [File(path="/tmp/big", data=big)])
        read = await Inside(one).file(found, "/tmp/big")
        assert read is not None
        assert read.data == big
        assert await one.run(found.id, ["wc", "-c", "/tmp/big"], timeout=20) == (
            0,
            b"1048576 /tmp/big\n",
        )
        assert await bridge.run(["cat", "/tmp/big"], timeout=20) == (0, big)
        assert await bridge.run(["echo", "again"], timeout=20) == (0, b"again\n")
        await _until(lambda: heard)
        docker("pause", box.id)
        docker("unpause", box.id)
        await _until(lambda: len(heard) == 3)
        watching.cancel()
    bridge.close()
    one.close()
    assert [e.kind for e in heard] == [Kind.LISTENING, Kind.PAUSE, Kind.UNPAUSE]
    await _until(lambda: not any("confsync-bridge" in each for each in box.processes()))


async def test_an_engine_behind_tcp(box: Box) -> None:
    with EngineProxy() as proxy:
        await works(engine(proxy), box)


async def test_an_engine_behind_tls(box: Box, authority: Authority, tmp_path: Path) -> None:
    folder = certificates(authority, tmp_path / "client", authority.sign("client"))
    context = server_context(authority, authority.sign("engine"))
    with EngineProxy(context=context) as proxy:
        await works(engine(proxy, {"DOCKER_CERT_PATH": folder, "DOCKER_TLS_VERIFY": "1"}), box)
        # Without DOCKER_TLS_VERIFY any certificate will do, as for Docker's own client.
        unverified = engine(proxy, {"DOCKER_CERT_PATH": folder})
        assert (await unverified.find(box.name)).id == box.id
        unverified.close()


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("wrong", ["authority", "name", "client", "plain"])
async def test_tls_that_does_not_fit(
    box: Box, authority: Authority, tmp_path: Path, wrong: str, lasting: bool
) -> None:
    other = Authority(tmp_path / "other")
    alternatives = "DNS:engine.example" if wrong == "name" else "IP:127.0.0.1"
    server = authority.sign("engine", alternatives=alternatives)
    client = (other if wrong == "client" else authority).sign("client")
    trusted = other if wrong == "authority" else authority
    folder = certificates(trusted, tmp_path / "client", client)
    context = None if wrong == "plain" else server_context(authority, server)
    refused = r"the certificate of the Docker engine at 127\.0\.0\.1:\d+ is refused"
    bad_server = wrong in {"authority", "name"}
    failed = r"TLS with the Docker engine at .* fails|closed the connection"
    with EngineProxy(context=context) as proxy:
        environment = {"DOCKER_CERT_PATH": folder, "DOCKER_TLS_VERIFY": "1"}
        one = engine(proxy, environment)
        at = Endpoint.parse({"DOCKER_HOST": proxy.address, **environment})
        asked: Awaitable[object] = (
            stream.opened(at, "/v1.41/events", lambda _: None, timeout=5)
            if lasting
            else one.find(box.name)
        )
        with pytest.raises(faults.EngineGone, match=refused if bad_server else failed):
            await asked
        one.close()
