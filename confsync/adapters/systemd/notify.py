"""Tells the service manager how the agent is (sd_notify(3)); silent where nobody listens."""

import os
import socket
import time
from collections.abc import Mapping


class Notify:
    """Sends notifications to NOTIFY_SOCKET; a socket that does not take them is no error."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ready = False
        self._watched = bool(environ.get("WATCHDOG_USEC"))

    def ready(self) -> None:
        """Say once, and again after `reloading`, that the agent works."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what the agent does."""
        self._send("STATUS=" + " ".join(text.split()))

    def watchdog(self) -> None:
        """Say that the agent lives, where the manager wants to know (WatchdogSec=)."""
        if self._watched:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that settings are read anew; `ready` must follow."""
        self._ready = False
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the agent ends on purpose."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:
            return
