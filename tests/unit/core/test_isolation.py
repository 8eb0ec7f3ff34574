from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core.isolation import culprits


def attempts_of(bad: Any) -> Any:
    tried = []

    def attempt(some: Any) -> Any:
        tried.append(list(some))
        return next((f"bad {unit}" for unit in some if unit in bad), None)

    return attempt, tried


@given(st.integers(2, 60), st.sets(st.integers(0, 59), max_size=3))
def test_the_bad_ones_are_found_when_they_are_few(count: Any, bad: Any) -> None:
    bad = {b for b in bad if b < count}
    attempt, tried = attempts_of(bad)
    found = culprits(range(count), attempt)
    if 2 * len(bad) <= count:
        assert found == [(b, f"bad {b}") for b in sorted(bad)]
    else:
        assert found == []
    assert len(tried) <= 64


def test_two_of_a_thousand_are_found_within_the_budget() -> None:
    attempt, tried = attempts_of({3, 997})
    assert [unit for unit, _ in culprits(range(1000), attempt)] == [3, 997]
    assert len(tried) < 50


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_when_all_fail_nobody_is_blamed(count: Any) -> None:
    attempt, tried = attempts_of(set(range(count)))
    assert culprits(range(count), attempt) == []
    assert len(tried) <= 64


def test_what_fails_only_together_is_not_blamed() -> None:
    assert culprits(range(4), lambda some: "sum" if len(some) > 1 else None) == []


def test_nothing_to_blame() -> None:
    assert culprits([], lambda _: "x") == []
