"""The docker target under load: each way to the files and to the sockets, exact counts."""

import socket

import pytest

from tests.conftest import Soak
from tests.containers.conftest import Site
from tests.support.figures import Figures

VERSIONS = ("2.6", "3.2")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("way", "shared", "said"),
    [
        ("shared", True, ""),
        ("inside", True, ""),
        ("stats", True, "reloads go by signal"),
        ("none", True, "reloads go by signal"),
        ("inside", False, ""),
    ],
)
def test_reloads_lose_nothing(
    site: Site, soak: Soak, figures: Figures, version: str, way: str, said: str, *, shared: bool
) -> None:
    changes = soak.n(3, 30)
    lb = site.build(version, shared=shared, way=way)
    site.up()
    with site.load(keepalive=4, close=4, streams=2, seconds=600) as load:
        load.wait(lambda report: report.ok > 50 and report.streams_alive == 2, "a running load")
        workers = lb.workers()
        for _ in range(changes):
            site.change(load)
            workers |= lb.workers()
            load.wait_ok(30)
        report = load.stop()
    figures(report, changes=changes, reloads=len(site.agent.cycles("reloaded")))
    assert report.failed_as == {}
    assert report.cut_streams == 0
    assert len(workers) == changes + 1  # the streams keep the old ones
    assert not site.agent.cycles("failed")
    last = site.agent.cycles("reloaded")[-1]
    assert (said in str(last)) if said else "by signal" not in str(last)
    assert len(lb.servers()) == changes + 1
    assert site.agent.stop() == 0


def test_a_port_that_is_taken_costs_nothing(site: Site) -> None:
    """On the host's network: refused before HAProxy is asked, which would refuse connections."""
    lb = site.build("2.6", way="inside")
    site.up()
    before = lb.workers()
    with socket.socket() as taken, site.load(keepalive=2, close=4, streams=1) as load:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        load.wait_ok(50)
        text = site.agent.file.read_text()
        bind = f'bind = "127.0.0.1:{site.port}"'
        assert bind in text
        site.agent.file.write_text(text.replace(bind, f'{bind[:-1]},127.0.0.1:{port}"'))
        mark = site.agent.mark()
        site.agent.hup()
        line = site.agent.wait_cycle("failed", since=mark)
        assert f"127.0.0.1:{port} is in use" in str(line["error"])
        load.wait_ok(50)
        report = load.stop()
    assert report.failed_as == {}
    assert lb.workers() == before
