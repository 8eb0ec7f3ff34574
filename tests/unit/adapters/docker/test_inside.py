import pytest

from confsync import errors
from confsync.adapters.docker import inside as module
from confsync.adapters.docker.inside import Found, Inside, signalled
from tests.unit.adapters.docker.box import FakeBridge, FakeEngine, mount


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine()
    made.have("/etc/a.cfg", "a\n", 0o640, 99, 98)
    made.have("/etc/b.cfg", "b\n")
    return made


async def test_a_command_goes_over_the_bridge_else_as_root_by_the_engine(
    engine: FakeEngine,
) -> None:
    engine.answers["id"] = (0, b"x")
    bridge = FakeBridge(engine)
    inside = Inside(engine, bridge)
    assert await inside.run(engine.container, ["id"]) == (0, b"x")
    assert bridge.ran == [("id",)]
    assert bridge.used[-1] == engine.container
    assert engine.ran == []
    bridge.broken = True
    await inside.run(engine.container, ["id"])
    bridge.available = False
    await inside.run(engine.container, ["id"], user="7:7")
    assert engine.ran == [("0:0", ("id",)), ("7:7", ("id",))]


async def test_a_users_command_takes_the_bridge_only_when_that_is_the_user(
    engine: FakeEngine,
) -> None:
    engine.answers["id"] = (0, b"x")
    bridge = FakeBridge(engine, "99:98")
    inside = Inside(engine, bridge)
    await inside.run(engine.container, ["id"], user="99:98")
    await inside.run(engine.container, ["id"], user="0:0")
    assert engine.ran == [("0:0", ("id",))]
    assert [argv for argv in bridge.ran if argv == ("id",)] == [("id",)]
    assert len(bridge.ran) == 2  # who it is was asked once


async def test_roots_commands_have_a_bridge_of_their_own(engine: FakeEngine) -> None:
    engine.answers["id"] = (0, b"x")
    bridge, root = FakeBridge(engine, "99:98"), FakeBridge(engine, "0:0")
    inside = Inside(engine, bridge, root)
    await inside.run(engine.container, ["id"], user="0:0")
    await inside.run(engine.container, ["id"], user="7:7")
    assert root.ran == [("id",)]
    assert root.used == [engine.container]
    root.broken = True
    await inside.run(engine.container, ["id"], user="0:0")
    root.available = False
    await inside.run(engine.container, ["id"], user="0:0")
    assert [user for user, _ in engine.ran] == ["7:7", "0:0", "0:0"]
    rooted = FakeBridge(engine, "0:0")
    await Inside(engine, rooted, root).run(engine.container, ["id"], user="0:0")
    assert rooted.ran[-1] == ("id",)  # one is enough where the container's user is root


async def test_a_change_is_tried_as_the_containers_user_too(engine: FakeEngine) -> None:
    engine = FakeEngine(user="haproxy")
    engine.answers["rm"] = (1, b"")
    inside = Inside(engine)
    assert not await inside.change(engine.container, ["rm", "x"])
    assert [user for user, _ in engine.ran] == ["0:0", "haproxy"]
    engine.answers["rm"] = TimeoutError()
    assert not await inside.change(engine.container, ["rm", "x"])


async def test_files_and_folders_are_read_with_their_owners(engine: FakeEngine) -> None:
    inside = Inside(engine)
    one = await inside.file(engine.container, "/etc/a.cfg")
    assert one == Found(data=b"a\n", mode=0o640, uid=99, gid=98)
    folder = await inside.files(engine.container, "/etc")
    assert isinstance(folder, dict)
    assert sorted(folder) == ["a.cfg", "b.cfg"]
    assert await inside.file(engine.container, "/etc/c.cfg") is None
    with pytest.raises(errors.TargetUnavailable, match="is a folder"):
        await inside.file(engine.container, "/etc")


async def test_links_are_followed_to_their_end(engine: FakeEngine) -> None:
    engine.links = {"/etc/far": "/etc/near", "/etc/near": "a.cfg", "/etc/round": "round"}
    one = await Inside(engine).file(engine.container, "/etc/far")
    assert one is not None
    assert one.data == b"a\n"
    with pytest.raises(errors.TargetUnavailable, match="symlink without an end"):
        await Inside(engine).file(engine.container, "/etc/round")


async def test_a_missing_container_is_no_missing_file(engine: FakeEngine) -> None:
    engine.gone = True
    with pytest.raises(errors.TargetUnavailable, match="No such container"):
        await Inside(engine).file(engine.container, "/etc/a.cfg")


async def test_what_cannot_be_shown_is_told(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = FakeEngine(mounts=(mount("tmpfs", "", "/etc"),))
    with pytest.raises(errors.TargetUnavailable, match="tmpfs of the container lb"):
        await Inside(hidden).file(hidden.container, "/etc/a.cfg")
    monkeypatch.setattr(module, "LIMIT", 700)
    engine.have("/etc/big", "x" * 1000)
    with pytest.raises(errors.TargetUnavailable, match="more than 700 bytes"):
        await Inside(engine).file(engine.container, "/etc/big")


async def test_digests_are_asked_at_once_and_as_root_where_needed(engine: FakeEngine) -> None:
    a = engine.files["/etc/a.cfg"].digest
    assert await Inside(engine).digests(engine.container, ["/etc/a.cfg", "/x"]) == {
        "/etc/a.cfg": a,
        "/x": None,
    }
    assert len(engine.ran) == 1
    bridge = FakeBridge(engine)
    engine.answers["sha256sum"] = (1, b"sha256sum: /etc/a.cfg: Permission denied\n")
    assert await Inside(engine, bridge).digests(engine.container, ["/etc/a.cfg"]) == {
        "/etc/a.cfg": None
    }
    assert engine.ran[-1] == ("0:0", ("sha256sum", "/etc/a.cfg"))
    assert await Inside(engine).digests(engine.container, []) == {}


async def test_digests_without_the_program_or_of_what_does_not_run(engine: FakeEngine) -> None:
    a = engine.files["/etc/a.cfg"].digest
    engine.answers["sha256sum"] = (127, b"executable file not found")
    wanted = {"/etc/a.cfg": a, "/x": None}
    assert await Inside(engine).digests(engine.container, ["/etc/a.cfg", "/x"]) == wanted
    stopped = FakeEngine(state="exited")
    stopped.files = engine.files
    assert await Inside(stopped).digests(stopped.container, ["/etc/a.cfg", "/x"]) == wanted
    assert stopped.ran == []


def test_a_signal_is_told_as_such() -> None:
    assert [signalled(code) for code in (0, 1, 127, 128, 139)] == [0, 1, 127, 128, -11]
