"""The SDK against an engine that misbehaves; against a real one: tests/integration/docker."""

import gc
import threading
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.docker import faults
from confsync.adapters.docker.api import Api
from tests.unit.adapters.docker.fake import Answer, http_engine


def answering(answer: Answer | None, path: Path) -> Api:
    with http_engine(path, lambda *_: answer):
        api = Api({"DOCKER_HOST": f"unix://{path}"}, 5)
        try:
            api.inspect("lb")
        finally:
            api.close()
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((403, b"<html>403</html>"), errors.TargetDenied, "forbids GET /containers/lb/json"),
        ((404, {"message": "No such container: lb"}), faults.Refusal, "No such container: lb"),
        ((500, {"message": "disk on\nfire"}), faults.Refusal, "refuses: disk on fire"),
        ((502, b""), faults.Refusal, "status 502 at GET /containers/lb/json"),
        ((200, b"<html>hello</html>"), faults.EngineGone, "no Docker engine"),
        (None, faults.EngineGone, "closed the connection"),
    ],
)
def test_bad_answers(
    tmp_short: Path, answer: Answer | None, kind: type[errors.TargetError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        answering(answer, tmp_short / "d.sock")
    assert said in caught.value.what


def test_an_engine_that_says_nothing_is_given_up(tmp_short: Path) -> None:
    path, over = tmp_short / "d.sock", threading.Event()

    def silent(*_: str) -> Answer:
        over.wait(5)
        return 200, {}

    with http_engine(path, silent):
        api = Api({"DOCKER_HOST": f"unix://{path}"}, 0.2)
        with pytest.raises(faults.EngineGone, match=r"did not answer within 0\.2 s"):
            api.inspect("lb")
        over.set()
        api.close()


def test_no_engine_is_said_so_at_once(tmp_short: Path) -> None:
    with pytest.raises(faults.EngineGone, match="no such socket"):
        Api({"DOCKER_HOST": f"unix://{tmp_short / 'none'}"}, 5)
    (tmp_short / "file").touch()
    with pytest.raises(faults.EngineGone, match="nobody listens"):
        Api({"DOCKER_HOST": f"unix://{tmp_short / 'file'}"}, 5)


def test_an_engine_that_went_away_leaves_no_socket_behind(tmp_short: Path) -> None:
    path = tmp_short / "d.sock"
    with http_engine(path, lambda *_: (200, [])):
        api = Api({"DOCKER_HOST": f"unix://{path}"}, 5)
    with pytest.raises(faults.EngineGone, match="nobody listens"):
        api.list()
    gc.collect()  # a socket that nobody closed would be an error here
    api.close()


def test_a_forbidden_path_is_a_denial_for_streams_too(tmp_short: Path) -> None:
    path = tmp_short / "d.sock"
    with http_engine(path, lambda *_: (403, b"no")):
        api = Api({"DOCKER_HOST": f"unix://{path}"}, 5)
        with pytest.raises(errors.TargetDenied, match="forbids GET /containers/lb/archive: no"):
            api.get("lb", "/etc/passwd", 100)
        with pytest.raises(errors.TargetDenied, match="forbids GET /containers/lb/logs: no"):
            api.logs("lb", 0, 10, 100)
        api.close()


def test_what_is_streamed_is_bounded(tmp_short: Path) -> None:
    path = tmp_short / "d.sock"
    with http_engine(path, lambda *_: (200, b"x" * 1_000_000)):
        api = Api({"DOCKER_HOST": f"unix://{path}"}, 5)
        assert len(api.logs("lb", 0, 10, 1000)) == 1000
        api.close()


def test_the_users_own_settings_for_other_servers_are_not_used(
    tmp_short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_short / "d.sock"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_short / "none"))
    (tmp_short / "netrc").write_text("machine localhost login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_short / "netrc"))
    with http_engine(path, lambda *_: (200, [])):
        api = Api({"DOCKER_HOST": f"unix://{path}"}, 5)
        assert api.list() == []
        assert api._client.trust_env is False
        api.close()
