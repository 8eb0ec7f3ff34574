"""What others do over the socket: an operator's hand stays, damage is repaired and counted."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.runtime.conftest import Make
from tests.integration.runtime.field import Field, Instance
from tests.support.process import wait_until

some_builds = pytest.mark.parametrize("haproxy_version", ["2.6", "3.2"], indirect=True)
AUDITED = "audit = 0.5"


def runtime(field: Field) -> dict[str, Any]:
    found: dict[str, Any] = field.agent.status()["runtime"]
    return found


def state(field: Field, instance: Instance) -> tuple[str, int]:
    row = field.row(instance)
    return (row.state, row.weight) if row else ("gone", 0)


def until(probe: Callable[[], object], what: str) -> None:
    """Wait; a master that reloads refuses to be asked."""

    def asked() -> object:
        with contextlib.suppress(OSError):
            return probe()
        return None

    wait_until(asked, what, timeout=10)


@some_builds
def test_what_an_operator_holds_stays_and_comes_back(field: Make) -> None:
    """Disabled, drained, another weight: through audits, changes, a restart of ours and a reload."""
    one = field(template="hashing", runtime=AUDITED)
    servers = [one.add() for _ in range(5)]
    one.up()
    off, drained, heavy, *_ = servers
    for word in (
        f"disable server web/{off.server}",
        f"set server web/{drained.server} state drain",
        f"set weight web/{heavy.server} 77",
    ):
        one.haproxy.runtime(word)
    held = [("maint", 10), ("drain", 10), ("ready", 77)]

    def holds() -> bool:
        return [state(one, each) for each in (off, drained, heavy)] == held

    until(lambda: len(runtime(one)["by_hand"]) == 3, "three held by hand")
    shown = one.agent.run("status").stdout
    assert shown.count("held by hand") == 3
    new = one.add()
    until(lambda: state(one, new) == ("ready", 10), "a change beside them")
    assert holds()
    assert one.agent.stop() == 0
    mark = one.agent.mark()
    one.agent.start()
    one.agent.wait_cycle("in step", since=mark)
    until(lambda: len(runtime(one)["by_hand"]) == 3, "still held after a restart")
    assert holds()
    one.haproxy.reload()
    one.agent.wait(
        lambda line: "put back after the reload" in str(line), "word that they are put back"
    )
    until(holds, "put back")
    # Given back, they are held no more.
    for word in (
        f"enable server web/{off.server}",
        f"set server web/{drained.server} state ready",
        f"set weight web/{heavy.server} 10",
    ):
        one.haproxy.runtime(word)
    until(lambda: runtime(one)["by_hand"] == [], "nothing held")
    assert runtime(one)["counts"]["repaired"] == 0
    one.whole()


@some_builds
def test_a_server_that_is_held_leaves_all_the_same(field: Make) -> None:
    one = field(template="hashing", runtime=AUDITED)
    servers = [one.add() for _ in range(4)]
    one.up()
    one.haproxy.runtime(f"disable server web/{servers[0].server}")
    until(lambda: len(runtime(one)["by_hand"]) == 1, "held by hand")
    one.drop(servers[0])
    one.agreed()
    until(lambda: runtime(one)["by_hand"] == [], "nothing held")
    one.add(port=servers[0].port)
    one.agreed()
    one.whole()


@some_builds
def test_damage_is_repaired_within_an_audit_and_counted(field: Make) -> None:
    """Moved, and made ready though it is retired: nobody could mean that. Or all, where one says so."""
    one = field(template="hashing", runtime=AUDITED)
    servers = [one.add() for _ in range(5)]
    one.up()
    gone, moved, *_ = servers
    one.maintain(gone)
    one.agreed()
    reloads = one.haproxy.reloads()
    one.haproxy.runtime(f"set server web/{gone.server} state ready")
    one.haproxy.runtime(f"set server web/{moved.server} addr 127.0.0.9 port 9")
    until(lambda: runtime(one)["counts"]["repaired"] == 2, "two repairs")
    until(lambda: state(one, gone)[0] != "ready", "out again")
    row = one.row(moved)
    assert row is not None
    assert row.place == moved.server
    assert one.haproxy.reloads() == reloads
    one.whole()


@some_builds
def test_what_only_a_reload_repairs(field: Make) -> None:
    """A server that nobody configured, and one that somebody has deleted."""
    one = field(template="hashing", runtime=AUDITED)
    servers = [one.add() for _ in range(4)]
    one.up()
    reloads = one.haproxy.reloads()
    one.haproxy.runtime("add server web/theirs 127.0.0.1:9 id 99999")
    until(lambda: one.haproxy.reloads() == reloads + 1, "a reload")
    until(lambda: ("web", "theirs") not in one.rows(), "theirs is gone")
    name = f"web/{servers[0].server}"
    one.haproxy.runtime(f"set server {name} state maint")
    wait_until(
        lambda: "deleted" in one.haproxy.runtime(f"del server {name}").lower(), "its deletion"
    )
    until(lambda: one.haproxy.reloads() == reloads + 2, "another reload")
    one.agreed()
    until(lambda: runtime(one)["counts"]["repaired"] == 2, "both counted")
    one.whole()


@some_builds
def test_all_is_repaired_where_that_is_wanted(field: Make) -> None:
    one = field(template="hashing", runtime=f'{AUDITED}\noperator = "repair"')
    servers = [one.add() for _ in range(3)]
    one.up()
    one.haproxy.runtime(f"disable server web/{servers[0].server}")
    one.haproxy.runtime(f"set weight web/{servers[1].server} 77")
    until(lambda: not one.differences(), "both repaired")
    until(lambda: runtime(one)["counts"]["repaired"] >= 2, "both counted")
    assert runtime(one)["by_hand"] == []
    one.whole()


@some_builds
def test_haproxys_own_checks_are_no_drift(field: Make) -> None:
    one = field(template="hashing", runtime=AUDITED)
    servers = [one.add() for _ in range(3)]
    one.up()
    one.backends.stop(servers[0].port)

    def down() -> bool:
        rows = [r.split() for r in one.haproxy.runtime("show servers state").splitlines()]
        return [r[5] for r in rows if len(r) > 5 and r[3] == servers[0].server] == ["0"]

    until(down, "down by its check")
    time.sleep(1.2)  # two audits and more: there is no effect to wait for
    assert runtime(one)["counts"]["repaired"] == 0
    assert runtime(one)["by_hand"] == []
