import asyncio
import time

import pytest

from confsync import errors
from confsync.adapters.docker import faults
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.container import ONE_OFF, Container, NoContainer
from confsync.adapters.docker.engine import Engine, Process
from confsync.adapters.docker.options import DockerOptions
from tests.unit.adapters.docker.fake import FakeClient, listed, refusal

ONE, TWO, OTHER = "db1" + "1" * 61, "ab2" + "2" * 61, "ab2" + "3" * 61


def engine(*clients: FakeClient, timeout: float = 5) -> Engine:
    made = iter(clients)
    return Engine(DockerOptions(container="lb", timeout=timeout), connect=lambda: next(made))


@pytest.mark.parametrize("selector", ["lb", TWO, TWO[:12], TWO[:8], "label=x", "label=x=1"])
async def test_one_container_is_found_each_way(selector: str) -> None:
    client = FakeClient(listed(ONE, "web"), listed(TWO, "lb", x="1"))
    assert (await engine(client).find(selector)).name == "lb"


async def test_a_stopped_one_is_found() -> None:
    found = await engine(FakeClient(listed(ONE, "lb", "exited"))).find("lb")
    assert (found.state, found.exit_code) == ("exited", 7)


async def test_a_name_that_begins_a_foreign_id_finds_nothing() -> None:
    client = FakeClient(listed(ONE, "web"))
    with pytest.raises(NoContainer, match="no container is named db1; there are web"):
        await engine(client).find("db1")


async def test_an_id_that_is_not_unique_is_refused() -> None:
    client = FakeClient(listed(TWO, "a"), listed("ab2" + "2" * 30 + "3" * 31, "b"))
    with pytest.raises(NoContainer, match=r"2 containers have an id that begins.*: a, b"):
        await engine(client).find(TWO[:12])


async def test_nothing_is_found() -> None:
    client = FakeClient(listed(ONE, "web"))
    for selector in ("lb", "label=x", "label=x=2", "f" * 64):
        with pytest.raises(NoContainer):
            await engine(client).find(selector)


async def test_a_labelled_one_that_goes_away_meanwhile_is_no_crash() -> None:
    client = FakeClient(listed(ONE, "lb", x=""))
    client.broken["inspect"] = refusal(404, "No such container")
    with pytest.raises(NoContainer, match="went away"):
        await engine(client).find("label=x")


async def test_after_the_engine_was_gone_the_client_is_made_anew() -> None:
    first, second = FakeClient(), FakeClient(listed(ONE, "lb"))
    first.broken["inspect"] = faults.EngineGone("gone")
    one = engine(first, second)
    with pytest.raises(faults.EngineGone):
        await one.find("lb")
    assert (await one.find("lb")).id == ONE
    assert first.closed == 1


async def test_a_refusal_keeps_the_client() -> None:
    client = FakeClient(listed(ONE, "lb"))
    one = engine(client)
    client.broken["inspect"] = refusal(500, "broken")
    with pytest.raises(faults.Refusal):
        await one.find("lb")
    assert (await one.find("lb")).id == ONE


@pytest.mark.fast_clock
async def test_an_engine_that_hangs_is_given_up_and_does_not_hold_the_loop() -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.hanging.add("inspect")
    ticks = 0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_late(engine(client, timeout=0.05)))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.001)
    client.goes_on.set()
    assert task.result().what.endswith("did not answer within 0.05 s")
    assert ticks > 3


async def _late(one: Engine) -> faults.EngineGone:
    with pytest.raises(faults.EngineGone) as caught:
        await one.find("lb")
    return caught.value


# Files


async def test_files_go_one_request_a_folder() -> None:
    client = FakeClient(listed(ONE, "lb"))
    await engine(client).put(ONE, [File(path=p, data=b"") for p in ("/a/1", "/b/2", "/a/3")])
    assert [c for c in client.calls if c[0] == "put"] == [("put", ONE, "/a"), ("put", ONE, "/b")]


async def test_nothing_is_put_when_one_of_the_files_cannot_be() -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.details["Mounts"] = [{"Type": "bind", "Destination": "/b/2"}]
    with pytest.raises(errors.WriteError, match="single file"):
        await engine(client).put(ONE, [File(path=p, data=b"") for p in ("/a/1", "/b/2")])
    assert not [c for c in client.calls if c[0] == "put"]


async def test_processes_are_read_and_headers_of_a_strange_ps_left_out() -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.rows = [["12", "1", "3600", "haproxy -W -f x"], ["PID", "PPID", "ELAPSED", "CMD"], ["1"]]
    assert await engine(client).processes(ONE) == (
        Process(pid=12, parent=1, age=3600, command="haproxy -W -f x"),
    )


# A container for a moment

LB = Container(
    id=ONE, name="lb", image="sha256:1", user="haproxy", environment={"PATH": "/bin", "A": "1"}
)


def asked(client: FakeClient) -> list[str]:
    return [c[0] for c in client.calls if c[0] not in {"inspect", "list"}]


async def test_a_one_off_is_made_filled_started_heard_and_removed() -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.logged = b"\x01\x00\x00\x00\x00\x00\x00\x02ok"
    files = [File(path="/tmp/a", data=b"1")]
    done = await engine(client).one_off(LB, ["haproxy", "-c"], files=files, timeout=5)
    assert done == (7, b"ok")
    assert asked(client) == ["create", "put", "start", "logs", "remove"]
    (made,) = [c for c in client.calls if c[0] == "create"]
    assert made[1:3] == (ONE, ("haproxy", "-c"))
    assert made[3]["environment"] == ("PATH=/bin", "A=1")
    assert (made[3]["user"], made[3]["network"], made[3]["directory"]) == ("haproxy", "none", "/")
    assert made[3]["labels"].keys() == {ONE_OFF, f"{ONE_OFF}.of"}
    assert [c["Names"] for c in client.containers] == [["/lb"]]


async def test_a_one_off_can_have_exactly_an_environment() -> None:
    client = FakeClient(listed(ONE, "lb"))
    await engine(client).one_off(LB, ["x"], environment={"B": "2"}, timeout=5)
    (made,) = [c for c in client.calls if c[0] == "create"]
    assert made[3]["environment"] == ("B=2", "PATH=/bin", "A", "HOME", "HOSTNAME", "TERM")


@pytest.mark.parametrize("step", ["create", "put", "start", "logs"])
async def test_a_one_off_is_removed_whatever_fails(step: str) -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.broken[step] = refusal(500, "broken")
    with pytest.raises(errors.ConfsyncError, match="broken"):
        await engine(client).one_off(LB, ["x"], files=[File(path="/a", data=b"")], timeout=5)
    assert asked(client)[-1] == "remove"
    assert [c["Names"] for c in client.containers] == [["/lb"]]


@pytest.mark.fast_clock
async def test_a_one_off_that_takes_too_long_is_removed() -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.hanging.add("ended")
    with pytest.raises(TimeoutError):
        await engine(client).one_off(LB, ["x"], timeout=0.2)
    assert [c["Names"] for c in client.containers] == [["/lb"]]


@pytest.mark.parametrize(("hanging", "asked_for"), [("create", "create"), ("ended", "inspect")])
async def test_a_one_off_that_is_cancelled_is_removed(hanging: str, asked_for: str) -> None:
    client = FakeClient(listed(ONE, "lb"))
    client.hanging.add(hanging)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(engine(client).one_off(LB, ["x"], timeout=5))
        while asked_for not in [call[0] for call in client.calls]:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0.01)  # the cancellation comes while the thread is under way
        assert hanging == "ended" or not task.done()
        client.goes_on.set()
    assert task.cancelled()
    assert client.made  # what was under way in a thread ended first
    assert asked(client)[-1] == "remove"
    assert [c["Names"] for c in client.containers] == [["/lb"]]


async def test_what_a_killed_confsync_left_is_removed_by_the_next_check() -> None:
    old, young = str(int(time.time()) - 3600), str(int(time.time()) - 60)
    client = FakeClient(
        listed(ONE, "lb"),
        listed(TWO, "old", "exited", **{ONE_OFF: old}),
        listed(OTHER, "young", **{ONE_OFF: young}),
    )
    await engine(client).one_off(LB, ["x"], timeout=5)
    assert [c["Names"] for c in client.containers] == [["/lb"], ["/young"]]
