"""Servers come, go, weigh, drain and flap under load, with three templates like operators' own.

No request fails, and HAProxy is reloaded for nothing but what the plan names. The soak makes a thousand
changes with each version.
"""

import pytest

from tests.conftest import Soak
from tests.integration.runtime.churn import Churn
from tests.integration.runtime.conftest import Make
from tests.support.figures import Figures

COOKIE = "`cookie` can't be added at runtime"
LEFT = "retired servers that cannot be deleted: a reload ends them"


def may_reload(template: str, version: str) -> tuple[str, ...]:
    """Name the reasons for which this build must be reloaded."""
    left = (LEFT,) if version == "2.6" else ()
    return (COOKIE, *left) if template == "sticky" and version < "3.0" else left


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
