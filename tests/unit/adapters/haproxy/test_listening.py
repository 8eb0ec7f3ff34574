"""Where HAProxy could not listen, before it is asked to."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync.adapters.haproxy import listening


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def config(*binds: str) -> str:
    return "frontend f\n" + "".join(f"    bind {b}\n" for b in binds)


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "haproxy.cfg"
    path.write_text(config(":1"))
    return path


def test_a_new_address_in_use_is_refused_with_its_name(main: Path, taken: int) -> None:
    refused = listening.refusal(str(main), config(":1", f"127.0.0.1:{taken}"))
    assert f"127.0.0.1:{taken} is in use by another process" in str(refused)
    assert f"*:{taken}" in str(listening.refusal(str(main), config(f":{taken}")))


def test_an_address_of_no_interface_is_refused(main: Path) -> None:
    refused = listening.refusal(str(main), config("192.0.2.1:8080"))
    assert "192.0.2.1:8080 is not of this host" in str(refused)


def test_what_the_live_file_binds_already_is_haproxys_own(main: Path, taken: int) -> None:
    main.write_text(config(f"127.0.0.1:{taken}"))
    assert listening.refusal(str(main), config(f"127.0.0.1:{taken}", "127.0.0.1:0")) is None


def test_a_port_of_the_live_file_on_another_address_may_be_haproxys_own(
    main: Path, taken: int
) -> None:
    main.write_text(config(f":{taken}"))
    assert listening.refusal(str(main), config(f"127.0.0.1:{taken}")) is None
    refused = listening.refusal(str(main), config(f"192.0.2.1:{taken}"))
    assert "not of this host" in str(refused)


def test_what_haproxy_may_not_bind_or_binds_elsewhere_is_not_tried(main: Path, taken: int) -> None:
    for words in (
        f".if defined(X)\n bind 127.0.0.1:{taken}\n.endif",
        "bind 192.0.2.1:8080 transparent",
        f"bind 127.0.0.1:{taken} namespace other",
    ):
        assert listening.refusal(str(main), f"frontend f\n{words}\n") is None


def test_what_is_free_or_cannot_be_told_passes(main: Path) -> None:
    for word in ("127.0.0.1:0", "[::1]:0", "unix@/run/x", "${VIP}:80", "web.example:80", ":70000"):
        assert listening.refusal(str(main), config(word)) is None
    main.unlink()
    assert listening.refusal(str(main), config("127.0.0.1:0")) is None


def test_the_probe_gives_the_address_back(main: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert listening.refusal(str(main), config(f"127.0.0.1:{port}")) is None
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_network_namespaces() -> None:
    assert listening.same_network(os.getpid())
    assert not listening.same_network(2**22 + 1)
