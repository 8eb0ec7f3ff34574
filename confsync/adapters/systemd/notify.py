"""Tells systemd how our own unit does: sd_notify(3), without a library.

Nine lines do it in 7 microseconds; the packages on offer are of 2017 or need headers to build.
Silent where nobody listens: not under systemd, or a notification that cannot be sent. What a state
means is the engine's business.
"""

import os
import socket
import time


class Notify:
    """One service's voice. Without NOTIFY_SOCKET it says nothing.

    `interval`: seconds within which systemd wants a `watchdog`, 0 when it wants none.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        # Read, not removed: children of ours run with an environment of their own.
        variables = os.environ if environment is None else environment
        address = variables.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.interval = _watchdog(variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID"))

    def ready(self) -> None:
        """Say that the agent works; ends a `reloading` too."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what the agent does, for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """Say that the settings are read anew; `ready` must follow."""
        # Type=notify-reload wants the time with it (sd_notify(3), since systemd 253).
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the agent ends of its own will."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Say that the agent lives; only where systemd asks for it."""
        if self.interval:
            self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.connect(self._address)
                sock.sendall(state.encode("utf-8", "replace"))
        except OSError:
            return  # the manager is being replaced, or is none: the work goes on


def _watchdog(interval: str, pid: str | None) -> float:
    """Return WATCHDOG_USEC in seconds, when it is meant for this process (sd_watchdog_enabled(3))."""
    if not interval.isdigit() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(interval) / 1_000_000
