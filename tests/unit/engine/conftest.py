"""The engine's tests wait for no clock."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fakes.loop import Loop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Wind the clock on instead of waiting."""
    return {"loop": Loop}
