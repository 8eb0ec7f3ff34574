"""Steps over a fake worker that does, as each release would, what is hard to catch live."""

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy import session
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.runtime import SocketRuntime
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
from tests.unit.adapters.haproxy.runtime_fake import FakeWorker, Server

pytestmark = pytest.mark.fast_clock

BEFORE = Observed(running=True, worker_pid=101, worker_started=5.0)
MAP = "/etc/haproxy/hosts.map"


@pytest.fixture
async def fake(tmp_short: Path) -> AsyncIterator[FakeWorker]:
    one = FakeWorker(tmp_short / "admin.sock")
    one.servers = {
        "api/a": Server("10.0.0.1", 80, number=70_001),
        "api/b": Server("10.0.0.2", 80, number=70_002),
    }
    one.maps, one.current = {MAP: {0: ["old 1"]}}, {MAP: 0}
    async with one.serving():
        yield one


def runtime(fake: FakeWorker, *, closed: bool = False) -> SocketRuntime:
    return SocketRuntime(
        SocketOptions(config=str(fake.path.with_name("h.cfg")), stats_socket=str(fake.path)),
        closed=closed,
    )


def add(server: str = "c", number: int = 70_003, **more: object) -> AddServer:
    step = AddServer(
        backend="api",
        server=server,
        address="10.0.0.3",
        port=80,
        words=("id", str(number), "check"),
        server_id=number,
        checked=True,
    )
    return replace(step, **more)  # type: ignore[arg-type]


RETIRE = RetireServer(backend="api", server="a")


# Adding


async def test_a_server_is_added_then_checked_then_given_traffic(fake: FakeWorker) -> None:
    applied = await runtime(fake).apply((add(),), BEFORE)
    assert (applied.done, applied.doubt) == ((add(),), "")
    assert fake.told()[-3:] == [
        "add server api/c 10.0.0.3:80 id 70003 check",
        "enable health api/c",
        "set server api/c state ready",
    ]


async def test_one_connection_changes_and_reads_back_and_one_looks_again(fake: FakeWorker) -> None:
    one = runtime(fake)
    await one.capabilities(BEFORE)
    before = fake.connections
    await one.apply((add(), SetWeight(backend="api", server="a", weight=4)), BEFORE)
    assert fake.connections == before + 2


async def test_the_first_words_are_said_while_files_are_written(fake: FakeWorker) -> None:
    one = runtime(fake)
    await one.capabilities(BEFORE)
    before, fake.asked = fake.connections, []
    with one.ahead(BEFORE):
        while len(fake.asked) < 2:
            await asyncio.sleep(0.001)
        assert fake.asked == ["prompt", "show info"]
        assert (await one.apply((add(),), BEFORE)).done == (add(),)
    assert fake.connections == before + 2
    assert fake.asked[2].startswith("add server api/c")


async def test_what_was_said_ahead_and_has_become_old_is_said_again(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = runtime(fake)
    await one.capabilities(BEFORE)
    before = fake.connections
    monkeypatch.setattr(session, "_FRESH", -1.0)
    with one.ahead(BEFORE):
        assert (await one.apply((add(),), BEFORE)).done == (add(),)
    assert fake.connections == before + 3


async def test_what_was_said_ahead_to_another_worker_changes_nothing(fake: FakeWorker) -> None:
    one = runtime(fake)
    await one.capabilities(BEFORE)
    fake.pid, fake.asked = 102, []
    with one.ahead(BEFORE):
        while len(fake.asked) < 2:
            await asyncio.sleep(0.001)
        fake.pid = 101  # who answers from here on is another one
        applied = await one.apply((RETIRE,), BEFORE)
    assert applied.doubt == "worker 102 answers, and not 101; nothing was changed"
    assert fake.told() == []


async def test_nothing_that_was_said_ahead_stays_open(fake: FakeWorker) -> None:
    one = runtime(fake)
    with pytest.raises(ValueError, match="a write failed"), one.ahead(BEFORE):
        raise ValueError("a write failed")
    with one.ahead(replace(BEFORE, loading=True)):
        pass
    await asyncio.sleep(0.01)
    assert fake.connections == 1
    assert (await one.apply((add(),), BEFORE)).done == (add(),)


async def test_where_nobody_listens_ahead_the_change_tells(tmp_short: Path) -> None:
    one = runtime(FakeWorker(tmp_short / "none.sock"))
    with one.ahead(BEFORE):
        applied = await one.apply((RETIRE,), BEFORE)
    assert applied.doubt == f"no socket {tmp_short}/none.sock; nothing was changed"


async def test_a_repetition_counts_as_done(fake: FakeWorker) -> None:
    one = runtime(fake)
    steps = (add(), RetireServer(backend="api", server="gone"))
    assert not (await one.apply(steps, BEFORE)).doubt
    again = await one.apply(steps, BEFORE)
    assert (again.done, again.doubt) == (steps, "")


async def test_another_server_of_that_name_is_no_repetition(fake: FakeWorker) -> None:
    fake.servers["api/c"] = Server("10.9.9.9", 80, number=70_003, admin=1)
    applied = await runtime(fake).apply((add(),), BEFORE)
    assert applied.done == ()
    assert applied.doubt == "server api/c: its address is 10.9.9.9, not 10.0.0.3"


@pytest.mark.parametrize(
    ("version", "release", "expected"),
    [
        ("3.2.26", "3.2", ["add server api/c 10.0.0.3:80 id 70003 check init-state down"]),
        ("3.0.11", "3.0", ["set server api/c state ready", "set server api/c health down"]),
    ],
)
async def test_closed_until_checked(
    fake: FakeWorker, version: str, release: str, expected: list[str]
) -> None:
    fake.version, fake.release = version, release
    assert not (await runtime(fake, closed=True).apply((add(),), BEFORE)).doubt
    told = fake.told()
    assert [command for command in told if command in expected] == expected
    assert told[-1] in {expected[-1], "set server api/c state ready"}


def _only(fake: FakeWorker, release: str) -> tuple[SocketRuntime, str]:
    """A worker with api/a alone, and what opens api/c there."""
    fake.release, fake.version = release, f"{release}.20"
    del fake.servers["api/b"]
    return runtime(fake, closed=True), "set server api/c health up"


@pytest.mark.parametrize("release", ["2.6", "3.2"])
@pytest.mark.parametrize("again", [False, True])
async def test_the_only_servers_left_are_opened_before_their_check(
    fake: FakeWorker, release: str, *, again: bool
) -> None:
    one, opens = _only(fake, release)
    if again:
        fake.servers["api/c"] = Server("10.0.0.3", 80, number=70_003, admin=1, checked=8)
    steps = (add(again=again), RETIRE)
    assert await one.apply(steps, BEFORE) == Applied(done=steps)
    told = fake.told()
    assert told.index(opens) < told.index("set server api/a state maint")
    assert fake.servers["api/c"].up


async def test_also_where_a_later_change_takes_the_others(fake: FakeWorker) -> None:
    one, opens = _only(fake, "3.2")
    assert not (await one.apply((add(),), BEFORE)).doubt
    assert opens not in fake.told()
    out = SetState(backend="api", server="a", state=Admin.DRAIN)
    assert not (await one.apply((out,), BEFORE)).doubt
    assert opens in fake.told()


@pytest.mark.parametrize(
    "others",
    [
        {"api/b": Server("10.0.0.2", 80)},  # goes on serving
        {"api/a": Server("10.0.0.1", 80, number=70_001, up=False)},  # none to lose
        {"api/c": Server("10.0.0.3", 80, number=70_003, up=False, checked=8)},  # a check says DOWN
        {"api/c": Server("10.0.0.3", 80, number=70_003, up=False, admin=1)},
        {"api/c": Server("10.0.0.3", 80, number=70_003, up=False, weight=0)},
        {"api/c": Server("10.0.0.3", 80, number=70_003, up=False, checks=0)},
        {"web/a": Server("10.0.0.3", 80, up=False)},  # another backend's
    ],
)
async def test_else_none_is_opened(fake: FakeWorker, others: dict[str, Server]) -> None:
    one, _ = _only(fake, "3.2")
    if "web/a" not in others:
        fake.servers["api/c"] = Server("10.0.0.3", 80, number=70_003, up=False)
    fake.servers |= others
    assert not (await one.apply((RETIRE,), BEFORE)).doubt
    assert [command for command in fake.told() if "health" in command] == []


async def test_two_that_move_one_after_the_other_are_not_both_down(fake: FakeWorker) -> None:
    """The first one waits for its check at its new place when the second one goes."""
    one = runtime(fake)
    moves = [
        SetAddress(backend="api", server=name, address="10.0.0.9", port=port, down=True)
        for name, port in (("a", 81), ("b", 82), ("a", 83))
    ]
    for number, name in ((0, "b"), (1, "a")):
        assert not (await one.apply((moves[number],), BEFORE)).doubt
        assert fake.servers[f"api/{name}"].up
    assert fake.told("set server api/a health") == [
        "set server api/a health down",
        "set server api/a health up",
    ]
    # Its check fails meanwhile, and it was not moved again: nobody believes it once more.
    fake.servers["api/b"].up = True
    again = runtime(fake)
    fake.servers["api/a"].up, fake.servers["api/a"].checked = False, 8
    assert not (await again.apply((SetWeight(backend="api", server="b", weight=0),), BEFORE)).doubt
    assert not fake.servers["api/a"].up


async def test_one_that_was_checked_since_is_forgotten(fake: FakeWorker) -> None:
    one = runtime(fake)
    move = SetAddress(backend="api", server="a", address="10.0.0.9", port=81, down=True)
    assert not (await one.apply((move,), BEFORE)).doubt
    fake.servers["api/a"].up = True
    assert not (await one.apply((SetWeight(backend="api", server="b", weight=0),), BEFORE)).doubt
    fake.servers["api/a"].up, fake.servers["api/a"].checked = False, 8
    fake.servers["api/b"].weight = 1
    assert not (await one.apply((SetWeight(backend="api", server="b", weight=0),), BEFORE)).doubt
    assert not fake.servers["api/a"].up


async def test_what_cannot_be_opened_takes_nothing_away(fake: FakeWorker) -> None:
    one, opens = _only(fake, "3.2")
    fake.odd[opens] = "health checks are not enabled on this server.\n"
    applied = await one.apply((add(), RETIRE), BEFORE)
    assert (len(applied.done), fake.servers["api/a"].admin) == (1, 0)
    assert "health up` was answered with `health checks are not" in applied.doubt


async def test_a_limit_is_read_by_the_backends_number(fake: FakeWorker) -> None:
    """`show stat NAME` shows the first proxy of that name, perhaps a frontend without servers."""
    fake.servers["web/a"] = Server("10.0.0.1", 80)
    step = SetMaxconn(backend="web", server="a", maxconn=7)
    assert not (await runtime(fake).apply((step,), BEFORE)).doubt
    assert fake.told("show stat") == ["show stat 4 4 -1"]


async def test_a_server_that_comes_back_is_not_added(fake: FakeWorker) -> None:
    fake.servers["api/c"] = Server("10.0.0.3", 80, number=70_003, admin=1, weight=9)
    assert not (await runtime(fake).apply((add(again=True, weight=3),), BEFORE)).doubt
    assert not fake.told("add server api")
    assert fake.servers["api/c"].admin == 0
    assert fake.servers["api/c"].weight == 3


# Order, refusals


async def test_a_refused_step_ends_the_work_before_traffic_is_taken(fake: FakeWorker) -> None:
    words = "Backend must use a dynamic load balancing to support dynamic servers.\n"
    fake.odd["add server api/c "] = words
    applied = await runtime(fake).apply((add(), RETIRE), BEFORE)
    assert applied.done == ()
    assert applied.doubt == (
        "server api/c: `add server` was answered with "
        "`Backend must use a dynamic load balancing to support dynamic servers.`"
    )
    assert not fake.told("set server api/a")
    assert fake.servers["api/a"].admin == 0


async def test_what_is_confirmed_before_a_refusal_is_told(fake: FakeWorker) -> None:
    fake.odd["set server api/b weight"] = "Backend is using a static LB algorithm.\n"
    steps: tuple[Step, ...] = (add(), SetWeight(backend="api", server="b", weight=2), RETIRE)
    applied = await runtime(fake).apply(steps, BEFORE)
    assert applied.done == steps[:1]
    assert "server api/b: `set server` was answered with" in applied.doubt


async def test_a_silent_success_that_is_none_is_seen(fake: FakeWorker) -> None:
    fake.odd["set server api/a weight"] = ""
    step = SetWeight(backend="api", server="a", weight=7)
    applied = await runtime(fake).apply((step,), BEFORE)
    assert (applied.done, applied.doubt) == ((), "server api/a: its weight is 1, not 7")


async def test_checks_that_do_not_begin_are_seen(fake: FakeWorker) -> None:
    fake.odd["enable health"] = ""
    doubt = (await runtime(fake).apply((add(),), BEFORE)).doubt
    assert doubt == "server api/c: its health check is False, not True"


async def test_maxconn_is_read_back(fake: FakeWorker) -> None:
    step = SetMaxconn(backend="api", server="a", maxconn=9)
    assert not (await runtime(fake).apply((step,), BEFORE)).doubt
    fake.odd["set maxconn"] = ""
    step = replace(step, maxconn=0)
    doubt = (await runtime(fake).apply((step,), BEFORE)).doubt
    assert doubt == "server api/a: its maxconn is 9, not 0"


async def test_an_agent_is_heard_in_ready_servers_only(fake: FakeWorker) -> None:
    steps = (
        SetState(backend="api", server="a", state=Admin.READY, agent=True),
        SetState(backend="api", server="b", state=Admin.DRAIN, agent=True),
    )
    assert not (await runtime(fake).apply(steps, BEFORE)).doubt
    assert fake.told("enable", "disable", "set") == [
        "enable agent api/a",
        "set server api/a state ready",
        "disable agent api/b",
        "set server api/b state drain",
    ]


async def test_a_server_is_given_traffic_only_once_it_has_moved(fake: FakeWorker) -> None:
    """From 3.0 on the address changes after the answer."""
    fake.moves_late = 9
    fake.servers["api/a"].admin = 1
    steps = (
        SetAddress(backend="api", server="a", address="10.0.0.9", port=81, down=True),
        SetState(backend="api", server="a", state=Admin.READY),
    )
    where: list[str] = []
    fake.after = lambda command: (
        where.append(fake.servers["api/a"].address) if "state ready" in command else None
    )
    assert not (await runtime(fake).apply(steps, BEFORE)).doubt
    assert where == ["10.0.0.9"]
    assert fake.told("set")[:2] == [
        "set server api/a health down",
        "set server api/a addr 10.0.0.9 port 81",
    ]


async def test_a_server_that_never_moves_is_a_doubt(fake: FakeWorker) -> None:
    fake.moves_late = 1_000_000
    step = SetAddress(backend="api", server="a", address="10.0.0.9", port=80)
    doubt = (await runtime(fake).apply((step,), BEFORE)).doubt
    assert doubt == "server api/a: its address is 10.0.0.1, not 10.0.0.9"


async def test_many_steps(fake: FakeWorker) -> None:
    steps = tuple(add(f"n{n}", 80_000 + n) for n in range(450))
    applied = await runtime(fake).apply(steps, BEFORE)
    assert (applied.done, applied.doubt) == (steps, "")


# Workers, sockets


async def test_another_worker_is_told_nothing(fake: FakeWorker) -> None:
    fake.pid = 102
    applied = await runtime(fake).apply((add(),), BEFORE)
    assert applied.doubt == "worker 102 answers, and not 101; nothing was changed"
    assert not fake.told("add server api", "set")


@pytest.mark.parametrize("what", ["stopping", "pid"])
async def test_a_worker_that_is_replaced_meanwhile_is_a_doubt(fake: FakeWorker, what: str) -> None:
    fake.after = lambda command: (
        setattr(fake, what, 102) if command == "set server api/c state ready" else None
    )
    assert (await runtime(fake).apply((add(),), BEFORE)).doubt


async def test_a_worker_that_is_about_to_end_is_told_nothing_more(fake: FakeWorker) -> None:
    one = runtime(fake)
    fake.after = lambda command: (
        setattr(fake, "stopping", 1) if command == "set server api/c state ready" else None
    )
    applied = await one.apply((add(), RETIRE), BEFORE)
    assert "replaced meanwhile" in applied.doubt
    assert not fake.told("set server api/a")
    applied = await one.apply((RETIRE,), BEFORE)
    assert applied.doubt == "worker 101 is about to end; nothing was changed"
    assert not fake.told("set server api/a")


async def test_answers_in_small_pieces(fake: FakeWorker) -> None:
    fake.drips = True
    steps = (add(), RETIRE)
    assert (await runtime(fake).apply(steps, BEFORE)).done == steps


async def test_nothing_is_sent_while_a_reload_loads(fake: FakeWorker) -> None:
    doubt = (await runtime(fake).apply((add(),), replace(BEFORE, loading=True))).doubt
    assert doubt == "a reload of HAProxy is under way; nothing was changed"
    assert fake.asked == []


async def test_a_connection_that_ends_in_the_middle_is_a_doubt(fake: FakeWorker) -> None:
    fake.cut_at = "set server api/a"
    applied = await runtime(fake).apply((add(), RETIRE), BEFORE)
    assert applied.done == (add(),)
    assert "cut the connection" in applied.doubt


async def test_no_socket(tmp_short: Path) -> None:
    one = runtime(FakeWorker(tmp_short / "admin.sock"))
    applied = await one.apply((add(),), BEFORE)
    assert "no socket" in applied.doubt
    assert "nothing was changed" in applied.doubt
    with pytest.raises(errors.TargetUnavailable):
        await one.audit((), BEFORE)


async def test_hostile_text_is_not_sent(fake: FakeWorker) -> None:
    one = runtime(fake)
    await one.capabilities(BEFORE)
    before = len(fake.asked)
    steps = (RETIRE, add("x;del server api/b"))
    applied = await one.apply(steps, BEFORE)
    assert applied.done == ()
    assert "can't be said over HAProxy's socket" in applied.doubt
    assert len(fake.asked) == before


class Wire:
    """A way to sockets of this host that is none of the host's own. `said`: pieces that were sent."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.said: list[bytes] = []
        self.closed = 0

    async def connect(self, path: str) -> "Wire":
        self.reader, self.writer = await asyncio.open_unix_connection(path)
        return self

    async def exchange(self, *_: object, **__: object) -> bytes:
        raise AssertionError("a conversation is one connection")

    async def send(self, data: bytes) -> None:
        self.said.append(data)
        self.writer.write(data)

    async def receive(self) -> bytes:
        if self.errors:
            raise self.errors.pop(0)
        return await self.reader.read(1000)

    def close(self) -> None:
        self.closed += 1
        self.writer.close()


async def test_through_a_wire_a_conversation_stays_with_its_worker(fake: FakeWorker) -> None:
    wire = Wire()
    one = SocketRuntime(SocketOptions(stats_socket=str(fake.path)), wire=wire)
    await one.capabilities(BEFORE)
    assert not (await one.apply((add(), RETIRE), BEFORE)).doubt
    assert fake.connections == wire.closed == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "no"), "nobody listens"),
        (EOFError(), "cut the connection at `prompt"),
    ],
)
async def test_what_a_wire_says_is_said_as_of_a_socket(
    fake: FakeWorker, error: Exception, words: str
) -> None:
    one = SocketRuntime(SocketOptions(stats_socket=str(fake.path)), wire=Wire(error))
    assert words in (await one.apply((RETIRE,), BEFORE)).doubt


async def test_a_connection_that_leads_astray_is_told_nothing(fake: FakeWorker) -> None:
    options = SocketOptions(stats_socket=str(fake.path))
    one = SocketRuntime(options, astray=lambda before: f"not {before.worker_pid}")
    applied = await one.apply((RETIRE,), BEFORE)
    assert (applied.done, applied.doubt) == ((), "not 101; nothing was changed")
    assert fake.told() == []


async def test_a_worker_of_that_number_that_began_later_is_another_one(fake: FakeWorker) -> None:
    applied = await runtime(fake).apply((RETIRE,), replace(BEFORE, worker_started=1.0))
    assert "another worker 101 answers" in applied.doubt
    assert fake.told() == []


# What a build can do


async def test_capabilities_are_asked_once_for_each_worker(fake: FakeWorker) -> None:
    one = runtime(fake)
    first = await one.capabilities(BEFORE)
    count = len(fake.asked)
    assert await one.capabilities(BEFORE) is first
    # HAProxy tells its start as a difference of clocks.
    assert await one.capabilities(replace(BEFORE, worker_started=6.0)) is first
    assert len(fake.asked) == count
    fake.pid = 102
    await one.capabilities(replace(BEFORE, worker_pid=102))
    assert len(fake.asked) > count


@pytest.mark.parametrize(
    ("version", "release", "deletes", "waits", "words", "cookies"),
    [
        ("2.6.12-1+deb12u4", "2.6", False, False, False, False),
        ("2.8.25-5cf5d0683", "2.8", False, False, False, True),
        ("2.8.3", "2.8", False, False, False, False),
        ("3.0.11-1+deb13u3", "3.0", True, True, False, True),
        ("3.2.26-1", "3.2", True, True, True, True),
        ("3.4.1", "3.2", True, True, True, True),
    ],
)
async def test_what_each_release_can_do(
    fake: FakeWorker,
    version: str,
    release: str,
    deletes: bool,
    waits: bool,
    words: bool,
    cookies: bool,
) -> None:
    fake.version, fake.release = version, release
    found = await runtime(fake).capabilities(BEFORE)
    assert found is not None
    assert (found.version, found.deletes, found.waits) == (version, deletes, waits)
    assert (found.maps, found.dynamic_cookies, found.line) == (True, cookies, 15_000)
    assert (found.words is not None) == words
    if found.words is not None:
        assert {"check", "id", "init-state", "weight"} <= found.words
        assert "enabled" not in found.words
        assert "List" not in found.words


@pytest.mark.parametrize("remembers", [True, False])
async def test_the_first_server_tells_whether_deletions_are_safe(
    fake: FakeWorker, remembers: bool
) -> None:
    fake.version, fake.release, fake.remembers = "2.8.9", "2.8", remembers
    one = runtime(fake)
    own = add("d", 70_004, words=("id", "70004", "check", "pool-purge-delay", "5s"))
    await one.apply((own,), BEFORE)
    found = await one.capabilities(BEFORE)
    assert found is not None
    assert not found.deletes, "one whose delay is written out tells nothing"
    await one.apply((add(),), BEFORE)
    found = await one.capabilities(BEFORE)
    assert found is not None
    assert found.deletes == remembers
    await one.apply((add("e", 70_005),), BEFORE)
    assert len(fake.told("show servers conn")) == 1


async def test_a_level_that_is_too_low_is_told(fake: FakeWorker) -> None:
    fake.level = "operator"
    one = runtime(fake)
    assert await one.capabilities(BEFORE) is None
    (note,) = one.notes
    assert "its level is operator" in note
    assert f"stats socket {fake.path} mode 660 level admin" in note
    assert "its level is operator" in (await one.apply((add(),), BEFORE)).doubt


async def test_an_old_release_changes_nothing(fake: FakeWorker) -> None:
    fake.version = "2.4.22"
    one = runtime(fake)
    assert await one.capabilities(BEFORE) is None
    assert one.notes == ("HAProxy 2.4.22 changes no servers at runtime: 2.6 and later do",)


@pytest.mark.parametrize(("size", "line"), [(8_192, 6_808), (2_000, 1_000), (65_536, 32_768)])
async def test_a_buffer_of_another_size(fake: FakeWorker, size: int, line: int) -> None:
    fake.path.with_name("h.cfg").write_text(f"global\n  tune.bufsize {size}\n")
    found = await runtime(fake).capabilities(BEFORE)
    assert found is not None
    assert found.line == line


# Maps


def hosts(*entries: tuple[str, str]) -> ReplaceMap:
    return ReplaceMap(destination=MAP, name=MAP, entries=entries, text="")


async def test_a_map_is_replaced_as_a_whole(fake: FakeWorker) -> None:
    step = hosts(*((f"h{n}.example;x", f"be_{n} \\ #") for n in range(600)))
    applied = await runtime(fake).apply((step,), BEFORE)
    assert (applied.done, applied.doubt) == ((step,), "")
    assert fake.current[MAP] == 1
    assert fake.maps[MAP][1] == [f"h{n}.example;x be_{n} \\ #" for n in range(600)]
    assert len(fake.told("add map")) > 1


async def test_an_empty_map_has_no_payload(fake: FakeWorker) -> None:
    assert not (await runtime(fake).apply((hosts(),), BEFORE)).doubt
    assert fake.maps[MAP][fake.current[MAP]] == []
    assert not fake.told("add map")


@pytest.mark.parametrize("odd", ["add map", "show map @", "commit map", "prepare map"])
async def test_a_map_that_was_not_taken_whole_is_not_used(fake: FakeWorker, odd: str) -> None:
    fake.odd[odd] = "Out of memory.\n"
    applied = await runtime(fake).apply((hosts(("k", "v")), RETIRE), BEFORE)
    assert applied.done == ()
    assert applied.doubt
    assert fake.current[MAP] == 0
    assert fake.servers["api/a"].admin == 0
    if odd in {"add map", "show map @"}:
        assert list(fake.maps[MAP]) == [0], "what was begun is cleared"


async def test_a_commit_that_did_nothing_is_seen(fake: FakeWorker) -> None:
    fake.odd["commit map"] = ""
    doubt = (await runtime(fake).apply((hosts(("k", "v")),), BEFORE)).doubt
    assert doubt == f"map {MAP}: HAProxy does not use what it was given"


async def test_a_map_in_many_parts_for_an_old_release(fake: FakeWorker) -> None:
    fake.version, fake.release = "2.6.12", "2.6"
    step = hosts(*((f"k{n}", "v") for n in range(2_500)))
    assert not (await runtime(fake).apply((step,), BEFORE)).doubt


@pytest.mark.parametrize(
    "entry", [("", "v"), ("k", ""), ("k k", "v"), ("k", "v\n\ndel server api/a"), ("k\n", "v")]
)
async def test_an_entry_that_would_end_its_payload_is_not_sent(
    fake: FakeWorker, entry: tuple[str, str]
) -> None:
    applied = await runtime(fake).apply((RETIRE, hosts(("a", "b"), entry)), BEFORE)
    assert "can't be said over the socket" in applied.doubt
    assert fake.servers["api/a"].admin == 0


# Leftovers


def leftover(server: str = "a", **more: object) -> Leftover:
    number = {"a": 1, "b": 2}.get(server, 9)
    one = Leftover(
        backend="api", server=server, address=f"10.0.0.{number}", port=80, delete=True, since=1.0
    )
    return replace(one, **more)  # type: ignore[arg-type]


async def test_retired_servers_are_deleted(fake: FakeWorker) -> None:
    for server in fake.servers.values():
        server.admin = 1
    fake.servers["api/b"].busy = 2
    gone = await runtime(fake).collect((leftover("a"), leftover("b"), leftover("x")), BEFORE)
    assert [one.server for one in gone] == ["a", "b", "x"]
    assert fake.servers == {}
    assert fake.told("wait")


async def test_a_server_in_use_stays_for_a_later_call(fake: FakeWorker) -> None:
    fake.version, fake.release = "2.8.25", "2.8"
    one = runtime(fake)
    await one.apply((add(), RETIRE), BEFORE)
    fake.servers["api/a"].busy = 1_000_000
    assert await one.collect((leftover(),), BEFORE) == ()
    assert not fake.told("wait")
    fake.servers["api/a"].busy = 0
    assert await one.collect((leftover(),), BEFORE) == (leftover(),)


@pytest.mark.parametrize(
    "why",
    ["not in maintenance", "another address", "another number", "not allowed", "unsafe build"],
)
async def test_what_is_not_deleted(fake: FakeWorker, why: str) -> None:
    fake.servers["api/a"].admin = 1
    one = leftover()
    match why:
        case "not in maintenance":
            fake.servers["api/a"].admin = 8
        case "another address":
            one = replace(one, address="10.0.0.99")
        case "another number":
            one = replace(one, server_id=5)
        case "not allowed":
            one = replace(one, delete=False)
        case _:
            fake.version, fake.release = "2.6.12", "2.6"
    assert await runtime(fake).collect((one,), BEFORE) == ()
    assert not fake.told("del ")


async def test_nothing_is_deleted_in_another_worker(fake: FakeWorker) -> None:
    one = runtime(fake)
    await one.capabilities(BEFORE)
    fake.pid = 102
    with pytest.raises(errors.TargetUnavailable):
        await one.collect((leftover(),), BEFORE)
    assert not fake.told("del ")


# The audit


async def test_an_audit(fake: FakeWorker) -> None:
    fake.servers["api/a"].admin = 1
    expected = tuple(
        Expected(
            backend="api", server=name, address=f"10.0.0.{n}", port=80, weight=1, state=Admin.READY
        )
        for n, name in enumerate("ab", 1)
    )
    (found,) = await runtime(fake).audit(expected, BEFORE)
    assert found.what == "api/a: maint, not ready"
    assert found.hand == SetState(backend="api", server="a", state=Admin.MAINT)
