"""Tests that wait for no clock and start no process."""

import asyncio
import sys
from collections.abc import Callable, Generator, Mapping

import pytest

from tests.fakes.loop import Loop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Wind the clock on instead of waiting, where a test or its module is marked `fast_clock`."""
    return {"loop": Loop if item.get_closest_marker("fast_clock") else asyncio.new_event_loop}


_STARTING = {
    *("subprocess.Popen", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.fork", "os.forkpty", "os.exec"),
}
_started: list[str] | None = None
"""What the test that runs has started; None between tests, when the run may start its workers."""


def _heard(event: str, args: tuple[object, ...]) -> None:
    if event in _STARTING and _started is not None:
        _started.append(f"{event}: {args[0]}" if args else event)


sys.addaudithook(_heard)


def _alone() -> Generator[None, object, object]:
    global _started  # noqa: PLW0603 - a hook of the interpreter cannot be taken back
    started: list[str] = []
    _started = started
    try:
        result = yield
    finally:
        _started = None
    if started:
        why = f"a unit test starts no process ({started[0]}): its place is tests/integration"
        pytest.fail(why, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    return (yield from _alone())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from _alone())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    return (yield from _alone())
