from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import quoting
from confsync.domain.rendered import Language

ALL = list(Language)


@pytest.mark.parametrize("language", ALL)
@pytest.mark.parametrize(
    "text", ["", "a\nb", "a\rb", "a\0b", "a\tb", "\x1b[31m", "a\x7f", "\x85", "\ud800", "x" * 1025]
)
def test_no_language_takes_line_breaks_control_characters_or_nonsense(
    language: Any, text: Any
) -> None:
    with pytest.raises(quoting.Unquotable):
        quoting.quote(text, language)
    with pytest.raises(quoting.Unquotable):
        quoting.quote(text, language, trusted=True)


CONTROL, SPACE = (
    "has a control character",
    "has a space or a character that cannot be printed",
)


@pytest.mark.parametrize(
    ("language", "text", "why"),
    [
        *((each, "\ud800", "is not valid Unicode") for each in ALL),
        *(
            (each, "", "is empty, and an empty word ends HAProxy's reading of a line")
            for each in ALL
        ),
        *((each, "é" * 513, "is longer than 1024 bytes") for each in ALL),
        *((each, "a\nb", "has a line break") for each in ALL),
        *((each, "a\rb", "has a line break") for each in ALL),
        *((each, text, CONTROL) for each in ALL for text in ("\x1f", "\x7f", "\x9f")),
        (Language.HAPROXY, "-f", "begins with -, which HAProxy may read as a flag"),
        (Language.HAPROXY, "%", "has a %, which HAProxy may evaluate as a log format"),
        (Language.MAP, "#", "begins with #, which makes the line of a map a comment"),
        (Language.MAP, "a b", SPACE),
        (Language.PLAIN, "a\xa0b", SPACE),
        (Language.NGINX, "a;b$", "has a $, which nginx may take for its own syntax"),
        (Language.NGINX, "a\xa0b", "has a character that cannot be printed"),
    ],
)
def test_a_refusal_says_why(language: Any, text: Any, why: Any) -> None:
    with pytest.raises(quoting.Unquotable) as error:
        quoting.quote(text, language)
    assert str(error.value) == why


@pytest.mark.parametrize("language", ALL)
def test_the_longest_text(language: Any) -> None:
    assert quoting.quote("é" * 512, language)


@pytest.mark.parametrize("language", ALL)
def test_a_plain_word_needs_nothing(language: Any) -> None:
    quoted = quoting.quote("a.b/c:1@x=y,z-", language)
    assert quoted.strip('"') == "a.b/c:1@x=y,z-"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", r"a\x20b"),
        ('"', r"\x22"),
        ("'s", r"\x27s"),
        ("a\\b", r"a\x5cb"),
        ("#x", r"\x23x"),
        ("$HOME", r"\x24HOME"),
        ("{}", r"\x7b\x7d"),
        ("é", r"\xc3\xa9"),
        ("\xa0", r"\xc2\xa0"),
        ("!x", r"\x21x"),
    ],
)
def test_haproxy_reads_odd_bytes_as_hex(text: Any, quoted: Any) -> None:
    assert quoting.quote(text, Language.HAPROXY) == quoted


@pytest.mark.parametrize("text", ["%[src]", "100%", "-f", "-"])
def test_haproxy_is_not_given_log_formats_and_flags(text: Any) -> None:
    with pytest.raises(quoting.Unquotable):
        quoting.quote(text, Language.HAPROXY)


def test_the_operators_own_text_may_have_a_percent_sign() -> None:
    assert quoting.quote("p%w", Language.HAPROXY, trusted=True) == r"p\x25w"


def test_a_map_takes_what_stays_one_word() -> None:
    assert quoting.quote('a"b%$é', Language.MAP) == 'a"b%$é'
    for text in ("a b", "#a", "a\u2028b", "a\xa0b"):
        with pytest.raises(quoting.Unquotable):
            quoting.quote(text, Language.MAP)


def test_nginx_gets_double_quotes() -> None:
    assert quoting.quote('X "b" \\', Language.NGINX) == '"X \\"b\\" \\\\"'
    for text in ("$host", "a;b", "{", "}", "a\u2028b"):
        with pytest.raises(quoting.Unquotable):
            quoting.quote(text, Language.NGINX)


def test_plain_is_one_printable_word() -> None:
    assert quoting.quote("#a%$", Language.PLAIN) == "#a%$"
    for text in ("a b", "a\u3000b", "\u200b"):
        with pytest.raises(quoting.Unquotable):
            quoting.quote(text, Language.PLAIN)


@given(st.text(max_size=40), st.sampled_from(ALL))
def test_what_is_quoted_is_one_word_on_one_line(text: Any, language: Any) -> None:
    try:
        quoted = quoting.quote(text, language)
    except quoting.Unquotable:
        return
    assert len(quoted.splitlines()) == 1
    if language is not Language.NGINX:
        assert quoted.split() == [quoted]


@given(st.text(max_size=40))
def test_haproxys_encoding_can_be_read_back(text: Any) -> None:
    try:
        quoted = quoting.quote(text, Language.HAPROXY)
    except quoting.Unquotable:
        return
    assert quoted.isascii()
    assert quoted.encode().decode("unicode_escape").encode("latin-1").decode() == text
