"""A template that never ends, or never stops printing, ends with its place and in bounded time."""

from typing import Any

import pytest

from confsync.core import effort
from confsync.core.filters import Forbidden
from confsync.core.rendering import Renderer
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import Template, TemplateSet
from confsync.errors import RenderError


def render(text: str, *, steps: int = 20_000, **includes: str) -> str:
    template = Template(name="t.j2", text=text, destination="/t", seen_as="/t")
    names = {f"{name}.j2": source for name, source in includes.items()}
    renderer = Renderer(
        TemplateSet(templates=(template,), includes=names), version="1", steps=steps
    )
    return renderer.render(LoadBalancer())[0].files[0].text


MANY = "{% for i in range(9000) %}"
LARGE = "{% for i in range(90000) %}"
ENDS = "{% endfor %}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(f"\n{MANY}{MANY}{MANY}{ENDS}{ENDS}{ENDS}", 2, id="loops in loops"),
        pytest.param(f"{MANY}\n{MANY}{{{{ loop.index }}}}{ENDS}{ENDS}", 2, id="with loop"),
        pytest.param(f"{MANY}{{% for i in range(9000)|map('abs') %}}{ENDS}{ENDS}", 1, id="lazy"),
        pytest.param(f"{MANY}{{% for i in range(9000) if i %}}{ENDS}{ENDS}", 1, id="filtered"),
        pytest.param(
            "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}"
            "{{ a(60) }}",
            1,
            id="a macro that calls itself twice",
        ),
    ],
)
def test_steps_are_bounded(text: str, line: int) -> None:
    with pytest.raises(RenderError, match="does one never end") as caught:
        render(text)
    assert (caught.value.template, caught.value.line) == ("t.j2", line)


def test_steps_of_an_included_template_count() -> None:
    inner = f"{MANY}{MANY}{ENDS}{ENDS}"
    with pytest.raises(RenderError, match="does one never end") as caught:
        render("{% include 'x.j2' %}", x=inner)
    assert caught.value.template == "x.j2"


def test_characters_are_bounded() -> None:
    """Well below the bound on steps: each prints much."""
    with pytest.raises(RenderError, match="print too much") as caught:
        render(f"{LARGE}{'x' * 1000}\n{ENDS}", steps=200_000)
    assert caught.value.line == 1


def test_what_is_large_and_ends_is_rendered(soak: Any) -> None:
    many = 90_000
    inner = f"{{% for j in range({soak.n(9, 50)}) %}}{ENDS}"
    text = render(f"{{% for i in range({many}) %}}{inner}.{ENDS}", steps=effort.MOST_STEPS)
    assert len(text) == many + 1


def test_each_render_has_all_its_steps() -> None:
    with effort.bounded(10):
        effort.spend(10)
        with effort.bounded(10):
            effort.spend(10)
        with pytest.raises(Forbidden):
            effort.spend()
    effort.spend(effort.MOST_STEPS + 1)  # outside of a render nothing is counted


def test_loops_over_nothing_refuse_as_before() -> None:
    with pytest.raises(RenderError, match="'nothing' is undefined"):
        render("{% for i in nothing %}{% endfor %}")
    with pytest.raises(RenderError, match="not iterable"):
        render("{% for i in none %}{% endfor %}")
