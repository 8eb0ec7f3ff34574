"""Servers read back, and what they show of steps."""

import pytest

from confsync.adapters.haproxy import readback
from confsync.adapters.haproxy.readback import Seen
from confsync.domain.change import (
    AddServer,
    Admin,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)
from tests.unit.adapters.haproxy.runtime_fake import HEAD, VERSIONS, captured


@pytest.mark.parametrize("version", VERSIONS)
def test_servers_of_each_release(version: str) -> None:
    answers = dict(captured(version))
    text = answers["show servers state"]
    found = {server.place: server for server in readback.servers(text)}
    assert len(found) == 6
    assert found["web", "n1"] == Seen(
        backend="web",
        server="n1",
        server_id=70_001,
        address="127.0.0.2",
        port=9_003,
        weight=5,
        state=Admin.MAINT,
        checked=True,
        agent=False,
        up=False,
        unchecked=True,
    )
    # `disabled` in the file stays as a bit (12 = 4 + 8) after `state ready` and `state drain`.
    assert found["off", "o"].state is Admin.DRAIN
    assert found["web", "s8001"].state is Admin.READY
    assert not found["web", "s8001"].checked
    assert list(readback.servers(text, {("src", "a")})) == [found["src", "a"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_maxconn_and_delays_of_each_release(version: str) -> None:
    answers = dict(captured(version))
    limits = dict(readback.maxconns(answers["show stat web 4 -1"]))
    assert limits == {("web", "s8001"): 0, ("web", "s8002"): 0, ("web", "n1"): 7}
    delays = readback.purge_delays(answers["show servers conn web"])
    assert delays["web", "s8001"] == 5_000
    assert delays["web", "n1"] == (0 if version == "2.6" else 5_000)


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        (0, Admin.READY),
        (1, Admin.MAINT),
        (2, Admin.READY),
        (4, Admin.READY),
        (5, Admin.MAINT),
        (8, Admin.DRAIN),
        (9, Admin.MAINT),
        (12, Admin.DRAIN),
        (16, Admin.READY),
        (32, Admin.READY),
    ],
)
def test_only_a_forced_state_counts(bits: int, state: Admin) -> None:
    row = f"1 b 2 s 10.0.0.1 2 {bits} 1 1 1 1 0 2 6 0 0 0 - 80 - 0 0 - - 0"
    (server,) = readback.servers(f"1\n{HEAD}\n{row}\n")
    assert server.state is state


def test_nonsense_is_passed_over() -> None:
    assert list(readback.servers("")) == []
    assert list(readback.servers("Unknown command\n a b c d e f\n")) == []
    assert list(readback.servers(f"{HEAD}\n1 b 2 s\n")) == []
    assert readback.purge_delays("No such backend.\n") == {}
    assert list(readback.maxconns("No such proxy.\n")) == []


SEEN = Seen(
    backend="b",
    server="s",
    server_id=5,
    address="fd00::1",
    port=80,
    weight=3,
    state=Admin.READY,
    checked=True,
    agent=False,
)
ADD = AddServer(
    backend="b",
    server="s",
    address="fd00:0:0::1",
    port=80,
    server_id=5,
    weight=3,
    checked=True,
)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((ADD,), {}),
        ((SetWeight(backend="b", server="s", weight=2),), {0: "its weight is 3, not 2"}),
        ((SetWeight(backend="b", server="x", weight=2),), {0: "HAProxy does not have it"}),
        # Of two steps about one thing the later counts.
        ((SetWeight(backend="b", server="s", weight=2), ADD), {}),
        (
            (ADD, SetState(backend="b", server="s", state=Admin.DRAIN)),
            {1: "its state is ready, not drain"},
        ),
        ((RetireServer(backend="b", server="s"),), {0: "its state is ready, not maint"}),
        ((RetireServer(backend="b", server="x"),), {}),
        ((SetAddress(backend="b", server="s", address="fd00::2", port=80),), {0: "fd00::2"}),
        ((SetMaxconn(backend="b", server="s", maxconn=4),), {0: "its maxconn is 2, not 4"}),
        # An agent may have drained or weighed it since.
        ((SetState(backend="b", server="s", state=Admin.READY, agent=True),), {}),
        (
            (SetState(backend="b", server="s", state=Admin.MAINT, agent=True),),
            {0: "its state is ready, not maint"},
        ),
    ],
)
def test_contradictions(steps: tuple[Step, ...], expected: dict[int, str]) -> None:
    found = readback.contradictions(steps, {("b", "s"): SEEN}, {("b", "s"): 2})
    assert found.keys() == expected.keys()
    assert all(words in found[number] for number, words in expected.items())


def test_many_backends_are_read_at_once() -> None:
    steps = [SetWeight(backend=f"b{n}", server="s", weight=1) for n in range(40)]
    assert readback.questions(steps) == ("show servers state",)
    assert readback.questions(steps[:2]) == ("show servers state b0", "show servers state b1")
