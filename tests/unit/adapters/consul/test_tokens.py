import os
from pathlib import Path

import pytest

from confsync.adapters.consul.tokens import Token
from confsync.errors import RegistryDenied

SECRET = "b1gs-3cr3t"
ENVIRONMENT = {"CONSUL_HTTP_TOKEN": "of-the-environment"}


def test_without_any_there_is_none() -> None:
    token = Token("", {})
    assert (token.read(), token.look()) == ("", 0)


def test_environment_is_used_without_a_file() -> None:
    assert Token("", {"CONSUL_HTTP_TOKEN": f" {SECRET}\n"}).read() == SECRET


def test_file_beats_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    assert Token(str(path), ENVIRONMENT).read() == SECRET


def test_changed_file_is_read_anew_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = Token(str(path), {})
    assert (token.read(), token.look()) == ("one", 1)
    assert (token.read(), token.look()) == ("one", 1)
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert (token.look(), token.read()) == (2, "two")


def test_replaced_file_is_read_anew_though_size_and_time_are_equal(tmp_path: Path) -> None:
    path, fresh = tmp_path / "token", tmp_path / "fresh"
    path.write_text("one")
    fresh.write_text("two")
    for each in (path, fresh):
        os.utime(each, ns=(1, 1))
    token = Token(str(path), {})
    assert token.read() == "one"
    fresh.replace(path)
    assert token.read() == "two"


def test_touched_file_is_no_new_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = Token(str(path), {})
    token.read()
    os.utime(path, ns=(5, 5))
    assert (token.read(), token.look()) == ("one", 1)


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"a\nb", b"\xff\xfe", b"a\x00b"])
@pytest.mark.parametrize("before", [b"", b"good"])
def test_file_without_a_token_is_an_error_and_never_no_token(
    tmp_path: Path, content: bytes, before: bytes
) -> None:
    path = tmp_path / "token"
    token = Token(str(path), ENVIRONMENT)
    if before:
        path.write_bytes(before)
        assert token.read() == "good"
    path.write_bytes(content)
    os.utime(path, ns=(7, 7))
    with pytest.raises(RegistryDenied, match=str(path)) as caught:
        token.read()
    assert "words" not in str(caught.value)
    assert token.look() == bool(before)
    path.write_bytes(b"better")
    assert token.read() == "better"


def test_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    token = Token(str(tmp_path / "absent"), ENVIRONMENT)
    with pytest.raises(RegistryDenied, match="absent cannot be read: No such file"):
        token.read()


def test_senseless_environment_is_an_error_without_the_secret() -> None:
    token = Token("", {"CONSUL_HTTP_TOKEN": f"{SECRET}\nX-Evil: 1"})
    with pytest.raises(RegistryDenied, match="CONSUL_HTTP_TOKEN") as caught:
        token.read()
    assert SECRET not in str(caught.value)
