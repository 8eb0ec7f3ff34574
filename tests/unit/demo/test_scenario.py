"""What fits into the time, and that it is played in order."""

import pytest

from confsync.demo import ledger, scenario

WHOLE = scenario.steps(("it breaks", "it is back"))


def titles(steps: tuple[scenario.Step, ...]) -> list[str]:
    return [step.title for step in steps]


def test_forty_seconds_have_all_of_it() -> None:
    assert scenario.fitting(WHOLE, 40) == WHOLE
    assert sum(step.cost for step in WHOLE) + scenario.LONGEST * len(WHOLE) > 40


@pytest.mark.parametrize("seconds", [0, 2, 5, 8, 10, 15, 18])
def test_less_time_has_the_less_dispensable_ones_in_order(seconds: float) -> None:
    chosen = scenario.fitting(WHOLE, seconds)
    assert chosen[0] == WHOLE[0]
    assert titles(chosen) == [t for t in titles(WHOLE) if t in titles(chosen)]
    left_out = [step.rank for step in WHOLE if step not in chosen]
    assert all(step.rank < min(left_out) for step in chosen)


def test_least_has_a_join_a_leave_and_a_crash() -> None:
    chosen = " ".join(titles(scenario.fitting(WHOLE, 12)))
    assert "joins" in chosen
    assert "leaves" in chosen
    assert "crashes" in chosen


def test_nothing_goes_that_has_not_come() -> None:
    for seconds in range(41):
        chosen = titles(scenario.fitting(WHOLE, seconds))
        gone = [t for t in chosen if t.startswith("search goes")]
        come = [t for t in chosen if t.startswith("search appears")]
        assert len(come) >= len(gone)


@pytest.mark.parametrize(
    ("left", "rest", "seconds"),
    [
        (0.0, WHOLE, scenario.SHORTEST),
        (-5.0, (), scenario.SHORTEST),
        (1000.0, WHOLE, scenario.LONGEST),
        (WHOLE[0].cost + 4, WHOLE[:1], 2.0),
        (3.0, (), 3.0),
    ],
)
def test_pause(left: float, rest: tuple[scenario.Step, ...], seconds: float) -> None:
    assert scenario.pause(left, rest) == pytest.approx(seconds)


def test_ranks_are_distinct() -> None:
    assert sorted(step.rank for step in WHOLE) == list(range(len(WHOLE)))


def test_a_step_keeps_what_was_wrong() -> None:
    step = ledger.Step(title="a", at=0, outcome="b", faults=("c",))
    assert ledger.Ledger(steps=[step], times=[1.0]).verdict() == ("c",)
