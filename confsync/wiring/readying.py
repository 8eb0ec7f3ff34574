"""What a start of the load balancer needs on disk: its folders, and nobody else at its sockets."""

import contextlib
import socket
import sys
from pathlib import Path

from confsync.errors import Locked, WriteError
from confsync.settings.model import Settings


def ready(settings: Settings) -> None:
    """Make folders, remove sockets that were left. Raises WriteError, Locked."""
    _directories(settings)
    for path in (settings.target.master_socket, settings.target.stats_socket):
        _alone(path)


def _directories(settings: Settings) -> None:
    """Make the folders that a start needs. Raises WriteError."""
    # The state has earlier configurations, with their passwords, and the key that was made.
    for path, mode in ((settings.lb.directory, 0o755), (settings.state.directory, 0o700)):
        try:
            Path(path).mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(
                f"cannot make {path}: {error.strerror}",
                remedy="set lb.directory and state.directory to folders that this user may write to",
            ) from error


def _alone(path: str) -> None:
    """Remove a socket that a HAProxy of before has left: who meets it waits for a reload's end.

    Raises Locked when somebody listens there.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                Path(path).unlink()
            return
        except OSError:
            return  # there is none, or HAProxy will tell
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
    raise Locked(
        f"a HAProxy listens on {path} already (pid {int.from_bytes(peer, sys.byteorder)})",
        remedy="end it, and whoever started it, or set lb.directory to another folder",
    )
