"""The built-in configuration with TLS, and confsync's keeping of its certificates, on real HAProxys."""

import contextlib
import hashlib
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from confsync.adapters.haproxy.certificates import RuntimeCertificates
from confsync.adapters.tls.folder import SELF_SIGNED, Folders
from confsync.adapters.tls.selfsigned import SelfSigned
from confsync.engine.certificates import Certificates
from tests.fakes.certificates import Told
from tests.golden import cases
from tests.support import machine
from tests.support.haproxy import Haproxy
from tests.support.process import wait_until
from tests.support.tls import Authority, Certificate


class Site:
    """One HAProxy at `port` (HTTPS) and `plain` (HTTP), its certificates in `given`."""

    def __init__(self, haproxy: Haproxy, folder: Path) -> None:
        self.haproxy = haproxy
        self.port, self.plain, stats = machine.free_ports(3)
        self.given = folder / "given"
        self.given.mkdir()
        self.copies = haproxy.etc / "certs"
        self.kept = folder / "state" / SELF_SIGNED
        self.authority = Authority(folder / "ca")
        self.told = Told()
        self.reloads: list[str] = []
        self._stats = stats

    def write(self, servers: list[int], **variables: object) -> None:
        """Write the built-in set for one service, `web`."""
        instances = [{"id": f"{p}", "address": "127.0.0.1", "port": p} for p in servers]
        made = cases.render(
            [{"name": "web", "instances": instances}],
            str(self.haproxy.etc),
            variables={
                "bind": f"127.0.0.1:{self.plain}",
                "stats_bind": f"127.0.0.1:{self._stats}",
                "log": "",
                "tls_bind": f"127.0.0.1:{self.port}",
                "tls_certificates": str(self.copies),
                "tls_port": self.port,
            }
            | variables,
            target="socket",
            stats_socket=str(self.haproxy.admin_socket),
        )
        for file in made.config.files:
            (self.haproxy.etc / file.destination.rpartition("/")[2]).write_text(file.text)

    def sign(self, name: str, *, host: str = "", days: int = 30) -> Certificate:
        """Sign one for a host: `name` if not told."""
        return self.authority.sign(name, alternatives=f"DNS:{host or name}", days=days)

    def put(self, name: str, certificate: Certificate | bytes) -> Path:
        """Give HAProxy's folder a file, as who renews does: whole, by a rename."""
        data = certificate if isinstance(certificate, bytes) else certificate.pem.read_bytes()
        beside = self.given / f".{name}"
        beside.write_bytes(data)
        beside.replace(self.given / name)
        return self.given / name

    def keeper(self, *, clock: Callable[[], float] = time.time) -> Certificates:
        """What `confsync lb` keeps certificates with."""
        return Certificates(
            Folders(str(self.given), str(self.copies)),
            RuntimeCertificates(str(self.haproxy.admin_socket)),
            SelfSigned(str(self.kept), ("localhost", "127.0.0.1")),
            self.told,
            directory=str(self.copies),
            source=str(self.given),
            self_signed=str(self.copies / SELF_SIGNED),
            reload=self.reloads.append,
            clock=clock,
        )

    def shake(
        self, name: str | None = "a.test", *, version: str = "", alpn: tuple[str, ...] = ()
    ) -> ssl.SSLSocket:
        """Shake hands, and return the connection; no certificate is checked."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if version:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the old versions: on purpose
                context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            return context.wrap_socket(sock, server_hostname=name)
        except BaseException:
            sock.close()
            raise

    def served(self, name: str | None = "a.test") -> str:
        """Name the certificate that a client is shown: its fingerprint."""
        with self.shake(name) as connection:
            shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        return hashlib.sha1(shown).hexdigest().upper()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Start HAProxy, until it takes connections, and end it."""
        with self.haproxy:
            self.wait_port()
            yield

    def wait_port(self) -> None:
        """Wait until HAProxy takes connections: 3.2 shows its worker before that."""

        def takes() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
                return True
            return False

        wait_until(takes, "HAProxy's port")

    def reload(self) -> None:
        """Reload HAProxy, and wait until nobody of before listens any more."""
        self.haproxy.reload()

        def alone() -> bool:
            with contextlib.suppress(OSError):  # one that ends lets go of who came to it
                return self.haproxy.worker_pid() == self.haproxy.workers()[0]
            return False

        wait_until(alone, "the worker")


def fingerprint(certificate: Certificate) -> str:
    """Name a certificate as `Site.served` does."""
    der = ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    return hashlib.sha1(der).hexdigest().upper()


@pytest.fixture
def site(haproxy: Haproxy, tmp_short: Path) -> Site:
    return Site(haproxy, tmp_short)
