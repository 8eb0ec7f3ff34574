"""Where work is done: on the loop, or beside it."""

import asyncio
import threading
import time

import pytest

from confsync.engine import offloop
from confsync.engine.offloop import Work


def where(work: Work, fresh: int) -> str:
    """Say where a piece of work was done."""
    at = asyncio.run(work(fresh, threading.get_ident))
    return "loop" if at == threading.get_ident() else "thread"


def test_much_that_is_new_is_done_in_a_thread() -> None:
    work = Work()
    assert where(work, offloop.SMALL) == "loop"
    assert where(work, offloop.SMALL + 1) == "thread"
    assert where(work, 0) == "loop"


def test_the_first_time_of_what_may_do_much() -> None:
    work = Work(known=False)
    assert where(work, 0) == "thread"
    assert where(work, 0) == "loop"


def test_what_took_long_is_done_in_a_thread_until_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Work()
    with monkeypatch.context() as slow:
        slow.setattr(time, "thread_time", iter([0, offloop.QUICK * 1.01]).__next__)
        assert where(work, 0) == "loop"
    with monkeypatch.context() as slow:
        slow.setattr(time, "thread_time", iter([0, offloop.QUICK * 1.01]).__next__)
        assert where(work, 0) == "thread"
    assert where(work, 0) == "thread"
    assert where(work, 0) == "loop"


def test_an_error_comes_through_and_its_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()

    def fails() -> None:
        raise ValueError("no")

    monkeypatch.setattr(time, "thread_time", iter([0, 1, 1, 1, 1, 1]).__next__)
    with pytest.raises(ValueError, match="no"):
        asyncio.run(work(0, fails))
    assert where(work, 0) == "thread"
    assert where(work, 0) == "loop"
