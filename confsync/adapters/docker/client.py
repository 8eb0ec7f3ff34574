"""What is asked of the docker SDK: api.py does it, and tests bring their own. Blocking."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from confsync.adapters.docker.endpoint import Endpoint


class Client(Protocol):
    """One engine. Raises TargetUnavailable, TargetDenied, faults.Refusal, faults.EngineGone."""

    version: str
    """Of the API, as both sides speak it."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the engine is."""

    def close(self) -> None:
        """Give idle connections back."""

    def inspect(self, name: str) -> dict[str, Any]:
        """Tell all about one container, by name, id or the beginning of an id."""

    def list(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """List containers, ended ones too; with a label ("KEY" or "KEY=VALUE") only those with it."""

    def exec_create(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Sequence[str] = (),
        directory: str = "",
        user: str = "",
        stdin: bool = False,
    ) -> str:
        """Prepare a command in a running container; `environment`: NAME=VALUE, or NAME to unset it."""

    def exec_code(self, exec_id: str) -> int | None:
        """Return the exit code of a command; None while it runs."""

    def put(self, container: str, folder: str, packed: bytes) -> None:
        """Extract a tar archive in a folder of a container."""

    def get(self, container: str, path: str, limit: int) -> tuple[Mapping[str, Any], bytes]:
        """Return what the engine tells about a path (docs: ContainerPathStat) and its archive.

        The archive is cut off after `limit` bytes.
        """

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to the container's first process."""

    def top(self, container: str, columns: str) -> Sequence[Sequence[str]]:
        """List a container's processes with `ps` of the engine's host."""

    def logs(self, container: str, since: float, lines: int, limit: int) -> bytes:
        """Return the newest log lines, framed as the engine frames them unless it has a TTY."""

    def create(self, container: str, argv: Sequence[str], made: Mapping[str, Any]) -> str:
        """Make a container for a moment, beside another one whose volumes it reads; return its id.

        `made`: name, image, environment, directory, user, network, labels.
        """

    def start(self, container: str) -> None:
        """Start a container."""

    def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes, running or not."""
