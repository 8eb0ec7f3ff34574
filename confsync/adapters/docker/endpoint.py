"""Where the engine is, as Docker's own client reads it from the environment. Opens nothing."""

import os
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confsync import errors

DEFAULT_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files; `verify` False: whatever certificate the engine has is taken."""

    ca: str
    cert: str
    key: str
    verify: bool

    def context(self) -> ssl.SSLContext:
        """Load the files. Raises OSError, ssl.SSLError among them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.verify:
            context.load_verify_locations(self.ca)
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An engine's address: a unix socket's path, or a host and a port, perhaps with TLS."""

    socket: str = ""
    host: str = ""
    port: int = 0
    tls: Tls | None = None

    @property
    def where(self) -> str:
        """Name it for an operator."""
        return self.socket or f"{self._authority}"

    @property
    def url(self) -> str:
        """Name it for the SDK."""
        return f"unix://{self.socket}" if self.socket else f"tcp://{self._authority}"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> Self:
        """Read DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH. Raises TargetError."""
        text = environment.get("DOCKER_HOST", "").strip()
        if text in {"", "unix://"}:
            return cls(socket=DEFAULT_SOCKET)
        if "://" not in text:
            text = f"tcp://{text}"
        try:
            parts = urllib.parse.urlsplit(text)
            port = parts.port or 0
        except ValueError as error:
            raise _unusable(text) from error
        if parts.scheme == "unix":
            # For Docker's clients, unix://var/run/docker.sock is an absolute path too.
            return cls(socket="/" + f"{parts.netloc}{parts.path}".lstrip("/"))
        plain = parts.path in {"", "/"} and not parts.query + parts.fragment
        if parts.scheme not in {"tcp", "http", "https"} or not (parts.hostname and port and plain):
            raise _unusable(text)
        if parts.username is not None:
            raise errors.TargetUnavailable(
                "DOCKER_HOST has a user name in it, which no engine asks for",
                remedy="set it to unix:///PATH or tcp://HOST:PORT",
            )
        return cls(host=parts.hostname, port=port, tls=_tls(environment, parts.scheme))


def _tls(environment: Mapping[str, str], scheme: str) -> Tls | None:
    folder = environment.get("DOCKER_CERT_PATH", "")
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not (folder or verify or scheme == "https"):
        return None
    base = Path(folder) if folder else Path("~/.docker").expanduser()
    tls = Tls(
        ca=str(base / "ca.pem"),
        cert=str(base / "cert.pem"),
        key=str(base / "key.pem"),
        verify=verify or scheme == "https",
    )
    for path in ([tls.ca] if tls.verify else []) + [tls.cert, tls.key]:
        if not os.path.exists(path):  # noqa: PTH110
            raise errors.TargetUnavailable(
                f"TLS with the Docker engine needs {path}, which is not there",
                remedy="set DOCKER_CERT_PATH to the folder of ca.pem, cert.pem and key.pem",
            )
        if not os.access(path, os.R_OK):
            raise errors.TargetDenied(
                f"TLS with the Docker engine needs {path}, which this user may not read",
                remedy="let confsync's user read it",
            )
    return tls


def _unusable(text: str) -> errors.TargetUnavailable:
    scheme = text.partition("://")[0]
    return errors.TargetUnavailable(
        "DOCKER_HOST is not understood"
        if scheme in {"tcp", "http", "https", "unix"}
        else f"DOCKER_HOST has the scheme {scheme!r}, which confsync does not speak",
        remedy="set it to unix:///PATH or tcp://HOST:PORT",
    )
