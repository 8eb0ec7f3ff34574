"""A load balancer of one host, without a shared address: `confsync lb` with a real HAProxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.balancer import Balancer


@pytest.fixture
def port() -> int:
    """Where it listens."""
    return machine.free_port()


@pytest.fixture(params=["2.6"])
def lb(request: pytest.FixtureRequest, tmp_short: Path) -> Iterator[Balancer]:
    """One that is not started: the test writes into its home first."""
    with_version = Balancer(tmp_short / "lb", version=request.param)
    yield with_version
    with_version.__exit__()


on_both = pytest.mark.parametrize("lb", ["2.6", "2.8"], indirect=True)
