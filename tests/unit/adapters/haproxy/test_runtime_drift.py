"""What is drift, whose doing it is, and what mends it."""

from dataclasses import replace

import pytest

from confsync.adapters.haproxy import drift
from confsync.adapters.haproxy.readback import Seen
from confsync.domain.change import Admin, SetAddress, SetState, SetWeight
from confsync.domain.running import Expected

WANTED = Expected(backend="b", server="s", address="10.0.0.1", port=80, weight=3, state=Admin.READY)
SEEN = Seen(
    backend="b",
    server="s",
    server_id=5,
    address="10.0.0.1",
    port=80,
    weight=3,
    state=Admin.READY,
    checked=True,
    agent=False,
)


def test_none() -> None:
    assert drift.compare([WANTED], [SEEN]) == ()


def test_a_line_that_could_not_be_read_is_no_drift() -> None:
    unread = replace(WANTED, address="")
    other = replace(SEEN, address="", weight=9, state=Admin.MAINT)
    assert drift.compare([unread], [other]) == ()
    # Its name may be a variable: neither it nor another one is missing or foreign.
    assert drift.compare([unread], [replace(SEEN, server="x")]) == ()
    assert drift.compare([unread, replace(WANTED, server="t")], []) != ()


@pytest.mark.parametrize("state", [Admin.MAINT, Admin.DRAIN])
def test_an_operators_state_is_told_with_what_would_put_it_back(state: Admin) -> None:
    (found,) = drift.compare([WANTED], [replace(SEEN, state=state)])
    assert found.hand == SetState(backend="b", server="s", state=state)
    assert found.repair == (SetState(backend="b", server="s", state=Admin.READY),)
    assert found.what == f"b/s: {state}, not ready"


def test_an_operators_weight() -> None:
    (found,) = drift.compare([WANTED], [replace(SEEN, weight=0)])
    assert found.hand == SetWeight(backend="b", server="s", weight=0)
    assert found.repair == (SetWeight(backend="b", server="s", weight=3),)


def test_traffic_to_a_server_that_should_have_none_is_nobodys_will() -> None:
    (found,) = drift.compare([replace(WANTED, state=Admin.MAINT)], [SEEN])
    assert found.hand is None
    assert found.repair == (SetState(backend="b", server="s", state=Admin.MAINT),)


def test_a_retired_server_may_be_gone_or_farther_out() -> None:
    retired = replace(WANTED, retired=True, state=Admin.DRAIN)
    assert drift.compare([retired], []) == ()
    assert drift.compare([retired], [replace(SEEN, state=Admin.MAINT, weight=9)]) == ()
    (found,) = drift.compare([retired], [SEEN])
    assert (found.repair, found.hand) == (
        (SetState(backend="b", server="s", state=Admin.DRAIN),),
        None,
    )


def test_what_an_agent_sets_is_none() -> None:
    agent = replace(WANTED, agent=True)
    for state in Admin:
        assert drift.compare([agent], [replace(SEEN, state=state, weight=9, agent=True)]) == ()
    (found,) = drift.compare(
        [replace(agent, state=Admin.MAINT)], [replace(SEEN, weight=9, agent=True)]
    )
    assert found.what == "b/s: ready, not maint"


def test_a_moved_server() -> None:
    (found,) = drift.compare([WANTED], [replace(SEEN, port=81)])
    move = SetAddress(backend="b", server="s", address="10.0.0.1", port=80, down=True)
    assert (found.repair, found.hand) == ((move,), None)
    assert found.what == "b/s: at 10.0.0.1:81, not 10.0.0.1:80"


def test_missing_and_foreign_servers_only_a_reload_mends() -> None:
    foreign = replace(SEEN, server="x")
    elsewhere = replace(SEEN, backend="other")
    missing, extra = drift.compare([WANTED], [foreign, elsewhere])
    assert (missing.what, missing.repair, missing.hand) == (
        "b/s: HAProxy does not have it",
        (),
        None,
    )
    assert (extra.server, extra.repair, extra.hand) == ("x", (), None)
