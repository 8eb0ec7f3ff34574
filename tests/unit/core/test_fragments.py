"""What a template printed for a service is remembered only where nothing else decides about it."""

import bisect
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import effort, memory
from confsync.core.rendering import Renderer
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import TemplateSet
from confsync.errors import RenderError
from tests.unit.core.test_rendering import backend, balancer, server, template

VARS = {"color": "red", "list": ["a", "b"]}
LINE = "{{ s.slug }}:{% for i in s.instances %} {{ i.server }}{{ loop.index }}{% endfor %}\n"

# Loops whose body is the service's alone.
ALONE = {
    "plain": "{% for s in services %}" + LINE + "{% endfor %}",
    "filtered": "{% for s in services|sort(attribute='slug')|reverse if s.tags %}x"
    + LINE
    + "{% endfor %}",
    "constants": "{% set c = vars.color %}{% set d = c ~ 1 %}{% for s in services %}{{ d }}"
    "{{ vars.list|join }}{{ target.type }}{{ path('t.cfg') }}" + LINE + "{% endfor %}",
    "branches": "{% set c = 'x' if vars.color == 'red' else 'y' %}{% if c == 'x' %}"
    "{% for s in services %}{% if 'a' in s.tags %}{{ c }}{% else %}-{% endif %}{% endfor %}{% endif %}",
    "macro": "{% macro m(i, k=2) %}{% for n in range(k) %}{{ i.port }}{% endfor %}{% endmacro %}"
    "{% for s in services %}{% for i in s.instances %}{{ m(i) }}{{ i.meta.get('k', 'none') }}"
    "{% endfor %}{% endfor %}",
    "a test of constants": "{% set c = vars.color %}\n{% for s in services if s.tags and c == 'red' %}"
    + LINE
    + "{% endfor %}",
    "a test with a call": "{% for s in services if s.slug.startswith('w')\n or s.tags %}"
    + LINE
    + "{% endfor %}",
    "a test of more": "{% for s in services if services|length > 1 %}" + LINE + "{% endfor %}",
    "a test of what the body sets": "{% for s in services if s.slug or n is defined %}"
    "{% set n = s.slug %}{% set s = n %}{{ s }}{% endfor %}",
    "none": "{% for s in services %}" + LINE + "{% else %}none{% endfor %}",
    "none of those": "{% for s in services if s.tags %}" + LINE + "{% else %}none{% endfor %}",
    "as they come": "{% for service in services|selectattr('tags') %}{{ service.slug }}{% endfor %}",
    "services by their name": "{% set a = service('a') %}{{ a.slug }}{{ 1 if a in services else 0 }}"
    "{% for s in services %}" + LINE + "{% endfor %}",
    "services set anew": "{% set services = services|sort(attribute='name') %}"
    "{% for s in services %}{{ s.slug }}{% endfor %}",
    "services set anew in a branch": "{% if 'none' in vars.list %}{% set services = [] %}{% endif %}"
    "{% for s in services %}{{ s.slug }}{% endfor %}",
    "refused": "{% for s in services %}\n{{ s.tags|first|default('-') }}{% for t in s.tags %}"
    "{{ t }}\n{% endfor %}{% endfor %}",
    "failing": "{% for s in services %}\n{{ s.slug }}\n{{ s.instances[0].server }}{% endfor %}",
    "own names": "{% for s in services %}{% set n = s.instances|length %}{{ n * 2 }}{% endfor %}",
}
# Loops whose body looks at more, or changes something: each has a reason of its own.
TOGETHER = {
    "its place": "{% for s in services %}{{ loop.index }}" + LINE + "{% endfor %}",
    "all services": "{% for s in services %}{{ services|length }}{{ s.slug }}{% endfor %}",
    "another service": "{% for s in services %}{{ service('web').instances|length }}{% endfor %}",
    "made of services": "{% set n = services|length %}{% for s in services %}{{ n }}{% endfor %}",
    "made of what is": "{% set n = services|length %}{% set m = n + 1 %}"
    "{% for s in services %}{{ m }}{% endfor %}",
    "set under what is": "{% set c = 1 %}{% if services|length > 2 %}{% set c = 2 %}{% endif %}"
    "{% for s in services %}{{ c }}{% endfor %}",
    "read before set": "{% set n = services|length %}"
    "{% for s in services %}{{ n }}{% set n = 1 %}{{ n }}{% endfor %}",
    "a macro of services": "{% macro m() %}{{ services|length }}{% endmacro %}"
    "{% for s in services %}{{ m() }}{% endfor %}",
    "a macro of a macro": "{% macro a() %}{{ services|length }}{% endmacro %}"
    "{% macro m() %}{{ a() }}{% endmacro %}{% for s in services %}{{ m() }}{% endfor %}",
    "a list that grows": "{% set seen = [] %}{% for s in services %}{{ seen|length }}"
    "{% do seen.append(s.slug) %}{% endfor %}",
    "a list that has grown": "{% set seen = [] %}{% for s in services %}{% do seen.append(1) %}"
    "{% endfor %}{% for s in services %}{{ seen|length }}{% endfor %}",
    "a namespace": "{% set ns = namespace(n=0) %}{% for s in services %}{% set ns.n = ns.n + 1 %}"
    "{{ ns.n }}{% endfor %}",
    "a joiner": "{% set comma = joiner(',') %}{% for s in services %}{{ comma() }}{{ s.slug }}"
    "{% endfor %}",
    "a cycler": "{% set c = cycler('a', 'b') %}{% for s in services %}{{ c.next() }}{% endfor %}",
    "a loop around": "{% for t in services %}{% for s in services %}{{ t.slug }}{{ s.slug }}"
    "{% endfor %}{% endfor %}",
    "a break": "{% for s in services %}{{ s.slug }}{% if s.slug == 'b' %}{% break %}{% endif %}"
    "{% endfor %}",
    "an include": "{% for s in services %}{% include 'part' %}{% endfor %}",
    "a block set": "{% set n %}{{ services|length }}{% endset %}"
    "{% for s in services %}{{ n }}{% endfor %}",
}
EVERY = ALONE | TOGETHER


def made(text: Any, **more: Any) -> Any:
    return Renderer(
        TemplateSet(
            templates=(template(text, variables=VARS), template("x", destination="/etc/o.cfg")),
            includes={"part": "{{ services|length }}{{ s.slug }}"},
        ),
        version="1",
        **more,
    )


SERVERS = st.builds(
    server, st.integers(1, 3), weight=st.integers(1, 2), meta=st.just((("k", "v"),))
)
BACKENDS = st.builds(
    lambda name, servers, tags: backend(name, *servers, tags=tuple(tags)),
    st.sampled_from(["a", "b", "web"]),
    st.lists(SERVERS, max_size=3, unique_by=lambda s: s.server),
    st.lists(st.sampled_from(["a", "t", "od d"]), max_size=2),
)
BALANCERS = st.lists(BACKENDS, max_size=3, unique_by=lambda b: b.slug).map(
    lambda found: balancer(*sorted(found, key=lambda b: b.slug))
)


def outcome(renderer: Any, lb: Any) -> Any:
    try:
        return renderer.render(lb)
    except RenderError as error:
        return str(error)


STEPS = st.one_of(st.integers(1, 120), st.just(effort.MOST_STEPS))


@given(
    st.sampled_from(sorted(EVERY)),
    st.lists(BALANCERS, min_size=2, max_size=4),
    STEPS,
    st.randoms(),
)
def test_what_is_remembered_makes_no_difference(
    name: Any, rounds: Any, steps: Any, chance: Any
) -> None:
    remembering = made(EVERY[name], steps=steps)
    known: dict[str, Any] = {}
    for lb in rounds:
        # Some stay as they were: the same object, or an equal one.
        kept = tuple(
            known.get(b.slug, b) if chance.random() < 0.5 else replace(b) for b in lb.backends
        )
        known |= {b.slug: b for b in kept}
        shown = LoadBalancer(backends=kept)
        assert outcome(remembering, shown) == outcome(made(EVERY[name], steps=steps), shown)


MANY = [backend(f"s{n}", server(1), tags=("a",)) for n in range(8)]


@pytest.mark.parametrize("name", ALONE)
def test_only_the_service_that_changed_is_rendered_again(name: Any) -> None:
    renderer = made(ALONE[name])
    renderer.render(balancer(*MANY))
    assert renderer.made == 8
    changed = [*MANY[:3], backend("s3", server(1), server(2), tags=("a",)), *MANY[4:]]
    renderer.render(balancer(*changed))
    assert renderer.made == 1
    renderer.render(balancer(*[replace(b) for b in changed[1:]]))
    assert renderer.made == 0


@pytest.mark.parametrize("name", TOGETHER)
def test_where_more_decides_nothing_is_remembered(name: Any) -> None:
    renderer = made(TOGETHER[name])
    renderer.render(balancer(*MANY))
    assert renderer.made == 0


def test_what_a_refused_render_printed_is_forgotten() -> None:
    renderer = made(
        "{% for s in services %}{% for i in s.instances %}{{ i.id }}{% endfor %}{% endfor %}"
    )
    good, bad = backend("a", server(1)), backend("b", server(2, id="b ad"), server(3))
    for _ in range(2):
        config, problems = renderer.render(balancer(good, bad))
        assert config.files[0].text == "id-1id-3\n"
        assert len(problems) == 1


def test_a_remembered_text_takes_as_many_steps_as_a_new_one() -> None:
    def limited(steps: Any) -> Any:
        text = "{% for s in services %}{% for n in range(20) %}{{ s.slug }}{% endfor %}{% endfor %}"
        return Renderer(TemplateSet(templates=(template(text),)), version="1", steps=steps)

    def suffice(steps: int) -> bool:
        return "steps" not in str(outcome(limited(steps), balancer(*MANY)))

    enough = bisect.bisect_left(range(1000), True, key=suffice)
    renderer = limited(enough)
    few = balancer(*MANY[:4])
    renderer.render(few)
    assert outcome(renderer, balancer(*MANY)) == outcome(limited(enough), balancer(*MANY))
    more = balancer(*MANY, backend("t"))
    assert outcome(renderer, more) == outcome(limited(enough), more)
    assert "steps" in outcome(renderer, more)


def test_a_file_of_remembered_texts_becomes_too_long_where_one_of_new_ones_does() -> None:
    big = {"big": "x" * (effort.MOST_CHARACTERS // 98)}
    text = "\n{% for s in services %}{{ vars.big }}{{ 1 / 0 if s.slug == 't' }}{% endfor %}"
    templates = TemplateSet(templates=(template(text, variables=big),))
    renderer = Renderer(templates, version="1")
    few = [backend(f"s{n}") for n in range(98)]
    renderer.render(balancer(*few))
    assert renderer.made == 98
    more = balancer(backend("r"), *few, backend("t"))
    assert outcome(renderer, more) == outcome(Renderer(templates, version="1"), more)
    assert "t.j2:2: its file would be longer" in outcome(renderer, more)


def test_more_services_than_one_piece_holds() -> None:
    many = [backend(f"s{n}", server(1)) for n in range(3 * memory.PIECE)]
    renderer = made(ALONE["plain"])
    for at in (0, memory.PIECE - 1, memory.PIECE, len(many) - 1, 100):
        many[at] = backend(f"s{at}", server(1), server(2))
        config, _ = renderer.render(balancer(*many))
        assert config == made(ALONE["plain"]).render(balancer(*many))[0]
        assert renderer.made in {1, len(many)}


def test_two_destinations_of_one_template_keep_their_own_texts() -> None:
    text = "{% for s in services %}{{ vars.color }}{{ s.slug }}{% endfor %}"
    both = tuple(
        template(text, destination=f"/etc/{color}", variables={"color": color})
        for color in ("red", "blue")
    )
    renderer = Renderer(TemplateSet(templates=both), version="1")
    for _ in range(2):
        config, _ = renderer.render(balancer(backend("a")))
        assert [f.text for f in config.files] == ["reda\n", "bluea\n"]
