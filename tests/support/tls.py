"""A certificate authority of the test's own, made with the openssl program.

Tests need certificates that a given client does or does not trust; nothing here is for real use.
"""

import dataclasses
import subprocess
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Where a signed certificate and its key lie; `pem` holds both, as HAProxy wants them."""

    cert: Path
    key: Path
    pem: Path


class Authority:
    """A CA in a folder, which signs as many certificates as asked."""

    def __init__(
        self, directory: Path, name: str = "confsync test CA", *, parent: "Authority | None" = None
    ) -> None:
        """`parent`: who signed it; it is then one in between, which `pem` has as well."""
        self._directory = directory
        self._parent = parent
        directory.mkdir(parents=True, exist_ok=True)
        self.cert = directory / "ca.crt"
        self._key = directory / "ca.key"
        if parent is not None:
            made = parent.sign(name, alternatives="DNS:ca.test", authority=True)
            self.cert.write_bytes(made.cert.read_bytes())
            self._key.write_bytes(made.key.read_bytes())
            return
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-keyout", str(self._key), "-out", str(self.cert)),
        )

    def sign(
        self,
        name: str,
        *,
        alternatives: str = "DNS:localhost,IP:127.0.0.1",
        days: int = 30,
        authority: bool = False,
    ) -> Certificate:
        """Return a certificate for server and client use; `alternatives` as openssl writes them."""
        stem = self._directory / name
        made = Certificate(
            cert=stem.with_suffix(".crt"),
            key=stem.with_suffix(".key"),
            pem=stem.with_suffix(".pem"),
        )
        request = stem.with_suffix(".csr")
        extensions = stem.with_suffix(".ext")
        usage = (
            "basicConstraints=CA:TRUE" if authority else "extendedKeyUsage=serverAuth,clientAuth"
        )
        extensions.write_text(f"subjectAltName={alternatives}\n{usage}\n")
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request)),
        )
        self._openssl(
            *("x509", "-req", "-in", str(request), "-days", str(days), "-CAcreateserial"),
            *("-CA", str(self.cert), "-CAkey", str(self._key)),
            *("-extfile", str(extensions), "-out", str(made.cert)),
        )
        chain = self.cert.read_bytes() if self._parent else b""
        made.pem.write_bytes(made.cert.read_bytes() + chain + made.key.read_bytes())
        return made

    def _openssl(self, *args: str) -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True)
