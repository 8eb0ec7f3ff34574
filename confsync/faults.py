"""Fault points: places between two stages where a test can end the process as `kill -9` would.

Armed by CONFSYNC_FAULT=NAME (or NAME:N for the Nth passage); not armed,
a point costs one comparison.
"""

import os
import signal

POINTS = (
    "after-stage",
    "after-check",
    "after-journal",
    "promote-each",
    "after-promote",
    "before-steps",
    "after-steps",
    "before-reload",
    "after-reload",
    "before-record",
    "after-record",
)

_armed, _, _nth = os.environ.get("CONFSYNC_FAULT", "").partition(":")
_left = int(_nth) if _nth.isdigit() else 1


def point(name: str) -> None:
    """End the process at once when this point is armed."""
    global _left  # noqa: PLW0603 - a process-wide test switch
    if name != _armed:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
