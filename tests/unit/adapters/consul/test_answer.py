import pytest

from confsync.adapters.consul.answer import Answer
from confsync.errors import Unavailable

DEEP = b"[" * 100_000


def answer(body: bytes) -> Answer:
    return Answer(body=body, asked="catalog/services")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"null", "null where a list"),
        (b"{}", "an object where a list"),
        (b'"x"', "a single value where a list"),
        (b"\xff\xfe", "invalid UTF-8"),
        ("[]".encode("utf-16"), "invalid UTF-8"),
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"[1", "no JSON"),
        (b"[" + b"1" * 5000 + b"]", "no JSON"),
        (DEEP, "depth"),
    ],
)
def test_body_that_is_no_list(body: bytes, words: str) -> None:
    with pytest.raises(Unavailable, match=words) as caught:
        answer(body).rows()
    assert "catalog/services" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", DEEP])
def test_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(Unavailable):
        answer(body).table()


def test_body_as_asked() -> None:
    assert answer(b'[{"a": 1}]').rows() == [{"a": 1}]
    assert answer(b'{"a": []}').table() == {"a": []}


def test_digest_names_the_content() -> None:
    assert answer(b"[]").digest == answer(b"[]").digest
    assert answer(b"[]").digest != answer(b"[ ]").digest
