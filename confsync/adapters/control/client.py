"""Asks a running agent over its control socket. Blocking, and lean: `status` is a health check."""

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from confsync import errors
from confsync.adapters.control import path as paths

LONGEST_REPLY = 64 * 1024 * 1024


def ask(
    path: str, command: str, args: Mapping[str, object] | None = None, *, timeout: float = 5
) -> dict[str, Any]:
    """Send one command and return the reply, whatever it says. `timeout`: seconds for all of it.

    Raises AgentUnreachable when nobody answers in time, TargetDenied when this user may not ask.
    """
    request = json.dumps({"command": command, "args": dict(args or {})}) + "\n"
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            with paths.usable(path) as name:
                connection.connect(name)
            connection.sendall(request.encode("ascii"))
            line = _line(connection, deadline)
    except TimeoutError as error:
        raise errors.AgentUnreachable(
            f"the agent on {path} did not answer within {timeout:g} s",
            remedy="it may be stuck: look at its log",
        ) from error
    except PermissionError as error:
        raise errors.TargetDenied(
            f"this user may not ask the agent on {path}",
            remedy="ask as the user that the agent runs as, or as root",
        ) from error
    except OSError as error:
        raise errors.AgentUnreachable(
            f"no agent answers on {path}: {error.strerror or error}",
            remedy="start it with `confsync run`, or name its settings with --config",
        ) from error
    return _reply(path, line)


def _line(connection: socket.socket, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while not pieces or not pieces[-1].endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(1 << 16)
        size += len(piece)
        if not piece or size > LONGEST_REPLY:
            return b""
        pieces.append(piece)
    return b"".join(pieces)


def _reply(path: str, line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise errors.AgentUnreachable(
            f"what answers on {path} is no agent of this version", remedy="restart the agent"
        )
    return reply
