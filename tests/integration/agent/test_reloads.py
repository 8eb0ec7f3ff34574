"""Reloads driven by real Consul changes lose nothing: exact counts, on every version."""

import json

import pytest

from confsync.adapters.files.templates import TemplateFiles, TemplateOptions
from confsync.core.builtin import BUILTIN_VARS
from tests.conftest import Soak
from tests.integration.agent.conftest import RELOADS, Site
from tests.support import machine
from tests.support.figures import Figures


def test_changes_from_consul_lose_nothing(site: Site, soak: Soak, figures: Figures) -> None:
    changes = soak.n(8, 100)
    site.agent = site.agent_with(extra=RELOADS)
    kept = [site.add(), site.add()]
    site.up()
    with site.load(keepalive=4, close=4, streams=2, seconds=800) as load:
        load.wait(lambda report: report.ok > 50 and report.streams_alive == 2, "a running load")
        added: list[str] = []
        for number in range(changes):
            mark = site.agent.mark()
            if added and number % 2:
                site.drop(added.pop(0))
            else:
                added.append(site.add())
            site.agent.wait_cycle("reloaded", since=mark)
            load.wait_ok(30)
            if number % 2 == 0:
                load.wait_server(added[-1])
        report = load.stop()
    figures(report, changes=changes, reloads=len(site.agent.cycles("reloaded")))
    site.agrees()
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert report.streams_opened == report.streams_alive == 2
    assert set(kept) <= set(report.servers)
    assert len(site.agent.cycles("reloaded")) >= changes
    assert not site.agent.cycles("failed")
    assert site.agent.stop() == 0


@pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
def test_control_the_same_load_counts_failures_without_the_option(
    site: Site, figures: Figures
) -> None:
    """The client of the test above does count: the built-in template without its one option."""
    builtin = site.folder / "lossy.cfg.j2"
    text = TemplateFiles(TemplateOptions(base=site.folder, main="x")).load().templates[0].text
    assert text.count("option idle-close-on-response") == 1
    builtin.write_text(text.replace("option idle-close-on-response", ""))
    etc = site.haproxy.etc
    own = {
        "bind": f"127.0.0.1:{site.port}",
        "log": "",
        "stats_bind": f"127.0.0.1:{machine.free_port()}",
    }
    # A JSON value is a TOML value, but for null.
    everything = {**BUILTIN_VARS, **own}
    variables = "".join(
        f"{name} = {json.dumps('' if value is None else value)}\n"
        for name, value in everything.items()
    )
    site.agent = site.agent_with(
        template=f'[[template]]\nsource = "{builtin}"\ndestination = "{etc}/haproxy.cfg"\n'
        f"[template.vars]\n{variables}"
        f'[[template]]\nsource = "builtin:hosts.map"\ndestination = "{etc}/hosts.map"\n'
        f'language = "map"\n[template.vars]\ndomain = ""\n'
        f'[[template]]\nsource = "builtin:503.http"\ndestination = "{etc}/503.http"\n'
        'language = "plain"\n',
        extra=RELOADS,
    )
    site.add()
    site.up()
    with site.load(keepalive=8, close=0, streams=0) as load:
        load.wait_ok(50)
        for _ in range(6):
            mark = site.agent.mark()
            site.add()
            site.agent.wait_cycle("reloaded", since=mark)
            load.wait_ok(30)
        report = load.stop()
    figures(report, changes=6, reloads=len(site.agent.cycles("reloaded")))
    assert report.failed_as.get("keepalive eof_on_reused", 0) > 0
