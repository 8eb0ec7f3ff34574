"""The verdict: nothing that failed may be overlooked."""

from dataclasses import replace

import pytest

from confsync.demo.ledger import Ledger, Step
from confsync.demo.traffic import Traffic


def good() -> Ledger:
    traffic = Traffic(requests=12345, p50=0.0041, p99=0.0123)
    return Ledger(changes=3, times=[80.2, 120.0, 100.0], traffic=traffic, reloads=4)


def test_good() -> None:
    assert good().verdict() == ()


LOST = Step(title="t", at=1, outcome="", faults=("lost",))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (replace(good(), traffic=Traffic(failed={"503": 2})), "2 requests failed: 503"),
        (replace(good(), failed_reloads=1), "1 reloads failed"),
        (replace(good(), faults=["HAProxy ended by itself"]), "HAProxy ended by itself"),
        (replace(good(), steps=[LOST]), "lost"),
        (replace(good(), times=[]), "no change was seen by the traffic"),
    ],
)
def test_bad(bad: Ledger, words: str) -> None:
    assert bad.verdict() == (words,)


def test_rows() -> None:
    rows = dict(good().rows("versions"))
    assert rows["change to first answer"] == "100 ms median, 120 ms at most (3 servers)"
    assert rows["requests"] == "12,345"
    assert rows["answer time"] == "4.1 ms median, 12.3 ms p99"
    assert rows["HAProxy reloads"] == "4, 0 failed"


def test_rows_of_a_demo_that_saw_nothing() -> None:
    assert dict(Ledger().rows(""))["change to first answer"] == "none"


def test_traffic_counts_each_request_once() -> None:
    traffic = Traffic()
    assert traffic.count_answer("web-1", 1.0)
    assert not traffic.count_answer("web-1", 2.0)
    traffic.count_failure("503")
    traffic.count_failure("reset")
    traffic.count_failure("503")
    assert (traffic.requests, traffic.failures) == (5, 3)
    assert traffic.failed == {"503": 2, "reset": 1}
    assert traffic.answers == {"web-1": 2}
    assert traffic.last == {"web-1": 2.0}
