"""What every test may ask for, and what happens when this machine lacks it.

Markers come from the folder. A missing Docker, Consul or HAProxy skips the tests that need it, with
the reason; with CI=true or CONFSYNC_ALL=1 it fails them, so that a green run there means that
everything ran. Fixtures that hold real processes start them for each test alone: all are up in a
fraction of a second.
"""

import dataclasses
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import machine
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.figures import Figures
from tests.support.haproxy import VERSIONS, Haproxy
from tests.support.systemd import SystemdHost, program_tree

HERE = Path(__file__).parent
MARKERS = {
    "integration": "integration",
    "containers": "integration",
    "examples": "integration",
    "packaging": "integration",
    "testbed": "integration",
    "systemd": "systemd",
}
SOAK_TIMEOUT = 3600  # seconds

# Who starts a run in the background has it ignore these, and so would every program under test.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# A busy machine is no fault of the code: hypothesis's limits on wall time are off.
hypothesis.settings.register_profile(
    "confsync",
    deadline=None,
    max_examples=25,  # a soak tries thousands
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "soak", hypothesis.settings.get_profile("confsync"), max_examples=5_000
)
hypothesis.settings.register_profile(
    "laws", hypothesis.settings.get_profile("confsync"), max_examples=100
)
# For benchmarks/mutation.py, where each of many mutants is run: few examples, always the same ones,
# and none is sought that is simpler than the one that failed.
hypothesis.settings.register_profile(
    "mutation",
    hypothesis.settings.get_profile("confsync"),
    max_examples=30,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    derandomize=True,
    database=None,
)
hypothesis.settings.load_profile("confsync")


@dataclasses.dataclass(frozen=True, slots=True)
class Soak:
    """Whether long tests run their whole length (--soak or SOAK=1)."""

    on: bool

    def n(self, short: int, long: int) -> int:
        """Return the count for this run."""
        return long if self.on else short


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run long tests at their whole length")


def _soak(config: pytest.Config) -> bool:
    return bool(config.getoption("--soak")) or os.environ.get("SOAK") in {"1", "true"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if marker := MARKERS.get(folder):
            item.add_marker(marker)
        if "soak" in getattr(item, "fixturenames", ()):
            item.add_marker("soak")
            if _soak(config):
                item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT))


def _skip_or_fail() -> Generator[None, None, None]:
    reason = ""
    try:
        yield
    except machine.Missing as missing:
        reason = str(missing)
    # Outside the handler, so that the report shows the reason and no chain of exceptions.
    if reason and machine.everything_required():
        pytest.fail(f"this run must not skip: {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    yield from _skip_or_fail()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    yield from _skip_or_fail()


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Soak:
    """Counts for this run: `soak.n(20, 2000)`."""
    return Soak(_soak(request.config))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Record what this test counts: `figures(load.stop(), reloads=count)`."""
    return Figures(request.node.nodeid)


@pytest.fixture
def tmp_short() -> Iterator[Path]:
    """A folder whose path is short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="cs", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def consul(tmp_short: Path) -> Iterator[Consul]:
    """A real agent with a leader and no services."""
    with Consul(tmp_short / "consul") as running:
        yield running


@pytest.fixture(params=VERSIONS)
def haproxy_version(request: pytest.FixtureRequest) -> str:
    """Each supported version; `parametrize("haproxy_version", ["3.0"], indirect=True)` for some."""
    return str(request.param)


@pytest.fixture
def haproxy(haproxy_version: str, tmp_short: Path) -> Iterator[Haproxy]:
    """A HAProxy of each version, not started: the test writes `cfg` first."""
    one = Haproxy(haproxy_version, tmp_short / "hap")
    yield one
    one.close()


@pytest.fixture
def backends() -> Iterator[Backends]:
    """A process of toy servers, with no port open yet."""
    with Backends() as running:
        yield running


@pytest.fixture
def systemd_host() -> Iterator[SystemdHost]:
    """A container with systemd as its first process."""
    with SystemdHost() as host:
        yield host


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built project with its dependencies, for `systemd_host.install(program)`."""
    return program_tree(HERE.parent, tmp_path_factory.mktemp("program"))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at thousands of tests again and again."""
    gc.collect()
    gc.freeze()
