"""Processes as the shell inside tells them, in hex."""

from collections.abc import Sequence

import pytest

from confsync.adapters.docker import master
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.master import Masters
from tests.unit.adapters.docker.box import FakeEngine


def process(
    pid: int,
    words: Sequence[str] = ("haproxy", "-W", "-f", "a.cfg"),
    *,
    parent: int = 0,
    uid: int = 0,
    environ: str = "WEB=x\nHAPROXY_CLI=y",
    exe: str = "/usr/sbin/haproxy",
) -> str:
    status = f"Name:\thaproxy\nPPid:\t{parent}\nUid:\t7\t{uid}\t7\t7\nGid:\t7\t{uid}\t7\t7\n"
    cmdline = "".join(f"{word}\0" for word in words)
    return (
        f"pid {pid}\ncwd /srv\nexe {exe}\nstatus {status.encode().hex()}\n"
        f"cmdline {cmdline.encode().hex()}\n"
        f"environ {environ.replace(chr(10), chr(0)).encode().hex()}\n"
    )


def engine(*processes: str, **fields: object) -> FakeEngine:
    made = FakeEngine(**fields)
    made.answers["sh"] = (0, "".join(processes).encode())
    return made


async def test_the_master_is_no_child_of_another_and_no_check() -> None:
    one = engine(
        process(30, ("haproxy", "-c", "-f", "/x.cfg")),
        process(9, parent=8, uid=99),
        process(8, parent=1),
    )
    found = await Masters(Inside(one)).find(one.container)
    assert found is not None
    assert (found.command.pid, found.user) == (8, "0:0")
    assert found.command.files == ("/srv/a.cfg",)
    assert found.command.program == "/usr/sbin/haproxy"
    assert found.command.environment == {"WEB": "x"}
    assert found.command.notes == ()


async def test_an_environment_that_root_may_not_read_is_read_as_its_user() -> None:
    one = engine(process(8, uid=99, environ=""), environment={"A": "1"})
    found = await Masters(Inside(one)).find(one.container, 8)
    assert [user for user, _ in one.ran] == ["0:0", "99:99"]
    assert one.ran[0][1][-1] == "/proc/8"
    assert found is not None
    assert found.command.environment == {"A": "1"}
    (note,) = found.command.notes
    assert "checked with that of the container lb" in note


async def test_a_master_that_haproxy_names_is_looked_at_once_in_a_life() -> None:
    one = engine(process(8))
    masters = Masters(Inside(one))
    for _ in range(2):
        assert await masters.find(one.container, 8) is not None
    assert len(one.ran) == 1
    await masters.find(engine(started=2.0).container, 8)
    assert len(one.ran) == 2
    await masters.find(one.container)
    await masters.find(one.container)
    assert len(one.ran) == 4


async def test_nothing_to_be_seen_is_no_master() -> None:
    for said in (
        "",
        "sh: not found",
        "pid 8\ncwd /\nexe /x\nstatus zz\n",
        process(8, ("haproxy", "-v")),
    ):
        one = engine(said)
        assert await Masters(Inside(one)).find(one.container) is None


async def test_a_master_that_executes_itself_anew_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(master, "_PAUSE", 0.0)
    one = engine(process(8, ()))
    assert await Masters(Inside(one)).find(one.container, 8) is None
    assert len(one.ran) == 5
    looks = iter((process(8, ()), process(8)))

    def again(argv: list[str]) -> tuple[int, bytes]:
        return 0, next(looks).encode()

    del one.answers["sh"]
    one.obeyed = again  # type: ignore[method-assign]
    assert await Masters(Inside(one)).find(one.container, 8) is not None
