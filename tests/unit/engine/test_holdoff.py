"""When the next reload may be."""

import pytest

from confsync.engine.holdoff import Holdoff, Pace


def test_without_a_change_nothing_is_due() -> None:
    holdoff = Holdoff(Pace())
    assert holdoff.due() is None
    holdoff.changed(5)
    holdoff.acted(6, reloaded=True)
    assert holdoff.due() is None


def test_a_change_after_a_calm_goes_at_once() -> None:
    holdoff = Holdoff(Pace())
    holdoff.changed(5)
    assert holdoff.due() == pytest.approx(5.01)
    holdoff.acted(5.1, reloaded=True)
    holdoff.changed(7.1)
    assert holdoff.due() == pytest.approx(7.11)


def test_further_changes_do_not_delay_the_first() -> None:
    holdoff = Holdoff(Pace())
    holdoff.changed(5)
    holdoff.changed(5.005)
    assert holdoff.due() == pytest.approx(5.01)


def test_after_a_reload_changes_are_gathered_and_wait_for_the_interval() -> None:
    holdoff = Holdoff(Pace())
    holdoff.acted(10, reloaded=True)
    holdoff.changed(10.1)
    assert holdoff.due() == 12
    holdoff.changed(11.9)
    assert holdoff.due() == pytest.approx(12.1)  # the ceiling of 2 s after the oldest
    holdoff.changed(11.8)
    assert holdoff.due() == pytest.approx(12.05)


def test_a_turn_without_a_reload_costs_no_budget() -> None:
    holdoff = Holdoff(Pace())
    holdoff.changed(1)
    holdoff.acted(1, reloaded=False)
    holdoff.changed(1.1)
    assert holdoff.due() == pytest.approx(1.11)


@pytest.mark.parametrize(
    ("workers", "interval"), [(0, 2), (3, 2), (4, 4), (5, 8), (7, 30), (5000, 30)]
)
def test_old_workers_stretch_the_interval(workers: int, interval: float) -> None:
    assert Holdoff(Pace(), old_workers=workers).interval() == interval


def test_an_interval_above_the_longest_stays() -> None:
    assert Holdoff(Pace(interval=90), old_workers=9).interval() == 90


def test_work_begins_at_once_after_a_calm_and_else_when_it_is_due() -> None:
    holdoff = Holdoff(Pace())
    assert holdoff.begin() is None
    holdoff.changed(5)
    holdoff.changed(5.005)
    assert holdoff.calm
    assert holdoff.begin() == 5
    holdoff.acted(5.1, reloaded=True)
    holdoff.changed(5.2)
    assert not holdoff.calm
    assert holdoff.begin() == holdoff.due() == pytest.approx(7.1)
