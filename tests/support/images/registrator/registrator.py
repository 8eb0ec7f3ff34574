"""What registrator does with `-internal`: Docker's containers to Consul's agent API.

For each running container and each port that it exposes: the id HOST:NAME:PORT, the name and tags of
SERVICE_NAME and SERVICE_TAGS, every other SERVICE_* as metadata in lower case, the container's own
address. None for SERVICE_IGNORE. A container that ends is deregistered. No checks, no UDP.
"""

import argparse
import http.client
import json
import socket
import time
import urllib.parse
from typing import Any

DOCKER = "/tmp/docker.sock"


class Docker(http.client.HTTPConnection):
    def __init__(self) -> None:
        super().__init__("docker")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(DOCKER)


def ask(path: str) -> Any:
    connection = Docker()
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def services(container: dict[str, Any]) -> list[dict[str, Any]]:
    config, network = container["Config"], container["NetworkSettings"]
    words = dict(config.get("Labels") or {})
    words.update(entry.split("=", 1) for entry in config.get("Env") or () if "=" in entry)
    meta = {k[8:].lower(): v for k, v in words.items() if k.startswith("SERVICE_")}
    if meta.pop("ignore", ""):
        return []
    image = config["Image"].rpartition("/")[2].partition(":")[0]
    name, tags = meta.pop("name", image), meta.pop("tags", "")
    ports = sorted({*(config.get("ExposedPorts") or ()), *(network.get("Ports") or ())})
    ports = [port.partition("/")[0] for port in ports if port.endswith("/tcp")]
    addresses = [network["IPAddress"], *(n["IPAddress"] for n in network["Networks"].values())]
    return [
        {
            "ID": f"{socket.gethostname()}:{container['Name'][1:]}:{port}",
            "Name": name if len(ports) == 1 else f"{name}-{port}",
            "Tags": [tag for tag in tags.split(",") if tag][::-1],
            "Port": int(port),
            "Address": next(filter(None, addresses), ""),
            "Meta": meta,
            "Check": None,
        }
        for port in ports
    ]


class Bridge:
    def __init__(self, consul: str) -> None:
        self.consul = consul
        self.known: dict[str, list[str]] = {}

    def put(self, path: str, body: object = None) -> bool:
        connection = http.client.HTTPConnection(self.consul, timeout=5)
        try:
            connection.request("PUT", path, json.dumps(body) if body else None)
            return connection.getresponse().status == 200
        except OSError as error:
            print(f"{path}: {error}")
            return False
        finally:
            connection.close()

    def add(self, ident: str) -> None:
        container = ask(f"/containers/{ident}/json")
        if not container.get("State", {}).get("Running"):
            return
        for service in services(container):
            if self.put("/v1/agent/service/register", service):
                self.known.setdefault(ident, []).append(service["ID"])
                print(f"added: {ident[:12]} {service['ID']}")

    def remove(self, ident: str) -> None:
        for service in self.known.pop(ident, ()):
            self.put(f"/v1/agent/service/deregister/{urllib.parse.quote(service, safe='')}")
            print(f"removed: {ident[:12]} {service}")


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("-internal", "-cleanup"):
        parser.add_argument(flag, action="store_true")
    for option in ("-resync", "-retry-attempts", "-retry-interval"):
        parser.add_argument(option, type=int)
    parser.add_argument("uri")
    bridge = Bridge(urllib.parse.urlsplit(parser.parse_args().uri).netloc)
    while not ready(bridge.consul):
        time.sleep(0.2)
    events = Docker()
    wanted = json.dumps({"type": ["container"], "event": ["start", "die"]})
    events.request("GET", f"/events?filters={urllib.parse.quote(wanted)}")
    stream = events.getresponse()
    for container in ask("/containers/json"):
        bridge.add(container["Id"])
    for line in iter(stream.readline, b""):
        event = json.loads(line)
        (bridge.add if event["Action"] == "start" else bridge.remove)(event["Actor"]["ID"])


def ready(consul: str) -> bool:
    try:
        connection = http.client.HTTPConnection(consul, timeout=5)
        connection.request("GET", "/v1/status/leader")
        return bool(json.loads(connection.getresponse().read()))
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    main()
