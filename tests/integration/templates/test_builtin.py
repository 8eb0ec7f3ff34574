"""The built-in set on real HAProxies: checked without a warning, and under real traffic."""

import base64
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from confsync.core import quoting
from confsync.domain.rendered import Language
from tests.conftest import Soak
from tests.golden import cases
from tests.support import machine
from tests.support.backend import Backends
from tests.support.figures import Figures
from tests.support.haproxy import Haproxy
from tests.support.load import Load
from tests.support.tls import Authority
from tests.unit.core.hostile import NASTY


class Site:
    """The built-in configuration for some loopback servers, written where a HAProxy reads it."""

    def __init__(self, haproxy: Haproxy) -> None:
        self.haproxy = haproxy
        self.port = machine.free_port()
        self.stats = machine.free_port()

    def write(
        self, services: dict[str, list[int]], *, edit: Any = str, **variables: object
    ) -> None:
        made = cases.render(
            [
                {
                    "name": name,
                    "instances": [
                        {"id": f"{name}-{port}", "address": "127.0.0.1", "port": port}
                        for port in ports
                    ],
                }
                for name, ports in services.items()
            ],
            str(self.haproxy.etc),
            variables={
                "bind": f"127.0.0.1:{self.port}",
                "stats_bind": f"127.0.0.1:{self.stats}",
                "log": "",
            }
            | variables,
            target="socket",
            stats_socket=str(self.haproxy.admin_socket),
        )
        for file in made.config.files:
            path = self.haproxy.etc / file.destination.rpartition("/")[2]
            path.write_text(edit(file.text))

    def ask(
        self, host: str, path: str = "/", *, method: str = "GET", port: int = 0, headers: Any = ()
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        body = b"x" if method in {"POST", "PUT"} else None
        connection.request(method, path, body=body, headers={"Host": host, **dict(headers)})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


@pytest.fixture
def site(haproxy: Haproxy) -> Site:
    return Site(haproxy)


@pytest.fixture
def hanging_up() -> Iterator[int]:
    """A port that accepts and closes without an answer, as docker-proxy does for a dead container."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):  # the other side may be quicker
                connection.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("case", cases.CASES)
def test_haproxy_takes_the_golden_files_without_a_warning(haproxy: Haproxy, case: str) -> None:
    made = cases.made(
        case, str(haproxy.etc), target="socket", stats_socket=str(haproxy.admin_socket)
    )
    certificates = haproxy.etc / "certs"
    one = Authority(certificates).sign("one")
    for path in certificates.iterdir():
        if path != one.pem:
            path.unlink()
    for file in made.config.files:
        text = file.text.replace("/run/confsync/certs", str(certificates))
        (haproxy.etc / file.destination.rpartition("/")[2]).write_text(text)
    code, words = haproxy.check()
    complaints = [
        line
        for line in words.splitlines()
        if ("WARNING" in line or "ALERT" in line) and "could not resolve" not in line
    ]
    assert (code, complaints) == (0, [])
    assert ("could not resolve" in words) <= (case == "plain")


def test_the_host_header_chooses_the_service(
    haproxy: Haproxy, site: Site, backends: Backends
) -> None:
    one, two = backends.start("one"), backends.start("two")
    site.write(
        {"web": [one], "my_app": [two], "empty": [], "a.b": [two], "odd name": [two]},
        domain="Example.com",
    )
    with haproxy:
        for host in ("web", "WEB", "web:8080", "web.example.com", "Web.Example.COM.:80"):
            assert site.ask(host) == (200, site.ask("web")[1]), host
            assert "one" in site.ask(host)[1]
        assert "two" in site.ask("my_app.example.com")[1]
        for host in (
            "empty",
            "nobody",
            "",
            "a.b",
            "[::1]",
            "web.other",
            "confsync.stats",
        ):
            code, text = site.ask(host)
            assert (code, text) == (503, "503: no server is ready for this host.\n"), host


def test_an_unknown_host_leaves_the_connection_usable(
    haproxy: Haproxy, site: Site, backends: Backends
) -> None:
    site.write({"web": [backends.start("one")]})
    with haproxy:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
        connection.connect()
        for host, code in (("nobody", 503), ("web", 200), ("nobody", 503)):
            connection.request("GET", "/", headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == code
            if code == 503:
                assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        connection.close()


@pytest.mark.parametrize("saved", [True, False])
def test_a_crash_that_the_registry_does_not_know_yet_costs_no_get(
    haproxy: Haproxy, site: Site, backends: Backends, saved: bool
) -> Any:
    ports = backends.start_many(3)
    without = ("option redispatch", "retry-on", "retries", "default-server")

    def edit(text: str) -> str:
        if saved:
            return text
        lines = [line for line in text.split("\n") if not line.strip().startswith(without)]
        return "\n".join(lines).replace("mode http", "mode http\n    retries 0")

    site.write({"web": ports}, edit=edit)
    with haproxy, Load(site.port, host_header="web", streams=0) as load:
        load.wait_ok(300)
        backends.stop(ports[0])
        load.wait_ok(300)
        backends.stop(ports[1])
        load.wait_ok(600)
        report = load.stop()
    if saved:
        assert report.failed_as == {}
    else:
        assert report.failed > 0  # so the load would have seen it


def test_an_empty_answer_is_retried_where_that_is_safe(
    haproxy: Haproxy, site: Site, backends: Backends, hanging_up: int
) -> None:
    site.write({"web": [backends.start("one"), hanging_up]})
    with haproxy:
        for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
            codes = [site.ask("web", method=method)[0] for _ in range(10)]
            assert 502 not in codes, method
            assert 503 not in codes, method
        posts = {site.ask("web", method="POST")[0] for _ in range(20)}
        assert 502 in posts  # it may have done something: never sent twice


def test_a_post_to_a_refused_port_goes_to_another_server(
    haproxy: Haproxy, site: Site, backends: Backends
) -> None:
    dead = machine.free_port()
    site.write({"web": [backends.start("one"), dead]})
    with haproxy:
        assert {site.ask("web", method="POST")[0] for _ in range(20)} == {200}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "control"])
def test_reloads_cost_nothing(
    haproxy: Haproxy, site: Site, backends: Backends, soak: Soak, figures: Figures, kept: bool
) -> None:
    ports = backends.start_many(3)
    site.write(
        {"web": ports},
        edit=lambda text: text if kept else text.replace("option idle-close-on-response", ""),
    )
    with haproxy, Load(site.port, host_header="web", keepalive=8, think=0.002) as load:
        load.wait_ok(200)
        for _ in range(soak.n(8 if kept else 25, 100)):
            haproxy.reload()
            load.wait_ok(30)
            if not kept and load.report().failed:
                break
        load.wait_ok(200)
        report = load.stop()
        figures(report, reloads=haproxy.reloads())
    if kept:
        assert report.failed_as == {}
        assert report.cut_streams == 0
        assert report.streams_alive == report.streams_opened
    else:
        assert report.failed > 0  # the control: this load sees what the option saves


def test_the_stats_page_and_the_figures(haproxy: Haproxy, site: Site, backends: Backends) -> None:
    site.write({"web": [backends.start("one")]})
    with haproxy:
        code, text = site.ask("x", port=site.stats)
        assert code == 200
        assert "confsync.http" in text
        code, text = site.ask("x", "/metrics", port=site.stats)
        assert code == 200
        assert "haproxy_process_uptime_seconds" in text


def test_the_stats_page_asks_for_the_password_that_was_given(
    haproxy: Haproxy, site: Site, backends: Backends
) -> None:
    site.write(
        {"web": [backends.start("one")]}, stats_user="ad min", stats_password="p%\"a #s'\\$é"
    )
    right = base64.b64encode("ad min:p%\"a #s'\\$é".encode()).decode()
    wrong = base64.b64encode(b"ad min:wrong").decode()
    with haproxy:
        for path in ("/", "/metrics"):
            for token, code in ((right, 200), (wrong, 401)):
                headers = {"Authorization": f"Basic {token}"}
                assert site.ask("x", path, port=site.stats, headers=headers)[0] == code
            assert site.ask("x", path, port=site.stats)[0] == 401


def test_haproxy_shows_servers_under_the_names_and_ids_that_were_typed(
    haproxy: Haproxy, site: Site, backends: Backends
) -> None:
    site.write({"web": backends.start_many(2), "GLOBAL": [], "MASTER": [], "HTTPCLIENT": []})
    with haproxy:
        shown = haproxy.runtime("show servers state web").splitlines()[2:]
        words = [line.split() for line in shown if line]
        text = (haproxy.etc / "haproxy.cfg").read_text()
        assert len(words) == 2
        for _, _, number, name, address, *_ in words:
            assert f"server {name} {address}:" in text
            assert f" id {number} " in text


def test_quote_reaches_haproxy_exactly(haproxy: Haproxy) -> None:

    values = [
        *NASTY,
        *map(chr, range(32, 127)),
        "é" * 500,
        "a" * 1024,
        "\\x41",
        "a\\ b",
        '"',
        "ü ö",
    ]
    rules: list[str] = []
    sent: list[str] = []
    for value in values:
        try:
            quoted = quoting.quote(value, Language.HAPROXY)
        except quoting.Unquotable:
            continue
        rules.append(
            f"  http-request return status 200 content-type text/plain string {quoted}"
            f" if {{ path /{len(sent)} }}"
        )
        sent.append(value)
    port = machine.free_port()
    haproxy.cfg.write_text(
        f"global\n  stats socket {haproxy.admin_socket} mode 600 level admin\n"
        "defaults\n  mode http\n  timeout client 9s\n  timeout connect 9s\n  timeout server 9s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n" + "\n".join(rules) + "\n"
    )
    assert len(sent) > 100
    with haproxy:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for number, value in enumerate(sent):
            connection.request("GET", f"/{number}")
            assert connection.getresponse().read() == value.encode(), json.dumps(value)
        connection.close()
