"""The demo's folder: where its files lie, on which ports it listens, and the settings of its agent.

All that the demo knows of confsync is in `settings`: what an operator would write.
"""

import itertools
import json
import os
import random
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from confsync import errors

# A unix socket's path has at most 107 bytes; HAProxy needs room beside it for a temporary name, and
# the longest name below the folder is the agent's control socket in its state directory.
_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One demo. `port`: HAProxy's front; `stats_port`: its statistics page."""

    folder: Path
    port: int
    stats_port: int

    @property
    def config(self) -> Path:
        """HAProxy's configuration, which only the agent writes."""
        return self.folder / "haproxy.cfg"

    @property
    def master_socket(self) -> Path:
        """The master CLI."""
        return self.folder / "master.sock"

    @property
    def settings_file(self) -> Path:
        """The agent's settings."""
        return self.folder / "confsync.toml"

    def settings(self, *, haproxy: str, source: dict[str, str]) -> str:
        """Write the agent's settings: a target of type socket, all in this folder.

        `haproxy`: the binary that runs; `source`: the keys of [source].
        """
        tables: dict[str, dict[str, str | list[str]]] = {
            "[source]": {**source},
            "[[template]]": {
                "source": "builtin:haproxy.cfg",
                "destination": str(self.config),
            },
            "[template.vars]": {
                "bind": f"127.0.0.1:{self.port}",
                "stats_bind": f"127.0.0.1:{self.stats_port}",
                # The host's own log need not hear of toy requests.
                "log": "",
            },
            "[target]": {
                "type": "socket",
                "config": str(self.config),
                "master_socket": str(self.master_socket),
                "stats_socket": str(self.folder / "stats.sock"),
                "binary": haproxy,
            },
            "[state]": {"directory": str(self.folder / "state")},
            "[log]": {"format": "text"},
        }
        # A JSON string is a TOML string.
        return "\n".join(
            f"{table}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
            for table, keys in tables.items()
        )


def places() -> tuple[str, ...]:
    """Return where a temporary folder may be, the best first."""
    found = (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - for mkdtemp
    return tuple(dict.fromkeys(found))


def folder(within: Sequence[str]) -> Path:
    """Make a new folder in one of `within`, which only this user can enter.

    Its path is short enough for sockets. Raises WriteError.
    """
    for place in within:
        if len(os.fsencode(place)) <= _LONGEST - len("/confsync-demo-12345678"):
            try:
                return Path(tempfile.mkdtemp(prefix="confsync-demo-", dir=place))
            except OSError:
                continue
    raise errors.WriteError(
        f"no place for temporary files in {', '.join(within)}",
        remedy="set TMPDIR to a short path that you may write to",
    )


def free_ports(count: int) -> tuple[int, ...]:
    """Find free loopback ports.

    They are below those that the kernel gives to outgoing connections, of which the demo makes
    thousands: none of them can take one before its owner binds it. Raises TargetUnavailable.
    """
    ports = tuple(itertools.islice(_bindable(), count))
    if len(ports) < count:
        raise errors.TargetUnavailable(f"no {count} free ports on 127.0.0.1")
    return ports


def _bindable() -> Iterator[int]:
    for port in random.sample(range(10000, 30000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
