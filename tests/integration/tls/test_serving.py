"""What a client is offered by the built-in configuration: versions, names, protocols, the way there."""

import http.client
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.integration.tls.conftest import Site, fingerprint
from tests.support.backend import Backends
from tests.support.tls import Authority


def curl(site: Site, *args: str) -> str:
    program = shutil.which("curl")
    assert program is not None, "the test bed has curl"
    argv = [program, "-sS", "--max-time", "10", "--resolve", f"web:{site.port}:127.0.0.1", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def answer(site: Site, version: str) -> str | None:
    """Say what HAProxy chose, or why it chose none (its word, not our client's)."""
    try:
        with site.shake(version=version) as connection:
            return connection.version()
    except ssl.SSLError as error:
        return error.reason


REFUSED = "TLSV1_ALERT_PROTOCOL_VERSION"


async def test_clients_get_modern_tls_by_name(
    site: Site, backends: Backends, tmp_short: Path
) -> None:
    """One start of HAProxy for all that is only looked at: a start of a container is a second."""
    middle = Authority(tmp_short / "middle", "in between", parent=site.authority)
    a = middle.sign("a.test", alternatives="DNS:a.test,DNS:web")
    b, wild = site.sign("b.test"), site.sign("wild", host="*.c.test")
    for name, one in (("a.pem", a), ("b.pem", b), ("c.pem", wild)):
        site.put(name, one)
    await site.keeper().prepare()
    site.write([backends.start("one")], hsts=31_536_000)
    with site.serving():
        # Versions.
        said = [answer(site, v) for v in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")]
        assert said == [REFUSED, REFUSED, "TLSv1.2", "TLSv1.3"]
        with site.shake(version="TLSv1_2") as old:
            cipher = old.cipher()
            assert cipher is not None
            assert cipher[0].startswith("ECDHE-")
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
        # Names choose; who sends none, or an unknown one, gets the first by file name.
        shown = [site.served(n) for n in ("a.test", "web", "b.test", "x.c.test", "other", None)]
        wanted = [fingerprint(c) for c in (a, a, b, wild, a, a)]
        assert shown == wanted
        # The chain: curl knows the root alone.
        ca = str(site.authority.cert)
        where = f"https://web:{site.port}/"
        assert curl(site, "--cacert", ca, "--http1.1", where) == "one"
        # Protocols.
        for offered, chosen in ((("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1")):
            with site.shake(alpn=offered) as connection:
                assert connection.selected_alpn_protocol() == chosen
        with_h2 = curl(site, "--cacert", ca, "--http2", "-w", " %{http_version}", where)
        assert with_h2 == "one 2"
        # HTTPS is insisted on, also where HAProxy answers by itself.
        for host in ("web", "nobody"):
            head = curl(site, "-k", "-I", "-H", f"Host: {host}", where)
            assert "strict-transport-security: max-age=31536000\n" in head.replace("\r", "")
        # Plain HTTP is sent there, with path and query, and without a port that was said.
        for host, method, code in (
            ("web", "GET", 301),
            ("web", "HEAD", 301),
            (f"web:{site.plain}", "POST", 308),
        ):
            plain = http.client.HTTPConnection("127.0.0.1", site.plain, timeout=10)
            plain.request(method, "/x?y=1", headers={"Host": host})
            got = plain.getresponse()
            assert got.status == code
            assert got.headers["Location"] == f"https://web:{site.port}/x?y=1"
            assert "Strict-Transport-Security" not in got.headers
            plain.close()


@pytest.mark.parametrize("haproxy_version", ["2.6", "2.8"], indirect=True)
async def test_a_minimum_of_1_3_refuses_1_2(site: Site, backends: Backends) -> None:
    site.put("a.pem", site.sign("a.test"))
    await site.keeper().prepare()
    port = backends.start("one")
    site.write([port], tls_minimum="TLSv1.3", tls_redirect=False)
    with site.serving():
        assert [answer(site, v) for v in ("TLSv1_2", "TLSv1_3")] == [REFUSED, "TLSv1.3"]
        plain = http.client.HTTPConnection("127.0.0.1", site.plain, timeout=10)
        plain.request("GET", "/", headers={"Host": "web", "X-Forwarded-Proto": "https"})
        got = plain.getresponse()
        assert (got.status, got.read()) == (200, b"one")  # no redirect where none is wanted
        plain.close()
