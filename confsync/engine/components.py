"""What the load balancer is made of, each as a Protocol of a few methods: see balancing.py."""

import asyncio
from typing import Protocol


class Failover(Protocol):
    """Who decides which host has the shared address. `clean`, then `run`, once."""

    async def clean(self) -> None:
        """Remove what a run before left behind. Raises ConfsyncError where it cannot work."""

    async def run(self) -> None:
        """Take part until `leave`. However it ends, this host has no address then."""

    def health(self, ok: bool, why: str) -> None:
        """Hear whether HAProxy answers; the address is given away when it does not."""

    async def leave(self) -> None:
        """Hand the address over; returns when this host has none any more."""

    def standing(self) -> object:
        """Tell the role and the addresses, as a value that can be shown."""


class Certificates(Protocol):
    """The certificates that HAProxy serves."""

    async def prepare(self) -> None:
        """Make a folder that HAProxy can start with. Raises ConfsyncError."""

    async def renew(self) -> object:
        """Take changed files over; bad ones are refused and told, and what ends soon is."""

    def standing(self) -> object:
        """Tell the certificates and their ends, as a value that can be shown."""


class WebServer(Protocol):
    """The web server behind HAProxy."""

    async def check(self) -> None:
        """Have it check its files. Raises CheckRejected with its words, CheckUnavailable."""

    async def reload(self) -> None:
        """Have it load them. Raises ConfsyncError."""

    async def changed(self) -> bool:
        """Tell whether files changed since the last check."""


class Agent(Protocol):
    """Who writes HAProxy's configuration."""

    async def run(self, *, ends: asyncio.Event, hangup: asyncio.Event) -> None:
        """Work until `ends`; `hangup` reads the settings anew. Raises ConfsyncError."""

    async def written(self) -> None:
        """Wait for the first configuration. Raises ConfsyncError when there is none to start with."""


class Notifier(Protocol):
    """The service manager."""

    def ready(self) -> None:
        """Say that HAProxy serves."""

    def reloading(self) -> None:
        """Say that everything is read anew."""

    def stopping(self) -> None:
        """Say that the end has begun."""
