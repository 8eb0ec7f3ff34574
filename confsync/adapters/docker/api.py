"""The only module that imports the docker SDK: one request to the engine, and its answer.

Blocking: the engine's threads call it. Requests whose answer lasts (exec, events) are stream.py's:
the SDK reads those without any limit of time. Every error is one of ours.
"""
# ruff: noqa: D102 - client.py says what each method does

import contextlib
import functools
import json
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import docker
import docker.constants
import docker.errors
import docker.tls
import docker.utils
import requests
import urllib3.exceptions

from confsync import __version__, errors
from confsync.adapters.docker import faults
from confsync.adapters.docker.endpoint import Endpoint

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK = 1 << 16


def _translated(method: Callable[P, T]) -> Callable[P, T]:
    """Have a method of Api raise errors of ours."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        api = args[0]
        assert isinstance(api, Api)
        with _translating(api.endpoint.where, api.timeout):
            _knock(api.endpoint, api.timeout)
            return method(*args, **kwargs)

    return call


class Api:
    """A client of one engine, of the version that both speak. `timeout`: seconds, of one request."""

    def __init__(self, environment: Mapping[str, str], timeout: float) -> None:
        """Find the engine by the environment and ask its version. Raises TargetError."""
        self.timeout = timeout
        self.endpoint = Endpoint.parse(environment)
        if self.endpoint.tls is not None and not self.endpoint.tls.verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was asked for
        with _translating(self.endpoint.where, timeout):
            _knock(self.endpoint, timeout)
            first = self._made(docker.constants.DEFAULT_DOCKER_API_VERSION)
            try:
                spoken = str(first.version(api_version=False)["ApiVersion"])
            finally:
                first.close()
            self._client = self._made(spoken)
        self.version = spoken

    def _made(self, version: str) -> docker.APIClient:
        made = docker.APIClient(
            base_url=self.endpoint.url,
            tls=self._tls(),
            version=version,
            timeout=self.timeout,
            user_agent=f"confsync/{__version__}",
        )
        # Else ~/.netrc is sent, and REQUESTS_CA_BUNDLE wins over the CA of DOCKER_CERT_PATH.
        made.trust_env = False
        return made

    def _tls(self) -> docker.tls.TLSConfig | bool:
        tls = self.endpoint.tls
        if tls is None:
            return False
        return docker.tls.TLSConfig(
            client_cert=(tls.cert, tls.key), ca_cert=tls.ca, verify=tls.verify
        )

    def close(self) -> None:
        self._client.close()

    @_translated
    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.inspect_container(name)
        return found

    @_translated
    def list(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        filters = {"label": [label]} if label else None
        found: list[dict[str, Any]] = self._client.containers(all=True, filters=filters)
        return found

    @_translated
    def exec_create(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Sequence[str] = (),
        directory: str = "",
        user: str = "",
        stdin: bool = False,
    ) -> str:
        made = self._client.exec_create(
            container,
            list(argv),
            environment=list(environment) or None,
            workdir=directory or None,
            user=user,
            stdin=stdin,
        )
        return str(made["Id"])

    @_translated
    def exec_code(self, exec_id: str) -> int | None:
        found = self._client.exec_inspect(exec_id)
        return None if found.get("Running") or found.get("ExitCode") is None else found["ExitCode"]

    @_translated
    def put(self, container: str, folder: str, packed: bytes) -> None:
        self._client.put_archive(container, folder, packed)

    @_translated
    def get(self, container: str, path: str, limit: int) -> tuple[Mapping[str, Any], bytes]:
        answer = self._streamed(f"/containers/{container}/archive", {"path": path})
        with contextlib.closing(answer):
            told = answer.headers.get("X-Docker-Container-Path-Stat", "")
            stat = docker.utils.decode_json_header(told) if told else {}
            return stat, _bounded(answer, limit)

    @_translated
    def kill(self, container: str, signal: str) -> None:
        self._client.kill(container, signal)

    @_translated
    def top(self, container: str, columns: str) -> Sequence[Sequence[str]]:
        found = self._client.top(container, f"-eo {columns}")
        return [list(map(str, row)) for row in found.get("Processes") or ()]

    @_translated
    def logs(self, container: str, since: float, lines: int, limit: int) -> bytes:
        asked = {"stdout": 1, "stderr": 1, "tail": lines, "since": f"{since:.9f}"}
        with contextlib.closing(self._streamed(f"/containers/{container}/logs", asked)) as answer:
            return _bounded(answer, limit)

    @_translated
    def create(self, container: str, argv: Sequence[str], made: Mapping[str, Any]) -> str:
        host = self._client.create_host_config(
            volumes_from=[f"{container}:ro"], network_mode=made["network"]
        )
        answer = self._client.create_container(
            made["image"],
            command=list(argv[1:]),
            entrypoint=[argv[0]],
            name=made["name"],
            environment=list(made["environment"]),
            working_dir=made["directory"],
            user=made["user"],
            host_config=host,
            labels=dict(made["labels"]),
        )
        return str(answer["Id"])

    @_translated
    def start(self, container: str) -> None:
        self._client.start(container)

    @_translated
    def remove(self, container: str) -> None:
        self._client.remove_container(container, force=True, v=True)

    def _streamed(self, path: str, params: Mapping[str, Any]) -> requests.Response:
        url = f"{self._client.base_url}/v{self.version}{urllib.parse.quote(path)}"
        answer: requests.Response = self._client.get(
            url, params=params, stream=True, timeout=self.timeout
        )
        if answer.status_code >= 400:
            with contextlib.closing(answer):
                raise _refusal(self.endpoint.where, answer, answer.text)
        return answer


def _knock(endpoint: Endpoint, timeout: float) -> None:
    """Fail at once where nobody listens: the SDK would leave that socket to the garbage collector."""
    if endpoint.socket:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(endpoint.socket)


@contextlib.contextmanager
def _translating(where: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        raise _refusal(where, error.response, str(error.explanation or "")) from error
    except docker.errors.InvalidVersion as error:
        raise faults.too_old(where) from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise faults.late(where, "answer", timeout) from error
    except (
        requests.RequestException,
        docker.errors.DockerException,
        urllib3.exceptions.HTTPError,
        OSError,
        ValueError,  # what it said is no JSON
        KeyError,
        TypeError,
    ) as error:
        raise faults.unreachable(where, _root(error)) from error


def _refusal(where: str, answer: requests.Response, said: str) -> errors.TargetError:
    with contextlib.suppress(ValueError, AttributeError):
        said = str(json.loads(said).get("message", said))
    request = answer.request
    path = urllib.parse.urlsplit(request.url or "").path
    # Without the version, as a proxy's rules have it.
    _, _, path = (
        path.removeprefix("/v").partition("/") if path.startswith("/v1.") else ("", "", path)
    )
    return faults.refused(where, answer.status_code, said, asked=f"{request.method} /{path}")


def _root(error: BaseException) -> BaseException:
    """Find the system's own error in those that the libraries have wrapped around it."""
    seen: list[BaseException] = [error]
    for each in seen:
        if isinstance(each, ssl.SSLError) or (
            isinstance(each, OSError)
            and not isinstance(each, requests.RequestException)
            and (each.errno or isinstance(each, ConnectionError | TimeoutError))
        ):
            return each
        inner = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        seen += [e for e in inner if isinstance(e, BaseException) and e not in seen]
        if len(seen) > 50:
            break
    return error


def _bounded(answer: requests.Response, limit: int) -> bytes:
    body = bytearray()
    for piece in answer.iter_content(_CHUNK):
        body += piece
        if len(body) >= limit:
            break
    return bytes(body[:limit])
