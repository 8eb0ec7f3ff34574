"""Servers come, go, weigh, drain and flap under load, with three templates like operators' own.

No request fails, and HAProxy is reloaded for nothing but what the plan names. The soak makes a thousand
changes with each version.
"""

import random

import pytest

from tests.conftest import Soak
from tests.integration.runtime.conftest import Make
from tests.integration.runtime.field import Field, Instance
from tests.support.figures import Figures

COOKIE = "`cookie` can't be added at runtime"
LEFT = "retired servers that cannot be deleted: a reload ends them"
LEAST, MOST = 8, 12
"""Servers of a service, so that a burst stays under the guard's share."""


def may_reload(template: str, version: str) -> tuple[str, ...]:
    """Name the reasons for which this build must be reloaded."""
    left = (LEFT,) if version == "2.6" else ()
    return (COOKIE, *left) if template == "sticky" and version < "3.0" else left


class Churn:
    """Random changes, always the same ones, one after the other."""

    def __init__(self, field: Field, services: tuple[str, ...], seed: int) -> None:
        self.field = field
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
        kind = self.random.choice(kinds)
        match kind:
            case "add":
                self._add(service)
            case "back":
                self._back(self.random.choice(out))
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
        self.field.add(service, port=0 if fresh else self.random.choice(free))

    def _back(self, one: Instance) -> None:
        if one.out == "maintenance":
            self.field.maintain(one, enable=False)
        else:
            self.field.recover(one)


@pytest.mark.parametrize("template", ["listen", "hashing", "sticky"])
def test_changes_of_servers_cost_nothing(
    field: Make, template: str, haproxy_version: str, soak: Soak, figures: Figures
) -> None:
    changes = soak.n(8, 340)
    one = field(template=template)
    churn = Churn(one, ("web", "plain") if template == "listen" else ("web",), seed=changes)
    one.up()
    reloads, mark = one.haproxy.reloads(), one.agent.mark()
    kinds: dict[str, int] = {}
    with one.load(seconds=880) as load:
        plain = one.load(port=one.plain, keepalive=2, close=2, streams=1, seconds=880)
        others = [plain] if template == "listen" else []
        if not others:
            plain.stop()
        load.wait_ok(30)
        for _ in range(changes):
            kind = churn.change()
            kinds[kind] = kinds.get(kind, 0) + 1
            one.agreed()
        load.wait_ok(30)
        reports = [each.stop() for each in (load, *others)]
    asked = one.reload_reasons(since=mark)
    for report in reports:
        figures(report, changes=changes, reloads=len(asked), **kinds)
    for report in reports:
        assert report.failed_as == {}
        assert report.cut_streams == 0
    assert one.haproxy.reloads() - reloads == len(asked)
    allowed = may_reload(template, haproxy_version)
    assert [why for why in asked if not any(each in why for each in allowed)] == []
    assert one.agent.cycles("failed") == []
    one.whole()
