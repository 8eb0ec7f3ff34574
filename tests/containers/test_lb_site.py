"""One load balancer of the image with all its parts: discovery, TLS, nginx. Changes cost nothing."""

import functools
import http.client
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Soak
from tests.support.backend import Backends
from tests.support.containers import (
    Container,
    Project,
    RemoteConsul,
    balancer,
    consul_image,
    docker,
    get,
)
from tests.support.figures import Figures
from tests.support.load import Load
from tests.support.pair import write
from tests.support.polling import Polling
from tests.support.process import wait_until
from tests.support.tls import Authority, Certificate

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the image
SETTINGS = """\
[source]
address = "http://consul:8500"
wait = 5
[reload]
interval = 0.2
[runtime]
enabled = false
[tls]
interval = 0.2
"""
BUILT_IN = """\
[tls]
enabled = true
interval = 0.2
hsts = 3600
[[template]]
source = "builtin:haproxy.cfg"
destination = "/run/confsync/haproxy.cfg"
"""
OWN = (
    SETTINGS
    + """\
[[template]]
source = "haproxy.cfg.j2"
destination = "/run/confsync/haproxy.cfg"
"""
)
TEMPLATE = """\
global
    log stdout format raw local0
    stats socket /run/confsync/admin.sock mode 660 level admin expose-fd listeners
    hard-stop-after 10m
defaults
    mode http
    option idle-close-on-response
    timeout connect 3s
    timeout client 30s
    timeout server 30s
frontend site
    bind :80
    bind :443 ssl crt /run/confsync/certs/ alpn h2,http/1.1
    use_backend pages if { hdr(host) pages }
    default_backend servers
backend pages
    server nginx 127.0.0.1:8080
backend servers
{% for each in service("web").instances %}
    server {{ each.server }} {{ each.address }}:{{ each.port }} id {{ each.server_id }}
{% endfor %}
"""
SITE = """\
server {
    access_log off;
    listen 127.0.0.1:8080;
    location / { add_header X-Server nginx; return 200 "nginx"; }
    # %d
}
"""


def served(address: str, name: str) -> bytes:
    """Return the certificate that is served for a name, as DER."""
    with socket.create_connection((address, 443), 5) as plain, unverified(plain, name) as tls:
        return tls.getpeercert(binary_form=True) or b""


def unverified(plain: socket.socket, name: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def der(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


def install(certificate: Certificate, home: Path, name: str) -> None:
    """Put it where the load balancer finds it, by a rename, as those who renew do."""
    fresh = home / "certs" / f".{name}.new"
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(certificate.pem, fresh)
    fresh.rename(home / "certs" / f"{name}.pem")


class Site:
    """The load balancer with Consul, and toy servers in a container of their own."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.home = folder / "home"
        self.authority = Authority(folder / "ca")
        self._renewals = 0
        install(self.renewed(), self.home, "web")
        write(self.home / "confsync.toml", OWN)
        write(self.home / "haproxy.cfg.j2", TEMPLATE)
        write(self.home / "nginx.d" / "site.conf", SITE % 0)
        image = balancer()
        self.consul = RemoteConsul(project.run("consul", consul_image()))
        self._servers = project.run(
            "servers", image, "infinity", options=("--entrypoint", "sleep", "--init")
        )
        self.consul.wait_ready()
        self.backends = Backends(python=self._servers.python)
        self._count = 0
        self.add()
        mount = ("--volume", f"{self.home}:/haproxy:ro")
        self.lb: Container = project.run("lb", image, options=mount)
        self.address = self.lb.address
        wait_until(lambda: get(self.address, 80)[0] == 200, "a server of web")

    def renewed(self, name: str = "web.example.org") -> Certificate:
        self._renewals += 1
        return self.authority.sign(f"{name}-{self._renewals}", alternatives=f"DNS:{name}")

    def add(self) -> str:
        self._count += 1
        name = f"web-{self._count}"
        port = self.backends.start(name, host="0.0.0.0")
        self.consul.register("web", name, self._servers.address, port)
        return name

    def wait_workers(self, kind: str, before: list[str]) -> None:
        wait_until(lambda: self.processes(kind)[-1:] not in ([], before[-1:]), f"a new {kind}")

    def processes(self, kind: str) -> list[str]:
        """List the processes of a kind by the machine's pids, the newest last."""
        rows = docker("top", self.lb.name, "-eo", "pid,args", "--sort", "start_time").splitlines()
        return [row.split()[0] for row in rows if kind in row and "confsync" not in row.split()[1]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Project() as project:
        made = Site(project, tmp_path_factory.mktemp("site"))
        try:
            yield made
        finally:
            made.backends.close()
            if not made.lb.running:
                print(made.lb.logs()[-5000:])


def by_consul(site: Site, load: Load, number: int) -> None:
    load.wait_server(site.add())


def by_hup(site: Site, load: Load, number: int) -> None:
    before = site.processes("haproxy -")
    mark = site.lb.mark()
    fresh = TEMPLATE.replace("hard-stop-after 10m", f"hard-stop-after {600 + number}s")
    write(site.home / "haproxy.cfg.j2", fresh)
    site.lb.kill("HUP")
    site.lb.wait_log(lambda line: line["event"] == "cycle: reloaded", mark)
    assert site.processes("haproxy -") != before


def by_certificate(site: Site, load: Load, number: int) -> None:
    fresh = site.renewed()
    install(fresh, site.home, "web")
    wait_until(lambda: served(site.address, "web.example.org") == der(fresh), "the renewed one")


def by_nginx(site: Site, load: Load, number: int) -> None:
    before = site.processes("nginx: worker")
    write(site.home / "nginx.d" / "site.conf", SITE % number)
    site.lb.kill("HUP")
    wait_until(
        lambda: (now := site.processes("nginx: worker")) and not set(now) & set(before),
        "new workers of nginx",
    )


CHANGES = {
    "consul": by_consul,
    "hup": by_hup,
    "certificate": by_certificate,
    "nginx": by_nginx,
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_under_load_cost_no_request(
    site: Site, kind: str, soak: Soak, figures: Figures
) -> None:
    """Through HAProxy to the servers and to nginx, plain and over TLS, old connections and new."""
    count = soak.n(5, 50)
    load = functools.partial(Load, 80, address=site.address, streams=1, seconds=600)
    with (
        load(host_header="web") as web,
        load(host_header="pages", keepalive=2, close=2, streams=0) as pages,
        # As patient as the others: what is lost counts here, not what is slow.
        Polling(
            site.address, 443, tls=True, host="pages", interval=0.02, timeout=10, seconds=600
        ) as secure,
    ):
        web.wait_ok(20)
        pages.wait_ok(20)
        for number in range(count):
            CHANGES[kind](site, web, number)
        web.wait_ok(20)
        pages.wait_ok(20)
        polls, nginx, report = secure.stop(), pages.stop(), web.stop()
    figures(report, changes=count)
    assert report.failed_as == {}
    assert nginx.failed_as == {}
    assert polls.failed_as == {}
    assert min(report.ok, nginx.ok, len(polls.all)) > 20
    assert report.streams_alive == 1


def test_a_renewed_certificate_needs_no_reload_and_a_bad_one_is_refused(site: Site) -> None:
    before = site.processes("haproxy -")
    fresh = site.renewed()
    install(fresh, site.home, "web")
    wait_until(lambda: served(site.address, "web.example.org") == der(fresh), "the renewed one")
    mark = site.lb.mark()
    write(site.home / "certs" / "web.pem", "no certificate\n")
    site.lb.wait_log(lambda line: "web.pem" in str(line) and line["level"] != "info", mark)
    assert served(site.address, "web.example.org") == der(fresh)
    # None is new; one of an earlier reload may have ended.
    assert set(site.processes("haproxy -")) <= set(before)
    install(fresh, site.home, "web")


def test_the_built_in_configuration_terminates_tls(tmp_path: Path) -> None:
    """Redirect, HSTS, HTTP/2, a certificate by name, and one of its own when none is given."""
    home = tmp_path / "home"
    write(home / "confsync.toml", '[source]\ntype = "file"\npath = "services.json"\n' + BUILT_IN)
    write(home / "services.json", '{"services": []}')
    (home / "certs").mkdir()
    with Project() as project:
        lb = project.run("lb", balancer(), options=("--volume", f"{home}:/haproxy:ro"))
        wait_until(lambda: get(lb.address, 80, "web.example.org")[0] == 301, "a redirect")
        lb.wait_log(lambda line: line["level"] == "warning" and "nobody has signed" in str(line))
        own = served(lb.address, "web.example.org")
        authority = Authority(tmp_path / "ca")
        made = {n: authority.sign(n, alternatives=f"DNS:{n}") for n in ("a.test", "b.test")}
        for name, certificate in made.items():
            install(certificate, home, name)
        for name, certificate in made.items():
            wait_until(
                lambda n=name, c=certificate: served(lb.address, n) == der(c),  # type: ignore[misc]
                f"the certificate of {name}",
            )
        assert own not in {der(certificate) for certificate in made.values()}

        context = ssl.create_default_context(cafile=authority.cert)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((lb.address, 443), 5) as plain,
            context.wrap_socket(plain, server_hostname="a.test") as tls,
        ):
            assert tls.selected_alpn_protocol() == "h2"
            assert tls.version() == "TLSv1.3"
        # Python warns of asking for what is too old, so this is asked of openssl.
        old = ["openssl", "s_client", "-connect", f"{lb.address}:443", "-tls1_1"]
        done = subprocess.run(
            [*old, "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, check=False
        )
        assert done.returncode != 0
        assert b"alert protocol version" in done.stderr

        connection = http.client.HTTPSConnection(
            lb.address, timeout=5, context=ssl._create_unverified_context()
        )
        connection.request("GET", "/", headers={"Host": "a.test"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Strict-Transport-Security")) == (
            503,
            "max-age=3600",
        )
        connection.close()
