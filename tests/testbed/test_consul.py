"""The Consul of the test bed does what the tests make it do."""

from pathlib import Path

import pytest

from tests.support.consul import Consul, ConsulError
from tests.support.process import wait_until
from tests.support.tls import Authority

TTL = {"TTL": "60s", "Status": "passing"}


def test_health_follows_checks_and_maintenance(consul: Consul) -> None:
    consul.register("web", id="web-1", port=80, checks=[TTL])
    assert consul.passing("web") == ["web-1"]
    consul.check("service:web-1", "fail")
    assert consul.passing("web") == []
    consul.check("service:web-1", "pass")
    consul.maintenance("web-1")
    assert consul.passing("web") == []
    consul.maintenance("web-1", enable=False)
    assert consul.passing("web") == ["web-1"]
    consul.deregister("web-1")
    assert consul.passing("web") == []


def test_instances_of_another_node(consul: Consul) -> None:
    service = {"ID": "web-9", "Service": "web", "Port": 80}
    consul.catalog_register("elsewhere", service=service)
    assert consul.passing("web") == ["web-9"]
    consul.catalog_deregister("elsewhere", "web-9")
    assert consul.passing("web") == []


def test_a_paused_agent_does_not_answer_and_a_restarted_one_is_empty(consul: Consul) -> None:
    consul.register("web", id="web-1", port=80)
    consul.pause()
    with pytest.raises(TimeoutError):
        consul.raw("GET", "/v1/status/leader", timeout=0.3)
    consul.resume()
    assert consul.passing("web") == ["web-1"]
    consul.restart()
    assert consul.passing("web") == []
    consul.kill9()
    with pytest.raises(ConnectionRefusedError):
        consul.passing("web")


def test_acls_deny_by_default(tmp_short: Path) -> None:
    authority = Authority(tmp_short / "ca")
    with Consul(
        tmp_short / "consul", acl=True, authority=authority, unix_socket=tmp_short / "c.sock"
    ) as consul:
        consul.register("web", id="web-1", port=80)
        wait_until(lambda: consul.passing("web") == ["web-1"], "the agent's sync")
        path = "/v1/health/service/web"
        assert consul.raw("GET", path, token="") == []
        reader = consul.create_token(
            'service_prefix "" {policy="read"} node_prefix "" {policy="read"}'
        )
        assert len(consul.raw("GET", path, token=reader)) == 1
        with pytest.raises(ConsulError):
            consul.raw("PUT", "/v1/catalog/deregister", {"Node": "testbed"}, token=reader)
        assert (tmp_short / "c.sock").is_socket()
