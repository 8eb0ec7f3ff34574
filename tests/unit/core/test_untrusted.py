import copy
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import untrusted
from confsync.core.untrusted import PLACEHOLDER, Missing, Opaque, Origin, Refusals

ASKED: list[Callable[[Any], object]] = [
    str, repr, format, len, int, float, list, abs, round, operator.index, operator.neg, operator.pos,
    operator.invert, lambda x: x[0], lambda x: x[1:], lambda x: x + "a", lambda x: "a" + x,
    lambda x: x * 2, lambda x: 2 * x, lambda x: x % 1, lambda x: "%s" % x,  # noqa: UP031
    lambda x: x - 1,
    lambda x: 1 - x, lambda x: x / 1, lambda x: 1 / x, lambda x: x // 1, lambda x: 1 // x,
    lambda x: x**2, lambda x: 2**x, lambda x: x(), lambda x: f"{x:>9}", lambda x: x.__html__(),
]  # fmt: skip


def opaque(text: str) -> tuple[Opaque, Refusals]:
    refusals = Refusals()
    return Opaque(text, Origin(refusals, "web", "10.0.0.1:80", "tag")), refusals


@pytest.mark.parametrize("ask", ASKED)
def test_whatever_would_show_the_text_is_a_refusal(ask: Callable[[Any], object]) -> None:
    hidden, refusals = opaque("a secret\nline")
    missing = Missing(Origin(refusals, "web", "10.0.0.2:80", "meta k"))
    assert "secret" not in str(ask(hidden))
    assert list(refusals.found) == [("web", "10.0.0.1:80")]
    ask(missing)
    found = refusals.found["web", "10.0.0.2:80"]
    assert (found.what, found.missing) == ("its meta k is missing", True)


@given(st.text(), st.text())
def test_comparisons_answer_as_the_text_would(one: str, two: str) -> None:
    a, refusals = opaque(one)
    b, _ = opaque(two)
    for compare in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        assert compare(a, two) == compare(one, two)
        assert compare(one, b) == compare(one, two)
        assert compare(a, b) == compare(one, two)
    assert (hash(a) == hash(one), bool(a)) == (True, bool(one))
    assert (two in a, b in a, 3 in a) == (two in one, two in one, False)
    assert a.startswith(two) == a.startswith(b) == one.startswith(two)
    assert a.endswith((two, "x")) == one.endswith((two, "x"))
    assert refusals.found == {}


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_a_text_has_no_order_with_a_number(compare: Callable[[Any, Any], bool]) -> None:
    with pytest.raises(TypeError):
        compare(opaque("a b")[0], 3)
    assert opaque("a b")[0] != 3
    assert opaque("3")[0] != 3


def test_a_refused_number_is_zero() -> None:
    assert [ask(opaque("a b")[0]) for ask in (len, int, float, operator.index)] == [0, 0, 0, 0]


def test_a_missing_key_compares_with_nothing() -> None:
    for ask in (
        lambda x: x == "a",
        lambda x: x != "a",
        lambda x: x < "a",
        bool,
        hash,
        lambda x: "a" in x,
    ):
        refusals = Refusals()
        assert not ask(Missing(Origin(refusals, "s", "i", "meta k")))
        assert len(refusals.found) == 1


def test_the_first_refusal_of_an_instance_stands_for_all() -> None:
    hidden, refusals = opaque("a b")
    assert hidden.refuse("first") is PLACEHOLDER
    hidden.refuse("second")
    (found,) = refusals.found.values()
    assert (found.what, found.template, found.line) == ("its tag a b first", "", 0)
    assert not found.missing


def test_an_opaque_text_is_not_copied() -> None:
    with pytest.raises(TypeError, match=r"^an opaque text is not copied$"):
        copy.copy(opaque("a b")[0])


def test_the_base_refuses_to_be_used() -> None:
    with pytest.raises(NotImplementedError):
        str(untrusted.Refusing())


@pytest.mark.parametrize("text", ["a", "a.b_c:1/@=,-", "x" * 1024, "0", "@", "=-"])
def test_plain_words(text: str) -> None:
    assert untrusted.is_plain(text)
    assert untrusted.wrap(text, Origin(Refusals(), "", "", "")) is text


@pytest.mark.parametrize(
    "text", ["", "-", "-f", "a b", "a\n", "\na", "a+b", "é", "a%", "a\\", "x" * 1025, "a\0", "٣"]
)
def test_what_is_no_plain_word(text: str) -> None:
    assert not untrusted.is_plain(text)
    assert isinstance(untrusted.wrap(text, Origin(Refusals(), "", "", "")), Opaque)


@given(st.text())
def test_what_is_shown_is_short_printable_ascii(text: str) -> None:
    shown = untrusted.shown(text, 20)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 20 * 10 + 5


def test_what_is_shown_stays_readable() -> None:
    assert untrusted.shown("my app/v2") == "my app/v2"
    assert untrusted.shown("a\nb") == r"'a\nb'"
    assert untrusted.shown("x" * 99, 9) == "x" * 9 + "..."
    assert untrusted.shown("x" * 80) == "x" * 80
    assert untrusted.shown("x" * 81) == "x" * 80 + "..."
