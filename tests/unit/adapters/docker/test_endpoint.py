from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker.endpoint import Endpoint


@pytest.mark.parametrize(
    ("host", "socket"),
    [
        ("", "/var/run/docker.sock"),
        ("unix://", "/var/run/docker.sock"),
        ("unix:///run/d.sock", "/run/d.sock"),
        ("unix://run/d.sock", "/run/d.sock"),
        (" unix:///run/d.sock ", "/run/d.sock"),
    ],
)
def test_unix_sockets(host: str, socket: str) -> None:
    assert Endpoint.parse({"DOCKER_HOST": host}) == Endpoint(socket=socket)


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("tcp://10.0.0.1:2375", "10.0.0.1:2375"),
        ("10.0.0.1:2375", "10.0.0.1:2375"),
        ("http://engine:2375/", "engine:2375"),
        ("tcp://[::1]:2375", "[::1]:2375"),
    ],
)
def test_plain_tcp(host: str, where: str) -> None:
    found = Endpoint.parse({"DOCKER_HOST": host})
    assert (found.where, found.url, found.tls) == (where, f"tcp://{where}", None)


@pytest.mark.parametrize(
    "host",
    [
        "ssh://me@host",
        "npipe:////./pipe/docker",
        "fd://",
        "tcp://host",
        "tcp://:1",
        "tcp://h:x",
        "tcp://h:1/prefix",
        "tcp://u@h:1",
    ],
)
def test_what_is_not_spoken_is_refused_with_what_is(host: str) -> None:
    with pytest.raises(errors.TargetUnavailable, match="DOCKER_HOST") as caught:
        Endpoint.parse({"DOCKER_HOST": host})
    assert "unix:///PATH" in caught.value.remedy


def files(folder: Path) -> dict[str, str]:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).write_text("x")
    return {"DOCKER_HOST": "tcp://h:2376", "DOCKER_CERT_PATH": str(folder)}


def test_tls_is_verified_when_asked(tmp_path: Path) -> None:
    environment = files(tmp_path)
    loose = Endpoint.parse(environment).tls
    strict = Endpoint.parse({**environment, "DOCKER_TLS_VERIFY": "1"}).tls
    off = Endpoint.parse({**environment, "DOCKER_TLS_VERIFY": ""}).tls
    assert loose is not None
    assert not loose.verify
    assert loose.ca == str(tmp_path / "ca.pem")
    assert strict is not None
    assert strict.verify
    assert off is not None
    assert not off.verify


def test_https_is_always_verified(tmp_path: Path) -> None:
    found = Endpoint.parse({**files(tmp_path), "DOCKER_HOST": "https://h:2376"}).tls
    assert found is not None
    assert found.verify


@pytest.mark.parametrize("missing", ["ca.pem", "cert.pem", "key.pem"])
def test_a_missing_file_of_tls_is_named(tmp_path: Path, missing: str) -> None:
    environment = {**files(tmp_path), "DOCKER_TLS_VERIFY": "1"}
    (tmp_path / missing).unlink()
    with pytest.raises(errors.TargetUnavailable, match=missing) as caught:
        Endpoint.parse(environment)
    assert "DOCKER_CERT_PATH" in caught.value.remedy


def test_tls_settings_do_not_matter_for_a_unix_socket() -> None:
    assert Endpoint.parse({"DOCKER_TLS_VERIFY": "1"}) == Endpoint(socket="/var/run/docker.sock")
