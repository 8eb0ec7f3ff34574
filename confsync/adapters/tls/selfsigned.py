"""A certificate that nobody signed, made with the openssl program: for a start without any."""

import ipaddress
import os
import re
from pathlib import Path

from confsync import errors
from confsync.adapters.process import child
from confsync.core import tls
from confsync.domain.tls import Bundle

_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})\Z", re.ASCII)
_DAYS = 3650
_COMMON_NAME = 64


class SelfSigned:
    """One certificate, made once and kept in a file (0600), until other names are asked for."""

    def __init__(self, kept: str, names: tuple[str, ...], *, program: str = "openssl") -> None:
        self._kept = Path(kept)
        self._names = names
        self._program = program

    async def bundle(self) -> tuple[Bundle, bool]:
        """Return it, and whether it is new. Raises SettingsError, CheckUnavailable."""
        wanted = _alternatives(self._names)
        head = f"# made by confsync for {wanted}\n"
        try:
            text = self._kept.read_text(encoding="ascii")
            if text.startswith(head):
                return tls.bundle(text.encode("ascii")), False
        except (OSError, ValueError):
            pass
        bundle = await self._make(wanted)
        try:
            self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._kept.unlink(missing_ok=True)
            fd = os.open(self._kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(head + bundle.pem)
        except OSError as error:
            raise errors.WriteError(
                f"cannot write {self._kept}: {error.strerror}",
                remedy="see that the folder can be written",
            ) from error
        return bundle, True

    async def _make(self, alternatives: str) -> Bundle:
        argv = [self._program, "req", "-x509", "-newkey", "ec", "-nodes", "-days", str(_DAYS)]
        argv += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
        argv += ["-subj", f"/O=confsync, signed by nobody/CN={self._names[0][:_COMMON_NAME]}"]
        argv += ["-addext", f"subjectAltName={alternatives}"]
        argv += ["-addext", "extendedKeyUsage=serverAuth"]
        try:
            # Key and certificate come through the pipe: neither touches the disk here.
            code, said = await child.run([*argv, "-keyout", "-", "-out", "-"], timeout=20)
        except (OSError, TimeoutError) as error:
            raise errors.CheckUnavailable(
                "no certificate is given, and none can be made: the program openssl does not run",
                remedy="put NAME.pem into [tls] certificates, or install openssl",
            ) from error
        try:
            if code == 0:
                return tls.bundle(said.encode("utf-8", "replace"))
        except tls.Unfit:
            pass
        raise errors.CheckUnavailable(
            "no certificate is given, and none can be made: openssl failed",
            remedy="put NAME.pem into [tls] certificates",
            detail="" if "PRIVATE KEY" in said else said,
        )


def _alternatives(names: tuple[str, ...]) -> str:
    found = []
    for name in names:
        try:
            found.append(f"IP:{ipaddress.ip_address(name)}")
        except ValueError:
            if not _HOST.match(name):
                raise errors.SettingsError(
                    [f"[tls] names: {name!a} is no host name and no address; correct it"]
                ) from None
            found.append(f"DNS:{name}")
    return ",".join(found)
