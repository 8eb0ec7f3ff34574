"""The only module that imports py-consul and aiohttp: one request, and its answer or an error of ours.

py-consul is kept as a thin shell. Its own session, parameters and callbacks are replaced, because
(1.8.0, read and measured) it limits a query to 300 s and a client to 100 connections, knows no unix
socket, cannot ask `health` for stale answers, lets CONSUL_HTTP_TOKEN beat its argument, drops
X-Consul-KnownLeader, X-Consul-LastContact and Retry-After, and lets aiohttp's errors through.

What to ask, and what to do about an error, is for the modules that call this one.
"""

import asyncio
import errno
import ipaddress
import os
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import aiohttp
import yarl
from consul import aio, base

from confsync import __version__
from confsync.adapters.consul import encryption, refusals
from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.refusals import Refusal
from confsync.adapters.consul.tokens import Token
from confsync.errors import DiscoveryError, RegistryDenied, SettingsError, Unavailable

MARGIN = 10
"""Seconds that an answer may take beside the wait of a blocking query."""


class Mode(StrEnum):
    """Consul's consistency modes."""

    STALE = "stale"
    DEFAULT = "default"
    CONSISTENT = "consistent"


class Client:
    """Reads Consul's HTTP API over TCP, TLS or a unix socket; at most `connections` at once."""

    def __init__(
        self,
        options: ConsulOptions,
        *,
        environment: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
        margin: float = MARGIN,
    ) -> None:
        """Read the TLS files, open no connection; `margin`: seconds.

        Raises SettingsError, RegistryDenied.
        """
        self._options = options
        self._now = now
        self._margin = margin
        self._token = Token(options.token_file, environment)
        self._slots = asyncio.Semaphore(options.connections)
        self._api: _Api | None = None
        self._root, self._socket = _endpoint(options.address)
        self._context = encryption.context(options) if self._root.startswith("https:") else None
        self._faults = _Faults(options.address, over_socket=bool(self._socket))

    @property
    def generation(self) -> int:
        """Count the tokens that the token file has held."""
        return self._token.look()

    async def get(self, path: str, *, index: int = 0, mode: Mode = Mode.STALE) -> Answer:
        """Ask once; with an index, wait until the content is newer or `wait` has passed.

        `path`: below /v1/, already percent-encoded. Raises Unavailable, RegistryDenied.
        """
        params: list[tuple[str, Any]] = []
        limit = self._margin
        if mode is not Mode.DEFAULT:
            params.append((mode.value, "1"))
        if self._options.datacenter:
            params.append(("dc", self._options.datacenter))
        if index:
            params += [("index", index), ("wait", f"{self._options.wait:g}s")]
            # Consul adds up to a sixteenth, so that queries do not end all at once.
            limit += self._options.wait * 17 / 16
        async with self._slots:
            token = self._token.read()
            if self._api is None:
                self._api = _Api(self._session(), self._root)
            self._api.token = token
            try:
                answered: base.Response = await self._api.http.get(
                    lambda response: response,
                    f"/v1/{path}",
                    params,
                    self._api.prepare_headers(),
                    connections_timeout=limit,
                )
            except TimeoutError as error:
                raise self._faults.timed_out(limit) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._faults.from_transport(error) from error
        if answered.code != 200:
            raise refusals.of(
                Refusal(
                    status=answered.code,
                    body=answered.body,
                    retry_after=answered.headers.get("Retry-After", ""),
                ),
                who=f"Consul at {self._options.address}",
                path=path,
                secret=token,
                now=self._now(),
            )
        return self._answer(answered, path)

    async def close(self) -> None:
        """Give the connections back; a later request opens new ones."""
        if self._api is not None:
            api, self._api = self._api, None
            await api.close()

    def _answer(self, answered: base.Response, path: str) -> Answer:
        headers = answered.headers
        # With streaming (the default from 1.10 on) every blocking health answer says "false".
        if (
            headers.get("X-Consul-KnownLeader") == "false"
            and headers.get("X-Consul-Query-Backend") != "streaming"
        ):
            raise Unavailable(
                f"Consul at {self._options.address} knows no leader",
                remedy="the servers must elect one: see `consul operator raft list-peers`",
            )
        return Answer(
            body=answered.body,
            asked=path,
            index=_number(headers.get("X-Consul-Index")),
            last_contact=_number(headers.get("X-Consul-LastContact")) / 1000,
            filtered=headers.get("X-Consul-Results-Filtered-By-ACLs") == "true",
        )

    def _session(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._socket:
            connector = aiohttp.UnixConnector(self._socket, limit=0)
        else:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._context or True)
        headers = {"User-Agent": f"confsync/{__version__}"}
        if self._socket or _is_loopback(self._root):
            headers["Accept-Encoding"] = "identity"  # gzip costs both sides, and spares no wire
        return aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
        )


class _Http(aio.HTTPClient):  # type: ignore[misc]
    """py-consul's transport over a session of ours."""

    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        # Not aio's own __init__: it opens a session, with a deprecated argument.
        base.HTTPClient.__init__(self)
        self._session = session
        self._root = root

    def uri(self, path: str, params: list[tuple[str, Any]] | None = None) -> str:
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        return f"{self._root}{path}{query}"

    async def _request(
        self,
        callback: Callable[[base.Response], base.Response],
        method: str,
        uri: str,
        headers: dict[str, str] | None,
        data: str | bytes | None = None,
        connections_timeout: float | None = None,
        raw: bool = True,  # noqa: ARG002 - bytes always: decoding is Answer's
    ) -> base.Response:
        async with self._session.request(
            method,
            yarl.URL(uri, encoded=True),  # as it is: yarl resolves dots and decodes
            headers=headers,
            data=data,
            # Followed, a redirect would carry the token to another host.
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=connections_timeout, sock_connect=MARGIN),
        ) as response:
            return callback(base.Response(response.status, response.headers, await response.read()))


class _Api(aio.Consul):  # type: ignore[misc]
    """py-consul's client, without the environment's say."""

    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        self._transport = (session, root)
        super().__init__("-", 1, scheme="http", verify=True)  # all given: none read from CONSUL_*

    def http_connect(self, *_: object) -> _Http:
        return _Http(*self._transport)


class _Faults:
    """What aiohttp raises, as errors of ours: one line, and what to do."""

    def __init__(self, address: str, *, over_socket: bool) -> None:
        self._who = f"Consul at {address}"
        self._over_socket = over_socket

    def timed_out(self, limit: float) -> DiscoveryError:
        return Unavailable(
            f"{self._who} gave no answer within {limit:.0f} s", remedy="is the agent overloaded?"
        )

    def from_transport(self, error: Exception) -> DiscoveryError:
        """Tell what is wrong with the connection; an error of aiohttp may hold another within."""
        cause: BaseException = error
        if isinstance(error, aiohttp.ClientConnectorError):
            cause = error.os_error
        elif isinstance(error.__cause__, ssl.SSLError):
            # TLS 1.3: a server that misses our certificate says so after the handshake.
            cause = error.__cause__
        match error, cause:
            case aiohttp.ClientConnectorCertificateError(), _:
                reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
                return Unavailable(
                    f"the certificate of {self._who} is refused: {reason}",
                    remedy="set source.ca_file to its CA, and source.address to a name that is in it",
                )
            case aiohttp.ClientConnectorDNSError(), _:
                return Unavailable(
                    f"{self._who}: the name cannot be resolved", remedy="correct source.address"
                )
            case aiohttp.ServerDisconnectedError(), _:
                return self._closed()
            case aiohttp.ClientPayloadError(), _:
                return Unavailable(f"{self._who} cut an answer short", remedy="it is asked again")
            case _, ssl.SSLError():
                reason = (cause.reason or "no reason given").lower().replace("_", " ")
                return Unavailable(
                    f"TLS with {self._who} fails: {reason}",
                    remedy="is it the HTTPS port, and does the agent ask for source.cert_file?",
                )
            case _, PermissionError() if self._over_socket:
                return RegistryDenied(
                    f"{self._who}: the socket may not be used",
                    remedy="let confsync's user write to the socket",
                )
            case _, OSError(errno=errno.ECONNRESET | errno.EPIPE):
                return self._closed()
            case _, OSError(errno=int(number)) if number > 0:
                return Unavailable(
                    f"{self._who} cannot be reached: {os.strerror(number)}",
                    remedy="is the agent running, and source.address its HTTP API?",
                )
            case _:
                return Unavailable(
                    f"{self._who} does not speak HTTP as expected ({type(error).__name__})",
                    remedy="is source.address the HTTP API of a Consul agent?",
                )

    def _closed(self) -> DiscoveryError:
        return Unavailable(
            f"{self._who} closed the connection",
            remedy=(
                "if it stays so, its limit of connections is reached: raise"
                " limits.http_max_conns_per_client (200) there, or lower source.connections"
            ),
        )


def _endpoint(address: str) -> tuple[str, str]:
    """Split an address into the URL to ask and the path of a unix socket, "" for none."""
    try:
        parts = urllib.parse.urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise SettingsError([f"source.address: {error}"]) from error
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            ["source.address: no user or password in it: a token goes into source.token_file"]
        )
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return "http://localhost", parts.path
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query + parts.fragment:
        return address.rstrip("/"), ""
    raise SettingsError([f"source.address: {address!r} is no http://, https:// or unix:///path"])


def _is_loopback(root: str) -> bool:
    host = urllib.parse.urlsplit(root).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _number(text: str | None) -> int:
    """Read a header's number; 0 when it is missing, negative or none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
