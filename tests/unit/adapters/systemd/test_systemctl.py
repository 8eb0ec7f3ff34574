"""What systemctl shows of a unit (texts from Debian 12)."""

import pytest

from confsync.adapters.systemd.systemctl import State, parse

SHOWN = """\
LoadState=loaded
ActiveState=active
SubState=running
Result=success
MainPID=193
StatusText=Ready.
"""


def test_a_units_state() -> None:
    state = parse(SHOWN)
    assert state == State(
        load="loaded",
        active="active",
        sub="running",
        result="success",
        main_pid=193,
        status="Ready.",
    )
    assert state.runs
    assert state.calm


@pytest.mark.parametrize(
    ("active", "sub", "pid", "runs", "calm"),
    [
        ("reloading", "reload", 193, True, False),
        ("activating", "start", 193, True, False),
        ("activating", "auto-restart", 0, False, False),
        ("inactive", "dead", 0, False, False),
        ("failed", "failed", 0, False, False),
    ],
)
def test_which_states_run_and_which_are_calm(
    active: str, sub: str, pid: int, runs: bool, calm: bool
) -> None:
    state = parse(f"ActiveState={active}\nSubState={sub}\nMainPID={pid}\n")
    assert (state.runs, state.calm) == (runs, calm)
