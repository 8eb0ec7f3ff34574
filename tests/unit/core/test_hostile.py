"""No text of the registry adds a word or a line, whatever the template does."""

import functools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import Language
from confsync.errors import RenderError
from tests.unit.core import hostile

PLAIN = "ABCabc019_.:/@=,-"
TEXTS = (
    st.sampled_from(hostile.NASTY)
    | st.text(max_size=9)
    | st.text(PLAIN, max_size=9)
    | st.text("a b\n\t\\\"'#%{}$;-", max_size=9)
)
TEXT_SETS = st.fixed_dictionaries(dict.fromkeys(hostile.BENIGN, TEXTS))


@functools.cache
def made(body: Any, language: Any = Language.HAPROXY) -> Any:
    renderer = hostile.renderer(body, language=language)
    config, problems = renderer.render(hostile.balancer(hostile.BENIGN))
    assert not problems
    return renderer, hostile.shape(config.files[0].text)


def test_no_known_trick_works(soak: Any, figures: Any) -> None:
    happened: Counter[str] = Counter()
    fields = [*hostile.BENIGN, None]
    for number, body in enumerate(hostile.BODIES):
        renderer, benign = made(body)
        for place, text in list(enumerate(hostile.NASTY))[number % 4 :: soak.n(4, 1)]:
            field = fields[(number + place) % len(fields)]
            texts = hostile.BENIGN | dict.fromkeys([field] if field else hostile.BENIGN, text)
            happened[hostile.check(renderer, benign, texts)] += 1
    figures(**happened)
    assert set(happened) == {"kept", "dropped"}


def test_no_text_makes_a_line_or_a_word(soak: Any, figures: Any) -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=soak.n(200, 20_000))
    @given(st.sampled_from(hostile.BODIES), TEXT_SETS)
    def law(body: Any, texts: Any) -> None:
        renderer, benign = made(body)
        happened[hostile.check(renderer, benign, texts)] += 1

    law()
    figures(**happened)


def test_other_languages_quote_into_one_word_too(soak: Any, figures: Any) -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=soak.n(50, 5_000))
    @given(
        st.sampled_from([b for b in hostile.BODIES if "quote" in b]),
        st.sampled_from([Language.MAP, Language.PLAIN]),
        TEXT_SETS,
    )
    def law(body: Any, language: Any, texts: Any) -> None:
        renderer, benign = made(body, language)
        happened[hostile.check(renderer, benign, texts)] += 1

    law()
    figures(**happened)


@pytest.mark.parametrize("body", hostile.WRONG)
def test_a_wrong_template_fails_with_its_line_whatever_the_text(body: Any) -> None:
    renderer = hostile.renderer(body, "i.meta.k")
    for text in ("ttt", "a b\n"):
        with pytest.raises(RenderError) as error:
            renderer.render(hostile.balancer(hostile.BENIGN | {"value": text}))
        assert (error.value.template, error.value.line) == ("t", 5)
        assert str(error.value).isprintable()


def test_a_text_alone_costs_only_its_instance() -> None:
    renderer = hostile.renderer("{{ t }}", "i.id")
    config, (problem,) = renderer.render(hostile.balancer(hostile.BENIGN | {"id": "a b"}))
    assert "hostile/10.0.0.1:80" not in config.files[0].text
    assert "hostile/10.0.0.2:80" in config.files[0].text
    assert (problem.service, problem.instance) == ("hhh", "a b")
    assert (problem.template, problem.line, problem.dropped) == ("t", 5, True)
    assert problem.what == "its id a b is not a plain word, so only |quote can print it"


def test_a_name_or_a_tag_of_the_service_costs_the_service() -> None:
    for source in ("s.name", "s.tags[0]"):
        renderer = hostile.renderer("{{ t }}", source)
        config, (problem,) = renderer.render(
            hostile.balancer(hostile.BENIGN | {"name": "a b", "tag": "a\nb"})
        )
        assert "hostile" not in config.files[0].text
        assert config.files[0].text.count("\n") == 6
        assert (problem.service, problem.instance) == ("a b", "")


def test_nothing_registered_is_nothing_rendered() -> None:
    config, problems = made("x {{ t }} y")[0].render(LoadBalancer())
    assert config.files[0].text == "begin\nend\n"
    assert problems == ()


def test_a_path_of_an_opaque_text_costs_its_instance() -> None:
    renderer = hostile.renderer(
        "{% if i.id != 'a b' %}{{ t }}{% else %}{{ path(t) }}{% endif %}", "i.id"
    )
    _, (problem,) = renderer.render(hostile.balancer(hostile.BENIGN | {"id": "a b"}))
    assert problem.what == "its id a b is no destination"
