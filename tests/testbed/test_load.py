"""The load client counts what goes wrong: without these controls its zeros would prove nothing."""

import pytest

from tests.conftest import Soak
from tests.support import machine
from tests.support.backend import Backends
from tests.support.figures import Figures
from tests.support.haproxy import Haproxy, simple_config
from tests.support.load import Load, Report


def reloads_under_load(
    haproxy: Haproxy, backends: Backends, *, count: int, idle_close_on_response: bool
) -> Report:
    ports = backends.start_many(2)
    port = machine.free_port()
    haproxy.cfg.write_text(
        simple_config(
            haproxy, port=port, servers=ports, idle_close_on_response=idle_close_on_response
        )
    )
    with haproxy, Load(port, servers=[f"s{each}" for each in ports], seconds=600) as load:
        for _ in range(count):
            load.wait_ok(30)
            haproxy.reload()
        load.wait_ok(30)
        report = load.stop()
    assert set(report.servers) == {f"s{each}" for each in ports}
    return report


def test_reloads_lose_nothing_with_the_option(
    haproxy: Haproxy, backends: Backends, soak: Soak, figures: Figures
) -> None:
    count = soak.n(20, 500)
    report = reloads_under_load(haproxy, backends, count=count, idle_close_on_response=True)
    figures(report, reloads=count)
    assert report.failed_as == {}, report.failures
    assert report.streams_opened == report.streams_alive == 2
    assert report.ok >= count * 30


@pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
def test_control_reloads_lose_requests_without_the_option(
    haproxy: Haproxy, backends: Backends, figures: Figures
) -> None:
    report = reloads_under_load(haproxy, backends, count=10, idle_close_on_response=False)
    figures(report, reloads=10)
    assert report.failed_as["keepalive eof_on_reused"] > 0
    assert report.cut_streams == 0, report.failures


@pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
def test_control_a_killed_worker_is_counted(
    haproxy: Haproxy, backends: Backends, figures: Figures
) -> None:
    port = machine.free_port()
    servers = [backends.start()]
    haproxy.cfg.write_text(simple_config(haproxy, port=port, servers=servers))
    with haproxy, Load(port, seconds=60) as load:
        load.wait(lambda report: report.ok > 100 and report.streams_alive == 2, "a running load")
        haproxy.kill_worker()
        load.wait(lambda report: "connect_error" in report.outcomes["close"], "the refusals")
        report = load.stop()
    figures(report)
    assert report.cut_streams == 2
    assert report.streams_alive == 0
    assert report.failed == sum(report.failed_as.values()) > 2


def test_control_each_fault_of_a_server_is_counted(backends: Backends) -> None:
    port = backends.start("web")
    with Load(port, servers=["web"], seconds=60) as load:
        load.wait(lambda report: report.ok > 100 and report.streams_alive == 2, "a running load")
        assert load.report().failed == 0
        backends.answer_with(port, 503)
        load.wait(lambda report: "status_5xx" in report.outcomes["close"], "the 503s")
        backends.stop(port)
        load.wait(lambda report: "connect_error" in report.outcomes["close"], "the refusals")
        backends.start("other", port=port)
        load.wait(lambda report: "wrong_server" in report.outcomes["close"], "the wrong server")
        report = load.stop()
    assert report.cut_streams == 2
    assert report.codes["503"] == sum(
        counts.get("status_5xx", 0) for counts in report.outcomes.values()
    )
    assert report.servers["web"].last < report.servers["other"].first


def test_slow_requests_time_out_and_the_load_ends_by_itself(backends: Backends) -> None:
    port = backends.start()
    with Load(port, path="/slow?s=5", timeout=0.2, seconds=1, streams=0) as load:
        report = load.wait(lambda report: report.seconds >= 1, "its own end")
    assert report.ok == 0
    assert report.outcomes["keepalive"]["timeout"] > 0


def test_a_graceful_stop_lets_running_requests_end(backends: Backends) -> None:
    port = backends.start()
    with Load(port, path="/slow?s=0.3", close=0, streams=0, think=5, seconds=60) as load:
        while backends.counts()[port].requests < 4:
            pass
        backends.stop(port, graceful=True)
        report = load.wait(lambda report: report.ok == 4, "the answers")
    assert report.failed == 0
