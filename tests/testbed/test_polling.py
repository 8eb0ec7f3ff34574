"""The polling client sees what a failover costs, and always something of what came after it."""

import time

from tests.support.backend import Backends
from tests.support.polling import Polling


def test_some_polls_begin_after_all_that_the_caller_waited_for(backends: Backends) -> None:
    with Polling("127.0.0.1", backends.start()) as client:
        waited = time.time()
        polls = client.stop()
    assert polls.since(waited).servers
    assert polls.failed_as == {}
    # One after the other: what the first showed was there before the next began.
    *_, before, last = polls.all
    assert before.end <= last.start


def test_control_a_server_that_is_gone_is_counted(backends: Backends) -> None:
    port = backends.start()
    with Polling("127.0.0.1", port) as client:
        backends.stop(port)
        polls = client.stop()
    assert polls.failed_as["refused"] > 0
