import errno
import ssl

import pytest

from confsync import errors
from confsync.adapters.docker import faults, words
from confsync.adapters.docker.container import Container, Mount, NoContainer
from tests.unit.adapters.docker.fake import refusal

LB = Container(
    id="1",
    name="lb",
    mounts=(
        Mount(kind="bind", source="/a", destination="/etc/haproxy/haproxy.cfg"),
        Mount(kind="volume", source="/b", destination="/ro", writable=False),
        Mount(kind="tmpfs", source="", destination="/run"),
    ),
)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/haproxy/haproxy.cfg", "single file"),
        ("/ro/x", "read-only"),
        ("/run/x", "tmpfs"),
    ],
)
def test_what_could_not_be_put_is_refused_before(path: str, said: str) -> None:
    with pytest.raises(errors.WriteError, match=said) as caught:
        words.writable(LB, path)
    assert caught.value.remedy


def test_other_paths_may_be_put() -> None:
    words.writable(LB, "/etc/haproxy/haproxy.cfg.d/x")
    words.writable(LB, "/etc/haproxy/maps")


@pytest.mark.parametrize(
    ("status", "said", "kind", "found"),
    [
        (500, "container rootfs is marked read-only", errors.WriteError, "read-only"),
        (404, "Could not find the file /x in container 1", errors.WriteError, "no folder /x"),
        (500, "extraction point is not a directory", errors.WriteError, "no folder /x"),
        (404, "No such container: 1", NoContainer, "gone"),
        (500, "no space left on device", errors.WriteError, "no space left"),
    ],
)
def test_a_refused_put_is_explained(status: int, said: str, kind: type, found: str) -> None:
    error = words.unwritten(LB, "/x", refusal(status, said))
    assert isinstance(error, kind)
    assert found in str(error)


def test_an_environment_is_exact() -> None:
    assert words.exactly({"A": "1"}, {"PATH": "/bin", "B": "2"}) == [
        "A=1",
        "PATH=/bin",
        "B",
        "HOME",
        "HOSTNAME",
        "TERM",
    ]
    given = words.exactly({"PATH": "/x", "HOME": "/h"}, {"PATH": "/bin"})
    assert given == ["PATH=/x", "HOME=/h", "HOSTNAME", "TERM"]


@pytest.mark.parametrize(
    ("cause", "kind", "said"),
    [
        (PermissionError(errno.EACCES, "x"), errors.TargetDenied, "may not use"),
        (FileNotFoundError(errno.ENOENT, "x"), faults.EngineGone, "no such socket"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), faults.EngineGone, "nobody listens"),
        (ConnectionResetError(), faults.EngineGone, "closed the connection"),
        (EOFError(), faults.EngineGone, "closed the connection"),
        (TimeoutError(), faults.EngineGone, "does not answer"),
        (OSError(errno.EHOSTUNREACH, "x"), faults.EngineGone, "No route to host"),
        (OSError("unknown\nname"), faults.EngineGone, "unknown name"),
        (ssl.SSLError(1, "x"), faults.EngineGone, "TLS"),
        (ValueError("x"), faults.EngineGone, "no Docker engine"),
    ],
)
def test_connections_that_fail(cause: Exception, kind: type, said: str) -> None:
    error = faults.unreachable("/run/d.sock", cause)
    assert isinstance(error, kind)
    assert said in error.what
    assert "/run/d.sock" in error.what
    assert "\n" not in str(error)


def test_who_is_denied_learns_what_a_proxy_must_allow() -> None:
    error = faults.refused("proxy:2375", 403, "Forbidden", asked="GET /events")
    assert isinstance(error, errors.TargetDenied)
    assert "GET /events" in error.what
    assert "/exec/ID/start" in error.remedy


def test_a_refusal_for_a_read_only_file_system_is_no_denial() -> None:
    error = faults.refused("x", 403, "container rootfs is marked read-only", asked="PUT /")
    assert isinstance(error, faults.Refusal)


def test_the_engines_words_come_on_one_bounded_printable_line() -> None:
    error = faults.refused("x", 500, "a\nb\x1b[31m" + "c" * 1000, asked="GET /")
    assert error.what.startswith("the Docker engine refuses: a b\\x1b[31mccc")
    assert len(error.what) < 400


def test_an_answer_without_words_has_its_status() -> None:
    assert "status 502 at GET /x" in faults.refused("x", 502, "", asked="GET /x").what
