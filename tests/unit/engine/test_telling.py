"""What others did to HAProxy, in words."""

from dataclasses import replace

import pytest

from confsync.domain.running import Observed
from confsync.engine import telling

SEEN = Observed(running=True, version="3.0", master_pid=1, worker_pid=8, place="one")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(SEEN, worker_pid=9), telling.RELOADED),
        (replace(SEEN, master_pid=2, worker_pid=9), "HAProxy was restarted"),
        (replace(SEEN, place="two"), "HAProxy was restarted"),  # with the same numbers
        (replace(SEEN, version="3.2", place="two"), "HAProxy was upgraded to 3.2"),
        (replace(SEEN, version="", master_pid=700, worker_pid=708), "HAProxy was restarted"),
        (Observed(running=False), "HAProxy stopped"),
    ],
)
def test_each_difference_is_noticed_and_told(now: Observed, words: str) -> None:
    assert telling.identity(now) != telling.identity(SEEN)
    assert telling.difference(SEEN, now) == words
