"""The examples for a HAProxy of this host, each followed to the traffic that it promises."""

from pathlib import Path

import pytest

from tests.examples.following import Followed, commands
from tests.support import machine
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.haproxy import Haproxy
from tests.support.load import Load
from tests.support.process import wait_until

pytestmark = pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
STATS = "CONFSYNC_TEMPLATE__0__VARS__STATS_BIND"


@pytest.fixture
def ports(backends: Backends) -> dict[str, str]:
    """Where the instances of the examples' files are on this machine."""
    return {str(port): str(backends.start(f"s{port}")) for port in (8081, 8082, 8091, 8092)}


@pytest.fixture
def stats() -> dict[str, str]:
    """The statistics page at a free port."""
    return {STATS: f"127.0.0.1:{machine.free_port()}"}


def test_04_a_file_decides_what_is_served(
    haproxy: Haproxy, tmp_short: Path, ports: dict[str, str], stats: dict[str, str]
) -> None:
    look, take, run, *_ = commands("04-file-source")
    example = Followed("04-file-source", haproxy, tmp_short, **stats)
    example.edit("services.yaml", {port: ports[port] for port in ("8081", "8082", "8091")})
    assert example.type(look).returncode == 3
    assert example.type(take).returncode == 0
    haproxy.start()
    assert example.get("api.example.org") == (200, "s8091")
    agent = example.start(run)
    try:
        with Load(example.port, host_header="web") as load:
            load.wait(lambda report: len(report.servers) == 2, "both servers")
            example.edit("services.yaml", {"port: " + ports["8082"]: "port: " + ports["8091"]})
            load.wait_server("s8091")
            example.edit("services.yaml", {"weight: 2": "status: maintenance"})
            wait_until(lambda: haproxy.cfg.read_text().count("\n    server ") == 2, "one each")
            load.wait_ok(50)
            report = load.stop()
        assert report.failed_as == {}
        example.edit("services.yaml", {"port:": "prt:"})
        wait_until(lambda: "prt" in example.type("confsync status -c confsync.toml").stdout, "key")
        assert example.get("web")[0] == 200
    finally:
        agent.stop()


def test_05_an_own_template_routes_by_its_map_and_shows_its_error_page(
    haproxy: Haproxy, tmp_short: Path, ports: dict[str, str]
) -> None:
    check, look = commands("05-own-template")
    example = Followed("05-own-template", haproxy, tmp_short)
    example.edit("services.json", ports)
    assert example.type(check).returncode == 0
    assert example.type(look).returncode == 3
    assert example.type("confsync once --apply").returncode == 0
    haproxy.start()
    assert example.get("api.example.org")[1] in {"s8091", "s8092"}
    status, page = example.get("nowhere.example.org")
    assert status == 503
    assert "Questions: ops@example.org" in page
    agent = example.start("confsync run")
    try:
        with Load(example.port, host_header="web.example.org") as load:
            load.wait_ok(50)
            example.edit("services.json", {'"api"': '"shop"'})
            wait_until(lambda: example.get("shop.example.org")[0] == 200, "the map's new entry")
            wait_until(lambda: example.get("api.example.org")[0] == 503, "the old one's end")
            report = load.stop()
        assert report.failed_as == {}
    finally:
        agent.stop()


def test_06_a_pipeline_checks_plans_and_applies(
    haproxy: Haproxy, tmp_short: Path, consul: Consul, backends: Backends, stats: dict[str, str]
) -> None:
    source = {"CONFSYNC_SOURCE__ADDRESS": f"http://{consul.address}"}
    example = Followed("06-once-in-ci", haproxy, tmp_short, **stats, **source)

    def step(name: str, **variables: str) -> tuple[int, str]:
        done = example.type(f"./pipeline.sh {name}", **variables)
        return done.returncode, done.stdout + done.stderr

    # Neither Consul nor a running HAProxy is asked.
    assert step("check", CONFSYNC_SOURCE__ADDRESS="http://127.0.0.1:1")[0] == 0
    assert step("check", CONFSYNC_TEMPLATE__0__VARS__BIND="nonsense")[0] == 65
    assert step("check", CONFSYNC_TEMPLATE__0__VARS__BND=":80")[0] == 78
    assert step("plan", CONFSYNC_SOURCE__ADDRESS="http://127.0.0.1:1")[0] == 69

    registered = [consul.register("web", port=backends.start(f"web-{n}")) for n in range(4)]
    code, said = step("plan")
    assert (code, said.splitlines()[-1]) == (0, "plan: the changes above")
    assert not haproxy.cfg.exists()
    assert step("apply")[0] == 0
    haproxy.start()
    assert example.get("web.example.org")[0] == 200
    # It may have begun in the second in which the file was written: one more reload settles that.
    assert step("apply")[0] == 0
    code, said = step("plan")
    assert (code, said.splitlines()[-1]) == (0, "plan: nothing to do")

    consul.register("api", port=backends.start("api-1"))
    assert step("apply")[0] == 0
    # The worker of before may still take a connection.
    wait_until(lambda: example.get("api.example.org") == (200, "api-1"), "the new service")

    for ident in registered[:3]:
        consul.deregister(ident)
    code, said = step("plan")
    assert code == 4
    assert "--release NAME" in said
    assert step("deploy")[0] == 2
