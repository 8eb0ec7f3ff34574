"""One Consul and one process of toy servers for a module; a HAProxy and an agent for each test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.runtime.field import Field
from tests.support.backend import Backends
from tests.support.consul import Consul

Make = Callable[..., Field]


@pytest.fixture(scope="module")
def shared_consul() -> Iterator[Consul]:
    folder = Path(tempfile.mkdtemp(prefix="cs", dir="/tmp"))
    try:
        with Consul(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shared_backends() -> Iterator[Backends]:
    with Backends() as running:
        yield running


@pytest.fixture
def field(
    haproxy_version: str, tmp_short: Path, shared_consul: Consul, shared_backends: Backends
) -> Iterator[Make]:
    """Make a field: `field(template="hashing")`."""
    made: list[Field] = []

    def make(**options: object) -> Field:
        one = Field(tmp_short, haproxy_version, shared_consul, shared_backends, **options)  # type: ignore[arg-type]
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
