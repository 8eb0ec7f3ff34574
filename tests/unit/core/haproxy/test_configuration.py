"""A configuration that is read beside one that is like it, and one that is read alone."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.core.haproxy import configuration, proxies, remembering, text
from confsync.core.haproxy.remembering import Each, Remembered

SECTIONS = (
    "global\n    maxconn 100\n",
    "defaults\n    mode http\n",
    "defaults\n    mode tcp\n    default-server maxconn 9\n",
    "defaults named\n    retries 2\n",
    "frontend f\n    bind :80\n    use_backend b if TRUE\n",
    "backend b\n    server a 10.0.0.1:80\n",
    "backend b\n    server a 10.0.0.1:80 weight 3\n",
    "backend b from named\n    server a 10.0.0.1:80\n",
    "backend c\n    server a 10.0.0.2:80 track b/a\n",
    "backend c\n    server a 10.0.0.2:80\n    .if true\n",
    "backend d\n    .endif\n",
    "listen b\n    bind :81\n    server a 10.0.0.4:80\n",
    "peers p\n    peer x 10.0.0.3:1024\n",
    "",
)


def parts(found: configuration.Configuration) -> tuple[object, ...]:
    return list(found.proxies.items()), found.pieces, found.keys


def alone(texts: tuple[str, ...]) -> tuple[object, ...]:
    """Read texts without anything before them."""
    return parts(configuration._whole(tuple(tuple(text.chunks(t)) for t in texts)))


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(SECTIONS), min_size=1, max_size=9),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(SECTIONS)), max_size=12),
    st.integers(0, 9),
)
def test_it_is_the_same_whatever_was_read_before(
    sections: list[str], changes: list[tuple[int, str]], cut: int
) -> None:
    for at, section in changes:
        sections[at % len(sections)] = section
        texts = ("global\n" + "".join(sections[:cut]), "peers x\n" + "".join(sections[cut:]))
        assert parts(configuration.read(texts)) == alone(texts)


PLAIN = "backend b\n    server a 10.0.0.1:80\n"
OPENS = "backend b\n    server a 10.0.0.1:80\n    .if true\n"
CLOSES = "backend c\n    .endif\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((OPENS + CLOSES,), (PLAIN + CLOSES,)),
        ((PLAIN + CLOSES,), (OPENS + CLOSES,)),
        ((OPENS, CLOSES), (PLAIN, CLOSES)),
        (("defaults x\n" + PLAIN,), ("defaults x\n" + PLAIN, CLOSES)),
        (("defaults x\n" + PLAIN, CLOSES), ("defaults x\n" + PLAIN,)),
        (("defaults x\n" + PLAIN,), ("frontend x\n" + PLAIN,)),
        ((PLAIN + "backend b from x\n",), (PLAIN + PLAIN,)),
        (("global\n" + PLAIN,), ("global\n    .if true\n" + PLAIN,)),
        (("\n" + PLAIN,), (".if true\n" + PLAIN,)),
    ],
)
def test_what_others_hang_on_is_read_with_them(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    # Behind a piece that both have, since that is how like texts are known.
    for lead in ("global\n", ""):
        for texts in ((lead + before[0], *before[1:]), (lead + after[0], *after[1:])):
            assert parts(configuration.read(texts)) == alone(texts)


def content(weights: list[int]) -> str:
    return "defaults\n    mode http\n" + "".join(
        f"backend b{n}\n    server a 10.0.0.{n % 200 + 1}:80 weight {weight}\n"
        for n, weight in enumerate(weights)
    )


def test_all_is_looked_up_once_in_a_while() -> None:
    """What no change concerns is remembered still after many, since a new section reads all again."""
    chance = Random(1)
    weights = [1] * 600
    untouched = configuration.read((content(weights),)).proxies["backend", "b599", 0]
    most = 0
    for number in range(3 * remembering.OFTEN):
        weights[chance.randrange(500)] = number % 256
        found = configuration.read((content(weights),))
        most = max(most, found.taken)
    assert 0 < most <= remembering.OFTEN
    found = configuration.read((content([*weights, 1]),))
    assert found.taken == 0
    assert found.proxies["backend", "b599", 0] is untouched


def test_the_bearing_proxy_of_a_name() -> None:
    found = configuration.read(
        ("frontend f\n    bind :80\nlisten l\n    bind :81\nbackend b\nbackend b\n    mode tcp\n",)
    )
    assert found.bearing("f") is None
    assert found.bearing("l") is found.proxies["listen", "l", 0]
    assert found.bearing("b") is found.proxies["backend", "b", 1]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), max_size=12))
def test_each_piece_is_as_made_alone(texts: list[list[str]]) -> None:
    each = Each(Remembered(lambda piece: piece.upper()))
    for pieces in texts:
        assert each(tuple(pieces)) == tuple(piece.upper() for piece in pieces)


def test_only_what_differs_is_looked_at() -> None:
    looked: list[str] = []

    class Watched(Remembered[[str], str]):
        def __call__(self, piece: str) -> str:
            looked.append(piece)
            return piece

    each = Each(Watched(str))
    one, other = ("a", "b", "c"), ("x", "y")
    each(one)
    each(other)
    looked.clear()
    assert each(("a", "n", "c")) == ("a", "n", "c")
    assert each(other) == other
    assert each(one) == one
    assert looked == ["n", "b"]


@pytest.mark.parametrize("keyword", ["use-server x", "server s 10.0.0.1:80 track b/x"])
def test_names_are_found_in_what_changed(keyword: str) -> None:
    first = configuration.read((content([1, 2, 3]),)).pieces[0]
    assert not any(every for every, _ in proxies.named(first))
    changed = content([1, 2, 3]).replace("weight 2", f"weight 2\n    {keyword}")
    assert any(every for every, _ in proxies.named(configuration.read((changed,)).pieces[0]))
