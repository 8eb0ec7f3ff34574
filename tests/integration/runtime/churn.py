"""Random changes of servers in the registry, as a busy day brings them."""

import itertools
import random

from tests.integration.runtime.field import Field, Instance

LEAST, MOST = 8, 12
"""Servers of a service, so that a burst stays under the guard's share."""
MOST_OUT = 4
"""Servers that are registered and do not serve."""


class Churn:
    """Random changes, always the same ones, one after the other."""

    def __init__(
        self, field: Field, services: tuple[str, ...], seed: int, *, dead: bool = False
    ) -> None:
        """`dead`: nobody answers at the ports of new servers, so that there may be any number."""
        self.field = field
        self._dead = itertools.cycle(range(30_000, 60_000)) if dead else None
        self.random = random.Random(seed)
        self.services = services
        self._ports = {
            service: [field.backends.start(f"{service}{n}") for n in range(MOST + 6)]
            for service in services
        }
        for service in services:
            for port in self._ports[service][:10]:
                field.add(service, port=port)

    def change(self) -> str:
        """Make one change; returns what it was."""
        service = self.random.choice(self.services)
        serving = self.field.serving(service)
        out = [i for i in self.field.instances.values() if i.out and i.service == service]
        kinds = ["weigh", "weigh"]
        kinds += ["add", "add"] if len(serving) < MOST else []
        kinds += ["drop", "fail", "maintain"] if len(serving) > LEAST else []
        kinds += ["back", "back"] if out and len(serving) < MOST else []
        kinds = ["forget"] if len(out) > MOST_OUT else kinds
        kind = self.random.choice(kinds)
        match kind:
            case "add":
                self._add(service)
            case "back":
                self._back(self.random.choice(out))
            case "forget":
                self.field.drop(self.random.choice(out))
            case "weigh":
                one = self.random.choice(serving)
                self.field.weigh(one, one.weight % 20 + 1)
            case _:
                getattr(self.field, kind)(self.random.choice(serving))
        return kind

    def _add(self, service: str) -> None:
        """Register a port that is free: one that was there before, or a new one."""
        taken = {i.port for i in self.field.instances.values()}
        free = [port for port in self._ports[service] if port not in taken]
        fresh = not free or self.random.random() < 0.3
        if not fresh:
            port = self.random.choice(free)
        else:
            port = next(p for p in self._dead if p not in taken) if self._dead else 0
        self.field.add(service, port=port)

    def _back(self, one: Instance) -> None:
        if one.out == "maintenance":
            self.field.maintain(one, enable=False)
        else:
            self.field.recover(one)
