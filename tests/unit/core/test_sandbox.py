"""What test_hostile and test_rendering do not reach: mixtures of texts, numbers and opaque texts."""

from typing import Any

import jinja2
import pytest

from confsync.core import filters, sandbox
from confsync.core.untrusted import Missing, Opaque, Origin, Refusals
from confsync.core.views import MetaView
from confsync.domain.rendered import Language


def render(text: str, **more: Any) -> tuple[str, list[str]]:
    """The text and what was refused; `o` is an opaque text, `m` a missing key."""
    refusals = Refusals()
    environment = sandbox.Environment(Language.HAPROXY, {})
    names = {
        "o": Opaque("a b", Origin(refusals, "s", "o", "tag")),
        "m": Missing(Origin(refusals, "s", "m", "meta k")),
        "meta": MetaView({"k": "v", "w": "a b"}, "s", "meta", refusals),
    }
    made = environment.from_string(text).render(names | more)
    return made, [server for _, server in refusals.found]


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("{{ [1, o]|sum }}", "o"),
        ("{{ [o]|sort|join }}", "o"),
        ("{{ 'a'|truncate(o) }}", "o"),
        ("{{ 'abc'|default('x')|replace('a', o) }}", "o"),
        ("{{ o|join }}", "o"),
        ("{{ ['a']|join(o) }}", "o"),
        ("{{ 'abc'[o:] }}", "o"),
        ("{{ o ** 2 }}{{ 2 ** o }}", "o"),
        ("{{ 'abc'.find(o) }}", "o"),
        ("{{ 'abc'.startswith(o) }}", "o"),
        ("{{ ','.join([o]) }}", "o"),
        ("{{ range(o)|list|length }}", "o"),
        ("{{ m|quote }}", "m"),
        ("{{ m|upper }}", "m"),
        ("{{ m.x }}", "m"),
        ("{{ m[0] }}", "m"),
        ("{{ m == 'x' and 1 or 2 }}", "m"),
        ("{{ o.upper().lower().x[0] }}", "o"),
        ("{{ meta.nope.upper() }}", "meta"),
        ("{{ meta.w }}", "meta"),
        ("{{ meta.w.startswith('a') and meta.w }}", "meta"),
        ("{{ joiner(o)() }}{{ [o][0] }}", "o"),
        ("{{ f(o) }}", "o"),
        ("{{ f([o]) }}", "o"),
        ("{{ f({'a': o}) }}", "o"),
        ("{{ {'a': 1}|dictsort(o) }}", "o"),
    ],
)
def test_an_opaque_text_where_it_does_not_belong_is_a_refusal(text: str, refused: str) -> None:
    made, found = render(text, f=_wants_a_number)
    assert found == [refused]
    assert "a b" not in made


def _wants_a_number(x: Any) -> Any:
    raise TypeError(f"no number: {type(x).__name__}")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ m|default('x') }}{{ m is defined and 1 or 2 }}{{ m is undefined and 3 }}", "x23"),
        ("{{ meta.k }}{{ meta['k'] }}{{ meta.get('nope') is none and 1 }}", "vv1"),
        ("{{ meta|length }}{{ 1 if 'k' in meta }}{{ 1 if o in meta.values() }}", "211"),
        ("{{ 1 if o == 'a b' }}{{ 1 if o in 'xa by' }}{{ 1 if 'a' in o }}", "111"),
        ("{{ {'a b': 7}[o] }}{{ {'a b': 8}.get(o) }}", "78"),
        ("{{ o is string and 1 or 2 }}{{ o is ip and 1 or 2 }}{{ o is host_label and 1 or 2 }}", "222"),
        ("{{ [o]|map('default', 'x')|list|length }}", "1"),
        ("{{ ['a b']|select('equalto', o)|list|length }}", "1"),
        ("{{ meta[3] is defined and 1 or 2 }}", "2"),
        ("{{ 'aXa'.replace('a', 'b', 1) }}{{ 'aa'|replace('a', 'b', 1) }}", "bXaba"),
        ("{{ 2 * 'ab' }}{{ ([1] * 3)|length }}{{ 2 * 1.5 }}", "abab33.0"),
        ("{{ [{'a': 1}]|map(attribute='a')|first }}", "1"),
        ("{{ (1, 2).index(2) }}{{ 'b,c'.split(',').count('b') }}", "11"),
    ],
)  # fmt: skip
def test_what_an_opaque_text_answers(text: str, made: str) -> None:
    assert render(text) == (made, [])


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{{ 'a' ** 2 }}", TypeError, "wants numbers"),
        ("{{ 10000000 ** 2 }}", filters.Unlucky, "small numbers"),
        ("{{ f(1) }}", TypeError, "no number"),
        ("{{ [1]|sum(start='a') }}", TypeError, ""),
        ("{{ 'a b'|quote|upper }}", filters.Unlucky, "cannot be cut"),
        ("{{ ('a b'|quote)[1:] }}", filters.Unlucky, "cannot be cut"),
        ("{{ ('a b'|quote)[1] }}", filters.Unlucky, "cannot be cut"),
        ("{{ ('a b'|quote) * 2 }}", filters.Unlucky, "cannot be cut"),
        ("{{ ('a b'|quote).strip('a') }}", filters.Unlucky, "cannot be cut"),
        ("{{ [1].pop() }}", jinja2.UndefinedError, "a list has no 'pop' here"),
        ("{{ [1].sort }}", jinja2.UndefinedError, "a list has no 'sort' here"),
        ("{{ {}.pop }}", jinja2.UndefinedError, ""),
        ("{{ {}['a'] }}", filters.NoItem, ""),
        ("{{ [1][9] }}", filters.NoItem, ""),
        ("{{ (1)[0] }}", jinja2.UndefinedError, ""),
        ("{{ meta }}", filters.Forbidden, "a table cannot be printed"),
        ("{{ meta|string }}", filters.Forbidden, "a table cannot be printed"),
        ("{{ meta|list|string }}", filters.Forbidden, "a list cannot be printed"),
    ],
)
def test_what_is_refused_to_a_template_itself(text: str, error: Any, words: str) -> None:
    with pytest.raises(error, match=words or None):
        render(text, f=_wants_a_number)


def test_our_own_values_are_not_shown_by_python_either() -> None:
    refusals = Refusals()
    meta = MetaView({"k": "v"}, "s", "i", refusals)
    for show in (str, repr, format):
        with pytest.raises(TypeError, match="as a whole"):
            show(meta)
