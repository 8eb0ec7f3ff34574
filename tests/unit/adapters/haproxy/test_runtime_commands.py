"""Steps in HAProxy's words, and HAProxy's words as real releases gave them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.haproxy import commands
from confsync.adapters.haproxy.commands import Dialect, Unsayable
from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
)
from tests.unit.adapters.haproxy.runtime_fake import VERSIONS, captured

OPEN = Dialect()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            AddServer(backend="b", server="s", address="10.0.0.1", port=80, agent=True),
            ("add server b/s 10.0.0.1:80", "enable agent b/s", "set server b/s state ready"),
        ),
        (
            AddServer(
                backend="b", server="s", address="fd00::1", port=1, checked=True, state=Admin.MAINT
            ),
            ("add server b/s [fd00::1]:1", "enable health b/s"),
        ),
        (
            AddServer(
                backend="b",
                server="s",
                address="10.0.0.1",
                port=80,
                weight=3,
                maxconn=4,
                checked=True,
                again=True,
            ),
            (
                "set server b/s weight 3",
                "set maxconn server b/s 4",
                "enable health b/s",
                "set server b/s state ready",
            ),
        ),
        (
            RetireServer(backend="b", server="s", agent=True),
            ("disable agent b/s", "set server b/s state maint"),
        ),
        (
            RetireServer(backend="b", server="s", state=Admin.DRAIN),
            ("set server b/s state drain",),
        ),
        (SetWeight(backend="b", server="s", weight=256), ("set server b/s weight 256",)),
        (SetMaxconn(backend="b", server="s", maxconn=0), ("set maxconn server b/s 0",)),
        (SetAddress(backend="b", server="s", address="::1", port=80), ()),
    ],
)
def test_commands(step: commands.ServerStep, expected: tuple[str, ...]) -> None:
    assert commands.said(step, OPEN) == expected


def test_moving() -> None:
    step = SetAddress(backend="b", server="s", address="::1", port=80, down=True)
    assert commands.moves(step) == (
        "set server b/s health down",
        "set server b/s addr ::1 port 80",
    )


@pytest.mark.parametrize(
    "step",
    [
        SetWeight(backend="b b", server="s", weight=1),
        SetWeight(backend="b", server="s/t", weight=1),
        SetWeight(backend="b", server="", weight=1),
        SetWeight(backend="b", server="s", weight=257),
        SetMaxconn(backend="b", server="s", maxconn=-1),
        RetireServer(backend="b", server="s\n"),
        AddServer(backend="b", server="s", address="host", port=1),
        AddServer(backend="b", server="s", address="::1", port=70_000),
        AddServer(backend="b", server="s", address="::1", port=1, words=("enabled",)),
        AddServer(backend="b", server="s", address="::1", port=1, words=("sni", "str(a b)")),
        AddServer(backend="b", server="s", address="::1", port=1, words=("<<",)),
        AddServer(backend="b", server="s", address="::1", port=1, words=("check",) * 61),
    ],
)
def test_what_cannot_be_said(step: commands.ServerStep) -> None:
    with pytest.raises(Unsayable):
        commands.said(step, OPEN)


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_makes_a_command_of_its_own(
    backend: str, server: str, address: str, word: str
) -> None:
    step = AddServer(backend=backend, server=server, address=address, port=80, words=(word,))
    for one in (step, SetState(backend=backend, server=server, state=Admin.DRAIN)):
        try:
            told = commands.said(one, OPEN)
        except Unsayable:
            continue
        for command in told:
            assert not set(command) & set(";\n\r\\\"'<#\0")
            assert command.split(" ") == command.split()


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=9))
def test_no_entry_ends_its_payload(entries: list[tuple[str, str]]) -> None:
    step = ReplaceMap(destination="m", name="/m", entries=tuple(entries), text="")
    try:
        found = commands.parts(step, 30)
    except Unsayable:
        return
    assert "".join(found) == "".join(f"{key} {value}\n" for key, value in entries)
    for part in found:
        rows = part.encode("utf-8", "surrogateescape").split(b"\n")
        assert rows[-1] == b""
        assert all(row.strip(b" \t") for row in rows[:-1])
        assert len(part.encode("utf-8", "surrogateescape")) <= 30


@pytest.mark.parametrize("name", ["", "#1", "a b", "a;b", "a\n", "/m <<"])
def test_map_names(name: str) -> None:
    with pytest.raises(Unsayable):
        commands.map_name(ReplaceMap(destination="m", name=name, entries=(), text=""))


_REFUSED = {
    "add server src/x 127.0.0.1:9002": "must use a dynamic load balancing",
    "add server nope/x 127.0.0.1:9002": "No such backend.",
    "add server web/x 127.0.0.1:9002 bogus": "bogus",
    "enable agent web/n1": "Agent was not configured",
    "set server web/n1 addr foo port 1": "Invalid addr 'foo'",
    "set server nope/x state maint": "No such backend.",
    "set server web/nope state maint": "No such server.",
    "set server src/a weight 5": "static LB algorithm",
}
_QUIET = (
    "enable health web/n1",
    "disable agent web/n1",
    "set server web/n1 state ready",
    "set server web/n1 weight 5",
    "set maxconn server web/n1 7",
    "set server web/n1 addr 127.0.0.1 port 9001",
    "set server web/n1 addr 127.0.0.2 port 9003",
    "set server web/n1 health down",
    "set server web/n1 state maint",
)


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_of_each_release(version: str) -> None:
    answers = captured(version)
    by_command = dict(answers)
    for command, words in _REFUSED.items():
        assert words in commands.refusal(command, by_command[command]), command
    for command in _QUIET:
        assert commands.refusal(command, by_command[command]) == "", command
    # The first one registers, the others find its name or its id taken.
    adds = [(c, a) for c, a in answers if c.startswith(("add server web/n1", "add server web/n2"))]
    assert len(adds) == 4
    assert all(commands.refusal(command, answer) == "" for command, answer in adds)
    assert commands.REGISTERED in adds[0][1]
    for _, answer in adds[1:]:
        assert any(words in answer for words in commands.TAKEN)
        assert commands.REGISTERED not in answer
    assert commands.ABSENT in by_command["del server web/nope"]


@pytest.mark.parametrize("version", VERSIONS)
def test_maps_of_each_release(version: str) -> None:
    answers = dict(captured(version))
    assert commands.prepared(answers["prepare map /etc/haproxy/m.map"]) == 1
    assert commands.prepared(answers["prepare map nope"]) == 0
    assert commands.entries(answers["show map @1 /etc/haproxy/m.map"]) == ["k v", "k2 v 2"]
    assert commands.committed(answers["show map"], "/etc/haproxy/m.map") == 1
    assert commands.committed(answers["show map"], "/etc/haproxy/other.map") == 0
