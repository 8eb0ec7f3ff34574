"""What the engine asks of the world, each as a Protocol of a few methods.

A promise stands on the interface and holds for every adapter: errors are those of confsync.errors,
cancellation passes through, nothing blocks the event loop for longer than a few milliseconds.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from confsync.core import failover
from confsync.core.planning import Surroundings
from confsync.domain.catalog import Catalog, Service
from confsync.domain.change import Step
from confsync.domain.loadbalancer import LoadBalancer, Problem
from confsync.domain.rendered import RenderedConfig, TemplateSet
from confsync.domain.running import (
    Applied,
    Capabilities,
    Drift,
    Expected,
    Leftover,
    Observed,
    Record,
    ServerState,
)
from confsync.domain.status import CycleReport, SourceState
from confsync.domain.tls import Bundle, Certificate, Loaded


class Discoverer(Protocol):
    """A registry. Stale beats partial: an error never publishes less than there was."""

    async def watch(
        self, publish: Callable[[Catalog], None], tell: Callable[[SourceState], None]
    ) -> None:
        """Publish whole catalogs for ever, the first when it is complete; retry whatever fails."""

    async def fetch(self) -> Catalog:
        """Read the whole catalog once. Raises DiscoveryError."""

    async def confirm(self, name: str) -> Service:
        """Read one service consistently (an absent one is empty). Raises DiscoveryError."""

    async def close(self) -> None:
        """Give connections back."""


class TemplateSource(Protocol):
    """Where templates come from."""

    def load(self) -> TemplateSet:
        """Read all templates anew. Raises SettingsError when one cannot be read."""


class Staged(Protocol):
    """A candidate beside its destinations, not yet live."""

    @property
    def config(self) -> RenderedConfig:
        """What was staged."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Destination -> staged path, for each file that differs from the disk."""


class Stager(Protocol):
    """Where a candidate is put to be checked. Blocking: the engine calls it in a thread."""

    def stage(self, config: RenderedConfig, only: tuple[str, ...]) -> Staged:
        """Write `only` of the set, perhaps none. Raises WriteError, then nothing is left behind."""

    def discard(self, staged: Staged, why: str = "") -> str:
        """Remove the staged files; with `why`, keep the set as rejected; returns where, in words."""


class ConfigStore(Stager, Protocol):
    """The destinations on disk; it stages beside them. Blocking as well."""

    @property
    def near(self) -> bool:
        """Whether a small set is read and written so soon that no thread is needed for it."""

    def read(self, destinations: tuple[str, ...]) -> dict[str, str | None]:
        """Read what is there now (None: absent). Raises WriteError when it may not be read."""

    def prepare(self, staged: Staged) -> None:
        """Do ahead, while the set is checked, what `promote` would wait for. Raises WriteError."""

    def promote(self, staged: Staged, *, quick: bool = False) -> None:
        """Make the staged files live: all or, on an error, none. Keeps the previous set.

        `quick`: wait for no disk (a killed process loses no rename); `settle` does it later.
        """

    def restore(self) -> tuple[str, ...]:
        """Put the previous set back; returns what changed on disk. Raises WriteError."""

    def settle(self) -> None:
        """End the journal: what was promoted is confirmed, or nothing runs that could load it."""

    def keep_foreign(self, destination: str, text: str) -> str:
        """Keep what another hand wrote, before it is replaced; returns where. Raises WriteError."""

    def keep_original(self, destination: str, text: str) -> str:
        """Keep what stood there before an adoption; returns where. Raises WriteError."""

    def fingerprint(
        self, destinations: tuple[str, ...]
    ) -> tuple[tuple[int, int, int, int] | None, ...]:
        """Stat each destination (mtime in ns, inode, size, ctime in ns; None: absent): cheap."""


class Target(Protocol):
    """A running HAProxy."""

    async def observe(self) -> Observed:
        """Read back what runs. Raises TargetError only when that cannot be known at all."""

    async def check(self, main: str, staged: Staged | None) -> tuple[str, ...]:
        """Have HAProxy check the set as it would be (None: as it is on disk).

        `main`: HAProxy's main file. Returns warnings and remarks (what the check did not cover).
        Raises CheckRejected with HAProxy's words, CheckUnavailable.
        """

    async def ready(self, before: Observed) -> None:
        """Find out ahead whether a reload could be asked for. Raises TargetError when not."""

    async def reload(self, before: Observed) -> Observed:
        """Reload once; return when the new worker is confirmed. Raises ReloadFailed, TargetError."""

    async def servers(self) -> tuple[ServerState, ...]:
        """Read the state of all servers. Raises TargetError."""


class Runtime(Protocol):
    """A running HAProxy's socket: what changes over it without a reload.

    `before`: the observed HAProxy that a plan was made for. When another worker answers, nothing is
    sent. The engine calls one method at a time, and none while it reloads.
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """Say why nothing can be changed, where that is so."""

    async def capabilities(self, observed: Observed) -> Capabilities | None:
        """Tell what the observed worker can be told (None: nothing); asked once for each worker.

        Raises TargetError when it cannot be known now.
        """

    def ahead(self, before: Observed) -> AbstractContextManager[None]:
        """Have HAProxy told that an `apply` is to follow, while what comes before it is done.

        It changes nothing, and no failure of it is told: `apply` meets what is wrong.
        """

    async def apply(self, steps: tuple[Step, ...], before: Observed) -> Applied:
        """Do steps in order, judge each answer, and read back what they made.

        What was done before already (a repetition after a crash) counts as done. Raises nothing
        foreseen: whatever is not confirmed is a doubt.
        """

    async def collect(
        self, leftovers: tuple[Leftover, ...], before: Observed
    ) -> tuple[Leftover, ...]:
        """Delete what may be deleted and nothing uses any more; returns those that are gone.

        Bounded in time: those in use stay for a later call. Raises TargetError.
        """

    async def audit(self, expected: tuple[Expected, ...], before: Observed) -> tuple[Drift, ...]:
        """Compare all servers with what they should be. Raises TargetError.

        HAProxy's own health, and the weight and drain that an agent check sets, are no drift.
        """


class Surveyor(Protocol):
    """Who knows what a running HAProxy loads beside what is rendered."""

    async def around(
        self, main: str, config: RenderedConfig, observed: Observed
    ) -> Surroundings | None:
        """Tell what HAProxy loads beside the set (None: that cannot be known, so nothing is safe).

        Cheap while nothing changed: it is asked for by each turn.
        """


class Conversation(Protocol):
    """One connection through a wire. Errors are those of Wire.exchange."""

    async def send(self, data: bytes) -> None:
        """Send; what kept it from being sent, `receive` may tell."""

    async def receive(self) -> bytes:
        """Wait for a piece of what comes; b"": the other side has closed."""

    def close(self) -> None:
        """Let go."""


class Wire(Protocol):
    """A way to unix sockets that are reached through something else: a container's, say."""

    async def connect(self, path: str) -> Conversation:
        """Begin a conversation; whether anybody listens, the first `receive` may tell."""

    async def exchange(
        self,
        path: str,
        payload: bytes,
        *,
        half_close: bool,
        timeout: float,  # noqa: ASYNC109
    ) -> bytes:
        """Connect, send, and return all that comes until the other side closes.

        `half_close`: close our half after sending; `timeout`: seconds. Raises OSError with its errno
        when nothing was sent, EOFError when it was cut after that, TargetError when what lies
        between fails, TimeoutError.
        """


class Renders(Protocol):
    """Templates, compiled. Pure, but slow: the engine calls it in a thread."""

    def declared(self) -> RenderedConfig:
        """Render with no services: what the templates declare themselves. Raises RenderError."""

    def render(self, balancer: LoadBalancer) -> tuple[RenderedConfig, tuple[Problem, ...]]:
        """Render everything; problems are texts that were refused. Raises RenderError."""


class StateStore(Protocol):
    """The state directory: what must survive a restart. Blocking, small files, each atomic."""

    def load_catalog(self) -> Catalog | None:
        """Read the last good catalog."""

    def save_catalog(self, catalog: Catalog) -> None:
        """Keep the last good catalog."""

    def load_record(self) -> Record | None:
        """Read what was confirmed to run."""

    def save_record(self, record: Record) -> None:
        """Keep what was confirmed to run."""

    def load(self, name: str) -> object:
        """Read a small JSON value (holds, ids, paused); None when absent or unreadable."""

    def save(self, name: str, value: object) -> None:
        """Keep a small JSON value."""


class CertificateFiles(Protocol):
    """The operator's certificate files, and the checked copies that HAProxy loads. Blocking."""

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Name the certificate files of the operator's (or another) folder. Raises WriteError."""

    def copied(self) -> tuple[str, ...]:
        """Name the copies."""

    def origin(self, path: str) -> str:
        """Name the file behind what HAProxy knows as `path`; "" when confsync made it."""

    def copy_of(self, name: str) -> str:
        """Give the path of a file's copy."""

    def stamps(self, origins: tuple[str, ...]) -> tuple[object, ...]:
        """Tell cheaply whether files have changed."""

    def read(self, origin: str) -> Bundle:
        """Read and judge a file. Raises core.tls.Unfit, FileNotFoundError."""

    def same(self, path: str, bundle: Bundle) -> bool:
        """Tell whether HAProxy would find this bundle at `path`."""

    def put(self, path: str, bundle: Bundle) -> None:
        """Make a copy, or do nothing where `path` is none. Raises WriteError."""

    def drop(self, path: str) -> None:
        """Remove a copy, or do nothing where `path` is none. Raises WriteError."""


class ServedCertificates(Protocol):
    """The certificates of a running HAProxy. `worker`: nothing is told to another than this pid.

    `judge`: says why what HAProxy has read must not serve ("": it may).
    """

    async def worker(self) -> int:
        """Tell which worker has them now. Raises TargetError."""

    async def loaded(self) -> Loaded:
        """Read what is served. Raises TargetError."""

    async def replace(
        self, path: str, bundle: Bundle, judge: Callable[[Certificate], str], worker: int
    ) -> Certificate:
        """Replace one. Raises CertificateRefused, NeedsReload, TargetError."""

    async def add(
        self,
        folder: str,
        path: str,
        bundle: Bundle,
        judge: Callable[[Certificate], str],
        worker: int,
    ) -> Certificate:
        """Add one to a folder that is loaded. Raises CertificateRefused, NeedsReload, TargetError."""

    async def remove(self, folder: str, path: str, worker: int) -> None:
        """Remove one. Raises NeedsReload, TargetError."""


class Telemetry(Protocol):
    """Where the engine says what happens."""

    def cycle(self, report: CycleReport, *, news: bool) -> None:
        """Say what a cycle did, in one line; without `news` only to those who want details."""

    def event(self, level: str, text: str, **fields: object) -> None:
        """Say something else: `level` is debug, info, warning or error; `text` is constant."""


class Notifier(Protocol):
    """The service manager."""

    def ready(self) -> None:
        """Say that the agent works."""

    def status(self, text: str) -> None:
        """Say in one line what the agent does."""

    def watchdog(self) -> None:
        """Say that the agent lives."""


class SharedAddresses(Protocol):
    """The addresses that two hosts share, on this host. Nothing blocks: some microseconds each."""

    def clean(self) -> tuple[str, ...]:
        """Remove what an earlier run left; returns what that was. Raises VipError, SettingsError.

        Raises too where addresses could not be set later, for want of rights or a device.
        """

    def lease(self) -> None:
        """Set them, or renew them, for the time of the lease. Raises VipError."""

    def announce(self) -> None:
        """Tell the neighbours that they are here. What cannot be sent is left out."""

    def drop(self) -> None:
        """Remove them. What cannot be removed ends with its lease."""

    def close(self) -> None:
        """Give sockets back."""


class Election(Protocol):
    """A program that decides which host has the shared addresses. It sets none itself."""

    @property
    def farewell(self) -> float:
        """Seconds that the other host may need to take over after a goodbye."""

    def ready(self) -> None:
        """Find out whether it could be started. Raises VipError, SettingsError."""

    async def run(self, tell: Callable[[failover.Word], None]) -> str:
        """Start it, wait for its end, and return how it ended; `tell` gets what it says.

        One run at a time: a second one waits. Raises VipError.
        """

    def beat(self) -> None:
        """Say that its owner lives; without that it is ended after the time of the lease."""

    def taken(self) -> None:
        """Say that the addresses are set: now it may tell others."""

    async def goodbye(self) -> None:
        """End it, and have the other host take over at once."""

    def stop(self) -> None:
        """End it at once, without a word to the other host."""
