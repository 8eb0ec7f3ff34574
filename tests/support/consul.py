"""A real Consul agent for a test: started, driven and hurt.

Its state is in memory (`-dev`), so a restart comes back empty and with lower indexes: what an
operator's lost server looks like from outside. Calls block for some milliseconds; a test that runs
the agent in its own event loop wraps the slow ones (start, stop) in `asyncio.to_thread`.
"""

import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from tests.support import machine, tls
from tests.support.process import Process, wait_until


class ConsulError(Exception):
    """Consul answered a helper's request with an error status."""

    def __init__(self, status: int, method: str, path: str, text: str) -> None:
        super().__init__(f"{status} to {method} {path}: {text}")
        self.status = status


class Consul:
    """One `consul agent -dev`, on ports that stay the same over restarts.

    `acl` turns ACLs on with default deny, and bootstraps `token`, which every helper then uses.
    `unix_socket` and `authority` (HTTPS at `https_port`) come beside plain HTTP, which stays open
    for the helpers. `config` is merged over the agent's configuration.
    """

    def __init__(
        self,
        directory: Path,
        *,
        acl: bool = False,
        unix_socket: Path | None = None,
        authority: tls.Authority | None = None,
        verify_client: bool = False,
        max_conns_per_client: int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._acl = acl
        self._process: Process | None = None
        self.token: str | None = None
        self.unix_socket = unix_socket
        ports = machine.free_ports(5)
        self.port, self.https_port = ports[0], ports[1]
        self.address = f"127.0.0.1:{self.port}"
        settings: dict[str, Any] = {
            "node_name": "testbed",
            "addresses": {"http": "127.0.0.1"},
            "ports": {
                "http": ports[0],
                "https": ports[1] if authority else -1,
                "server": ports[2],
                "serf_lan": ports[3],
                "serf_wan": ports[4],
                "dns": -1,
                "grpc": -1,
            },
            "disable_update_check": True,
        }
        if unix_socket is not None:
            settings["addresses"]["http"] = f"127.0.0.1 unix://{unix_socket}"
        if authority is not None:
            server = authority.sign("consul-server")
            settings |= {
                "ca_file": str(authority.cert),
                "cert_file": str(server.cert),
                "key_file": str(server.key),
                "verify_incoming_https": verify_client,
            }
        if acl:
            settings["acl"] = {"enabled": True, "default_policy": "deny"}
        if max_conns_per_client is not None:
            settings["limits"] = {"http_max_conns_per_client": max_conns_per_client}
        settings |= config or {}
        self._settings = directory / "consul.json"
        self._settings.write_text(json.dumps(settings, indent=1))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Its life

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it empty, and wait until it has a leader and has registered itself."""
        argv = [machine.consul_binary(), "agent", "-dev", "-bind=127.0.0.1"]
        self._process = Process(
            [*argv, f"-config-file={self._settings}"], log=self._directory / "consul.log"
        )
        self.token = None
        if wait:
            self.wait_ready()

    def wait_ready(self, *, timeout: float = 60.0) -> None:
        """Wait for a leader; with ACLs also bootstrap them."""
        wait_until(self._has_leader, f"Consul's leader ({self.logs()[-800:]})", timeout=timeout)
        if self._acl and self.token is None:
            found = wait_until(self._bootstrap, "Consul's ACL bootstrap", timeout=timeout)
            self.token = found
            self.raw("PUT", "/v1/agent/token/agent", {"Token": found})
        # Until the agent has synced its own node, a health query may answer with half a catalog.
        wait_until(lambda: self.raw("GET", "/v1/catalog/nodes"), "Consul's own node")

    def stop(self) -> None:
        """End it with SIGTERM; its ports refuse from then on."""
        if self._process is not None:
            self._process.stop()

    def kill9(self) -> None:
        if self._process is not None:
            self._process.kill9()

    def restart(self) -> None:
        """Come back empty on the same ports; a new ACL token, if there are ACLs."""
        self.kill9()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections are accepted, nothing answers."""
        assert self._process is not None, "not started"
        self._process.pause()

    def resume(self) -> None:
        assert self._process is not None, "not started"
        self._process.resume()

    def logs(self) -> str:
        log = self._directory / "consul.log"
        return log.read_text(errors="replace") if log.exists() else ""

    # Talking to it

    def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        timeout: float = 10.0,
    ) -> Any:
        """Return the decoded answer; `body` is sent as JSON, bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent_token = token if token is not None else self.token
        headers = {} if sent_token is None else {"X-Consul-Token": sent_token}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else data, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        if answer.status >= 400:
            raise ConsulError(answer.status, method, path, text)
        try:
            return json.loads(text)
        except ValueError:
            return text

    def register(
        self,
        name: str,
        *,
        id: str | None = None,  # noqa: A002 - Consul's own word
        address: str = "127.0.0.1",
        port: int = 0,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        checks: Sequence[Mapping[str, Any]] = (),
        weights: Mapping[str, int] | None = None,
        **extra: Any,
    ) -> str:
        """Register a service with the agent, or change it; return its id. `extra` goes in as is.

        A check as `{"TTL": "60s", "Status": "passing"}` has the id `service:ID` when it is the only
        one; see `check`.
        """
        service_id = id if id is not None else f"{name}-{port}"
        definition: dict[str, Any] = {
            "ID": service_id,
            "Name": name,
            "Address": address,
            "Port": port,
            "Tags": list(tags),
            "Meta": dict(meta or {}),
            **extra,
        }
        if checks:
            definition["Checks"] = [dict(check) for check in checks]
        if weights is not None:
            definition["Weights"] = dict(weights)
        # The query parameter drops the checks of an earlier registration that are no longer listed.
        self.raw("PUT", "/v1/agent/service/register?replace-existing-checks=true", definition)
        return service_id

    def deregister(self, service_id: str) -> None:
        self.raw("PUT", f"/v1/agent/service/deregister/{_quoted(service_id)}")

    def check(self, check_id: str, status: Literal["pass", "warn", "fail"], note: str = "") -> None:
        """Set a TTL check: `check("service:web-1", "fail")`."""
        path = f"/v1/agent/check/{status}/{_quoted(check_id)}?note={_quoted(note)}"
        self.raw("PUT", path)

    def maintenance(
        self, service_id: str | None, *, enable: bool = True, reason: str = "test"
    ) -> None:
        """Switch maintenance of one service, or of the whole node when the id is None."""
        path = "/v1/agent/maintenance"
        if service_id is not None:
            path = f"/v1/agent/service/maintenance/{_quoted(service_id)}"
        self.raw("PUT", f"{path}?enable={str(enable).lower()}&reason={_quoted(reason)}")

    def catalog_register(
        self,
        node: str,
        *,
        address: str = "127.0.0.1",
        service: Mapping[str, Any] | None = None,
        checks: Sequence[Mapping[str, Any]] = (),
        **extra: Any,
    ) -> None:
        """Write a node, and maybe a service of it, straight to the catalog, as if of another agent.

        `service` has Consul's keys: `{"ID": "web-1", "Service": "web", "Port": 80}`.
        """
        body: dict[str, Any] = {"Node": node, "Address": address, **extra}
        if service is not None:
            body["Service"] = dict(service)
        if checks:
            body["Checks"] = [{"Node": node, **check} for check in checks]
        self.raw("PUT", "/v1/catalog/register", body)

    def catalog_deregister(self, node: str, service_id: str | None = None) -> None:
        """Remove a service of a node, or the node with all it has."""
        body = {"Node": node} | ({} if service_id is None else {"ServiceID": service_id})
        self.raw("PUT", "/v1/catalog/deregister", body)

    def create_token(self, rules: str, *, name: str = "test-policy") -> str:
        """Create a policy with these rules (HCL or JSON) and a token of it; return the secret."""
        self.raw("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        return str(self.raw("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})["SecretID"])

    def passing(self, name: str) -> list[str]:
        """Return the ids of the instances whose checks all pass, sorted."""
        found = self.raw("GET", f"/v1/health/service/{_quoted(name)}?passing=true")
        return sorted(entry["Service"]["ID"] for entry in found)

    def _has_leader(self) -> bool:
        assert self._process is not None
        if not self._process.running:
            raise RuntimeError(f"consul ended at once:\n{self.logs()[-2000:]}")
        try:
            return bool(self.raw("GET", "/v1/status/leader"))
        except (OSError, ConsulError, http.client.HTTPException):
            return False

    def _bootstrap(self) -> str | None:
        try:
            return str(self.raw("PUT", "/v1/acl/bootstrap")["SecretID"])
        except ConsulError:  # the leader is elected, its ACL system is not up yet
            return None


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
