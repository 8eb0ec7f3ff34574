"""Tests that wait for no clock."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fakes.loop import Loop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Wind the clock on instead of waiting, where a test or its module is marked `fast_clock`."""
    return {"loop": Loop if item.get_closest_marker("fast_clock") else asyncio.new_event_loop}
