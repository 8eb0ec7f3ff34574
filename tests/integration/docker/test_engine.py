"""A real engine: finding, running, files, one-off containers, signals."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.container import ONE_OFF, NoContainer
from confsync.adapters.docker.engine import Engine
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.options import DockerOptions
from tests.support.engine import LABEL, Box, docker


@pytest.fixture
def engine() -> Iterator[Engine]:
    one = Engine(DockerOptions(container="lb"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box(options=("--env", "OF_IMAGE=1", "--hostname", "inside")) as one:
        yield one


@pytest.fixture(scope="module")
def stopped() -> Iterator[Box]:
    with Box("true") as one:
        docker("wait", one.id)
        yield one


async def data(engine: Engine, box: Box, path: str) -> bytes | None:
    """Read a file of a container."""
    found = await Inside(engine).file(await engine.find(box.name), path)
    return found.data if found is not None else None


# Finding


async def test_a_container_is_found_each_way(engine: Engine, box: Box) -> None:
    label = f"label={LABEL}={box.tag}"
    found = await engine.find(box.name)
    for selector in (box.name, box.id, box.id[:12], label):
        found = await engine.find(selector)
        assert (found.id, found.name, found.state) == (box.id, box.name, "running"), selector
    assert found.argv[-2:] == ("sleep", "infinity")
    assert found.environment["OF_IMAGE"] == "1"
    assert found.pid > 0
    assert abs(found.started - time.time()) < 600
    assert found.image_name == "confsync-testbed/sid-haproxy"


async def test_a_stopped_container_is_found_and_one_that_lives_wins(
    engine: Engine, stopped: Box
) -> None:
    label = f"label={LABEL}={stopped.tag}"
    for selector in (stopped.name, label):
        found = await engine.find(selector)
        assert (found.id, found.state, found.runs) == (stopped.id, "exited", False)
    with Box(options=("--label", f"{LABEL}={stopped.tag}")) as alive:
        assert (await engine.find(label)).id == alive.id
        docker("pause", alive.id)
        assert (await engine.find(label)).state == "paused"
        with Box(options=("--label", f"{LABEL}={stopped.tag}")) as third:
            with pytest.raises(NoContainer, match="2 containers carry the label") as caught:
                await engine.find(label)
            assert alive.name in caught.value.what
            assert third.name in caught.value.what
            assert stopped.name not in caught.value.what


async def test_nothing_that_fits_is_said_with_what_there_is(engine: Engine, box: Box) -> None:
    with pytest.raises(NoContainer, match=f"no container is named nobody; there are.*{box.name}"):
        await engine.find("nobody")
    with pytest.raises(NoContainer, match=f"no container carries the label {LABEL}=none"):
        await engine.find(f"label={LABEL}=none")


# Running


async def test_a_command_runs_with_exactly_an_environment(engine: Engine, box: Box) -> None:
    script = "env; pwd; id -u; echo said >&2; exit 3"
    code, output = await engine.run(
        box.id,
        ["sh", "-c", script],
        environment={"A": "b c", "HOME": "/nowhere"},
        directory="/var",
        user="65534",
        timeout=20,
    )
    path = box.exec("sh", "-c", "echo $PATH")
    assert code == 3
    assert sorted(output.decode().splitlines()) == sorted(
        ["A=b c", "HOME=/nowhere", f"PATH={path}", "PWD=/var", "/var", "65534", "said"]
    )


async def test_a_command_runs_with_the_containers_environment(engine: Engine, box: Box) -> None:
    code, output = await engine.run(box.id, ["env"], timeout=20)
    assert code == 0
    assert {b"OF_IMAGE=1", b"HOSTNAME=inside"} <= set(output.splitlines())


async def test_commands_that_do_not_end_or_do_not_exist(engine: Engine, box: Box) -> None:
    with pytest.raises(TimeoutError):
        await engine.run(box.id, ["sleep", "5"], timeout=0.5)
    code, output = await engine.run(box.id, ["no-such-program"], timeout=20)
    assert code in {126, 127}
    assert b"not found" in output


async def test_nothing_runs_in_a_container_that_does_not(engine: Engine, stopped: Box) -> None:
    with pytest.raises(errors.TargetUnavailable, match="is not running"):
        await engine.run(stopped.id, ["true"], timeout=20)


async def test_many_requests_at_once(engine: Engine, box: Box) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(engine.run(box.id, ["echo", str(n)], timeout=30)) for n in range(8)
        ]
    assert [t.result() for t in tasks] == [(0, f"{n}\n".encode()) for n in range(8)]


# Files


async def test_files_are_put_with_mode_and_owner_and_read(engine: Engine, box: Box) -> None:
    big = bytes(range(256)) * 4000
    await engine.put(
        box.id,
        [
            File(path="/etc/haproxy/a.cfg", data=b"one", mode=0o640, uid=5, gid=6),
            File(path="/tmp/big", data=big),
            File(path="/etc/haproxy/b.map", data=b""),
        ],
    )
    shown = box.exec("stat", "-c", "%a %u %g %s", "/etc/haproxy/a.cfg", "/tmp/big")
    assert shown.splitlines() == ["640 5 6 3", f"644 0 0 {len(big)}"]
    assert await data(engine, box, "/etc/haproxy/a.cfg") == b"one"
    assert await data(engine, box, "/etc/haproxy/b.map") == b""
    assert await data(engine, box, "/tmp/big") == big
    assert await data(engine, box, "/etc/haproxy/none") is None


async def test_a_file_that_is_put_again_is_replaced(engine: Engine, box: Box) -> None:
    for text in (b"first and long", b"second"):
        await engine.put(box.id, [File(path="/etc/haproxy/again", data=text)])
    assert await data(engine, box, "/etc/haproxy/again") == b"second"


async def test_a_link_is_followed(engine: Engine, box: Box) -> None:
    box.exec("sh", "-c", "echo far >/srv/far; ln -sf /srv/far /srv/near; ln -sf near /srv/two")
    assert await data(engine, box, "/srv/near") == b"far\n"
    assert b"Debian" in (await data(engine, box, "/etc/os-release") or b"")
    assert await data(engine, box, "/srv/two") == b"far\n"
    with pytest.raises(errors.TargetUnavailable, match="is a folder"):
        await data(engine, box, "/etc")


async def test_a_container_that_does_not_run_has_files_too(engine: Engine) -> None:
    with Box(options=("--volume", "/data"), run=False) as box:
        files = [File(path=p, data=b"text") for p in ("/etc/haproxy/x", "/data/y")]
        await engine.put(box.id, files)
        assert await data(engine, box, "/etc/haproxy/x") == b"text"
        assert await data(engine, box, "/data/y") == b"text"
        docker("start", box.id)
        assert box.exec("cat", "/etc/haproxy/x", "/data/y") == "texttext"


async def test_where_files_cannot_be_put_is_said(engine: Engine, tmp_short: Path) -> None:
    (tmp_short / "one").write_text("mounted")
    options = ["--read-only", "--tmpfs", "/run", "--volume", f"{tmp_short}/one:/etc/one"]
    options += ["--volume", f"{tmp_short}:/shut:ro", "--volume", "/open"]
    with Box(options=options) as box:
        for path, said in {
            "/etc/one": "single file",
            "/run/x": "tmpfs",
            "/shut/x": "mounted read-only",
            "/srv/x": "file system of the container .* is read-only",
            "/open/none/x": "no folder /open/none",
        }.items():
            with pytest.raises(errors.WriteError, match=said) as caught:
                await engine.put(box.id, [File(path=path, data=b"new")])
            assert caught.value.remedy
        await engine.put(box.id, [File(path="/open/x", data=b"new")])
        assert await data(engine, box, "/open/x") == b"new"
        box.write("/run/y", "inside")
        with pytest.raises(errors.TargetUnavailable, match="tmpfs"):
            await data(engine, box, "/run/y")
    assert (tmp_short / "one").read_text() == "mounted"


# Signals, processes, logs


async def test_a_signal_arrives_and_its_traces_are_seen(engine: Engine) -> None:
    script = "trap 'echo got it; echo aside >&2' USR2; echo ready; while :; do sleep 0.05; done"
    with Box("sh", "-c", script) as box:
        box.wait(lambda: "ready" in docker("logs", box.id), "readiness")
        assert (await engine.logs(box.id, 0)) == "ready\n"
        found = await engine.find(box.name)
        since = time.time()
        await engine.kill(box.id, "SIGUSR2")
        async with asyncio.timeout(10):
            while "got it" not in (said := await engine.logs(box.id, since)):
                await asyncio.sleep(0.05)
        assert "ready" not in said
        listed = await engine.processes(box.id)
        first = next(p for p in listed if p.pid == found.pid)
        assert first.command.endswith(script)
        assert any(p.parent == found.pid for p in listed)
        assert 0 <= first.age < 600


async def test_what_has_ended_can_neither_be_signalled_nor_listed(
    engine: Engine, stopped: Box
) -> None:
    with pytest.raises(errors.TargetUnavailable, match="is not running"):
        await engine.kill(stopped.id, "SIGUSR2")
    with pytest.raises(errors.TargetUnavailable, match="is not running"):
        await engine.processes(stopped.id)


# A container for a moment

GOOD = b"defaults\n  timeout client 1s\nfrontend f\n  bind 127.0.0.1:8080\n"


def one_offs(box: Box) -> str:
    return docker("ps", "-aq", "--filter", f"label={ONE_OFF}.of={box.id}")


async def test_haproxy_checks_although_its_container_does_not_run(engine: Engine) -> None:
    options = ("--volume", "/maps", "--env", "OF_IMAGE=1")
    with Box(options=options, run=False) as box:
        await engine.put(box.id, [File(path="/maps/hosts.map", data=b"a b\n")])
        found = await engine.find(box.name)
        for text, good in ((GOOD, True), (GOOD + b"nonsense\n", False)):
            code, output = await engine.one_off(
                found,
                ["sh", "-c", "cat /maps/hosts.map; exec haproxy -c -f /tmp/x.cfg"],
                files=[File(path="/tmp/x.cfg", data=text)],
                environment={"A": "1"},
                timeout=30,
            )
            assert (code == 0) is good, output
            assert b"a b\n" in output
            assert (b"unknown keyword 'nonsense'" in output) is not good
        code, output = await engine.one_off(
            found, ["sh", "-c", "env; ls /sys/class/net; echo x >/maps/y"], timeout=30
        )
        assert code != 0
        assert b"OF_IMAGE=1" in output
        assert b"eth0" not in output
        assert not one_offs(box)
        # The volume is anonymous, and was that of the removed ones too.
        assert await data(engine, box, "/maps/hosts.map") == b"a b\n"
        assert await data(engine, box, "/maps/y") is None


@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_a_one_off_is_removed_although_it_does_not_end(
    engine: Engine, stopped: Box, how: str
) -> None:
    found = await engine.find(stopped.name)
    one_off = engine.one_off(found, ["sleep", "60"], timeout=1.5 if how == "late" else 60)
    if how == "late":
        with pytest.raises(TimeoutError):
            await one_off
    else:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one_off)
            while not one_offs(stopped):
                await asyncio.sleep(0.02)
            task.cancel()
    assert not one_offs(stopped)


async def test_files_of_a_one_off_go_over_no_volume(engine: Engine, box: Box) -> None:
    with Box(options=("--volume", "/maps"), run=False) as other:
        found = await engine.find(other.name)
        with pytest.raises(errors.WriteError, match="cannot be put into /maps"):
            await engine.one_off(
                found, ["true"], files=[File(path="/maps/x", data=b"")], timeout=30
            )
        assert not one_offs(other)
