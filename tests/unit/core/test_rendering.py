from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from confsync.core.rendering import Renderer
from confsync.domain.catalog import Status
from confsync.domain.loadbalancer import Backend, LoadBalancer, Server
from confsync.domain.rendered import Language, Template, TemplateSet
from confsync.errors import RenderError


def server(n: Any = 1, **more: Any) -> Any:
    return Server(
        **{
            "server": f"10.0.0.{n}:80",
            "server_id": 70_000 + n,
            "address": f"10.0.0.{n}",
            "port": 80,
            "status": Status.PASSING,
            "weight": 1,
            "id": f"id-{n}",
        }
        | more
    )


def backend(name: Any = "web", *instances: Any, **more: Any) -> Any:
    return Backend(**{"name": name, "slug": name, "instances": instances} | more)


def balancer(*backends: Any) -> Any:
    return LoadBalancer(backends=backends)


WEB = balancer(backend("web", server(1), server(2), tags=("a", "b")))


def template(text: Any, name: Any = "t.j2", destination: Any = "/etc/x/t.cfg", **more: Any) -> Any:
    return Template(
        **{"name": name, "text": text, "destination": destination, "seen_as": destination} | more
    )


def renderer(text: Any, *others: Any, includes: Any = None, **more: Any) -> Any:
    return Renderer(
        TemplateSet(templates=(template(text, **more), *others), includes=includes or {}),
        version="1.2",
        stats_socket="/run/s.sock",
        target="systemd",
    )


def render(text: Any, lb: Any = WEB, **more: Any) -> Any:
    config, problems = renderer(text, **more).render(lb)
    assert problems == ()
    return config.files[0].text


def fails(text: Any, lb: Any = WEB, **more: Any) -> Any:
    with pytest.raises(RenderError) as error:
        renderer(text, **more).render(lb)
    return error.value


def test_the_fields_of_a_service_and_its_instances() -> None:
    lb = balancer(
        backend(
            "web",
            server(
                1,
                status=Status.WARNING,
                weight=7,
                tags=("x", "y"),
                meta=(("k", "v"), ("weight", "7")),
                node="n1",
                datacenter="dc1",
            ),
            tags=("x", "y"),
        )
    )
    text = (
        "{% for s in services %}{{ s.name }} {{ s.slug }} {{ s.tags|join(',') }}\n"
        "{% for i in s.instances %}"
        "{{ i.id }} {{ i.server }} {{ i.server_id }} {{ i.address }} {{ i.port }} {{ i.weight }} "
        "{{ i.status }} {{ i.node }} {{ i.datacenter }} {{ i.tags|join('+') }} {{ i.meta.k }}\n"
        "{% endfor %}{% endfor %}"
    )
    assert render(text, lb) == (
        "web web x,y\nid-1 10.0.0.1:80 70001 10.0.0.1 80 7 warning n1 dc1 x+y v\n"
    )


def test_fields_can_be_reached_as_items_too() -> None:
    assert render("{{ services[0]['slug'] }} {{ services[0].instances[1]['port'] }}") == "web 80\n"


def test_services_by_name() -> None:
    assert render("{{ service('web').instances|length }}") == "2\n"
    empty = (
        "{{ service('no such').slug }} {{ service('x').name }} {{ service('x').instances|length }}"
    )
    assert render(empty).endswith(" x 0\n")


def test_facts() -> None:
    text = "{{ confsync.version }} {{ target.type }} {{ target.stats_socket }}"
    assert render(text) == "1.2 systemd /run/s.sock\n"


@pytest.mark.parametrize("name", ["hosts.map", "/host/hosts.map", "/in/container/hosts.map"])
def test_path_gives_a_destination_as_haproxy_sees_it(name: Any) -> None:
    other = template("", "m", "/host/hosts.map", seen_as="/in/container/hosts.map")
    config, _ = renderer(f"{{{{ path('{name}') }}}}", other).render(WEB)
    assert config.files[0].text == "/in/container/hosts.map\n"


def test_an_unknown_path_is_an_error_that_names_the_known_ones() -> None:
    error = fails("\n{{ path('nope') }}")
    assert error.what == "t.j2:2: path(nope): no template makes it (known: t.cfg)"


def test_an_ambiguous_path_is_an_error() -> None:
    with pytest.raises(RenderError, match="name the whole path"):
        renderer(
            "{{ path('a.map') }}", template("", "m", "/x/a.map"), template("", "n", "/y/a.map")
        ).render(WEB)


def test_variables() -> None:
    variables = {
        "a": "x y",
        "n": 3,
        "f": 1.5,
        "on": True,
        "none": None,
        "l": ("p", "q"),
        "d": {"k": "v"},
    }
    text = (
        "{{ vars.a }} {{ vars.n }} {{ vars.f }} {{ vars.on and 1 }} {{ vars.none|default('z') }} "
        "{{ vars.l|join('-') }} {{ vars.d.k }} {{ vars['a'] }} {{ vars.nope|default('w') }} "
        "{{ 'a' in vars }} {{ vars|length }}"
    ).replace("{{ 'a' in vars }}", "{{ 1 if 'a' in vars }}")
    assert render(text, variables=variables) == "x y 3 1.5 1 z p-q v x y w 1 7\n"


def test_an_unknown_variable_is_an_error_that_names_the_key() -> None:
    error = fails("a\n{{ vars.portt }}", variables={"port": 1})
    assert (error.template, error.line) == ("t.j2", 2)
    assert "vars has no 'portt': set it under [template.vars] of t.j2 (set: port)" in error.what


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a\n{{ nope }}", 2, "'nope' is undefined"),
        ("{% for s in services %}\n{{ s.nmae }}\n{% endfor %}", 2, "a service has no 'nmae'"),
        ("{{ services[0].instances[0].prot }}", 1, "an instance has no 'prot'"),
        ("a\n\n{% for %}", 3, "Expected"),
        ("{{ 'a'|nope }}", 1, "No filter named 'nope'"),
        ("{{ 1 is nope }}", 1, "No test named 'nope'"),
        ("{{ services }}", 1, "a list cannot be printed"),
        ("{{ services[0] }}", 1, "a service cannot be printed"),
        ("{{ none }}", 1, "nothing to print"),
        ("{{ true }}", 1, "a truth value cannot be printed"),
        ("{{ vars }}", 1, "a table cannot be printed"),
        ("{{ range }}", 1, "a function or object cannot be printed"),
        ("{{ 'x' ~ vars }}", 1, "a table cannot be printed"),
        ("{{ 1 / 0 }}", 1, "ZeroDivisionError"),
        ("{% include 'gone' %}", 1, "there is no template gone to include"),
        ("{{ ''.__class__ }}", 1, "a text has no '__class__' here"),
        ("{{ cycler.__init__ }}", 1, "has no '__init__'"),
        ("{{ self.__init__ }}", 1, "unsafe"),
        ("{{ (1).real }}", 1, "has no 'real'"),
        ("{{ 'a\\nb'|quote }}", 1, "cannot quote this text: it has a line break"),
    ],
)
def test_errors_name_template_line_and_fault(text: Any, line: Any, words: Any) -> None:
    error = fails(text)
    assert (error.template, error.line, error.exit_code) == ("t.j2", line, 65)
    assert words in error.what
    assert "\n" not in error.what


def test_an_error_in_an_included_template_names_that_one() -> None:
    error = fails("{% include 'inc' %}", includes={"inc": "\n\n{{ nope }}"})
    assert (error.template, error.line) == ("inc", 3)
    error = fails("{% include 'inc' %}", includes={"inc": "\n{% for %}"})
    assert (error.template, error.line) == ("inc", 2)


def test_includes_imports_and_inheritance() -> None:
    includes = {
        "inc": "{{ services|length }}",
        "lib": "{% macro m(x) %}<{{ x }}>{% endmacro %}",
        "base": "a {% block b %}{% endblock %} c",
    }
    assert render("{% include 'inc' %}", includes=includes) == "1\n"
    assert render("{% from 'lib' import m %}{{ m(3) }}", includes=includes) == "<3>\n"
    text = (
        "{% extends 'base' %}{% block b %}{{ super() }}{{ self.b is defined and 1 }}{% endblock %}"
    )
    assert render(text, includes=includes) == "a 1 c\n"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ 'a-b'.split('-')|join(',') }}", "a,b"),
        ("{{ 'Ab'|lower }}{{ 'Ab'.upper() }}{{ 'a.b'.replace('.', '-') }}", "abABa-b"),
        ("{{ ['b', 'a']|sort|first }}{{ [1, 2]|sum }}{{ [3, 4]|max }}", "a34"),
        ("{{ '%s:%05d' % ('a', 7) }}{{ '%s'|format(1) }}", "a:000071"),
        ("{{ '-' * 5 }}{{ 2 ** 10 }}{{ 7 % 4 }}{{ 2 * 3 }}", "-----102436"),
        ("{{ 'abc'[1:] }}{{ 'abc'[0] }}{{ [1, 2, 3][-1] }}", "bca3"),
        ("{% set l = [] %}{% do l.append(1) %}{{ l|length }}{{ l.index(1) }}", "10"),
        ("{% for i in range(5) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% set n = namespace(x=1) %}{% set n.x = 2 %}{{ n.x }}", "2"),
        ("{{ {'a': 1}.get('a') }}{{ {'a': 1}['a'] }}{{ {'a': 1}.a }}", "111"),
        (
            "{% for g in ['a', 'b', 'A']|groupby(0) %}{{ g.grouper }}{{ g.list|length }}{% endfor %}",
            "a2b1",
        ),
        ("{{ 1 if 'b' in 'abc' }}{{ 1 if 'x' not in ['y'] }}{{ 1 if 1 < 2 < 3 }}", "111"),
        ("{{ ''|default('x', true) }}{{ ''|default('x') }}{{ none|d('y') }}", "xy"),
        ("{{ 'x y'|quote }}{{ 7|quote }}", r"x\x20y7"),
        (
            "{{ 1 if '10.0.0.1' is ip }}{{ 1 if 'web' is not ip }}{{ 1 if 'a' is host_label }}",
            "111",
        ),
        ("{{ loop is defined and 1 or 2 }}{{ vars is mapping and 3 }}", "23"),
        ("{% for x in 'ab' %}{{ loop.index }}{{ loop.cycle('p', 'q') }}{% endfor %}", "1p2q"),
        ("{{ 1.5 }}{{ '3'|int + 1 }}", "1.54"),
        ("{{ 'x'.startswith('x') and 1 }}{{ 'abc'.find('c') }}{{ ','.join(['a', 'b']) }}", "12a,b"),
    ],
)
def test_what_honest_templates_use(text: Any, made: Any) -> None:
    assert render(text) == made + "\n"


def test_blocks_leave_no_blank_lines_and_a_file_ends_in_a_newline() -> None:
    text = "a\n  {% for s in services %}\n  x\n  {% endfor %}\nb"
    assert render(text) == "a\n  x\nb\n"
    assert render("a\n") == "a\n"
    assert render("") == "\n"


def test_quote_speaks_the_templates_language() -> None:
    assert render("{{ 'a b'|quote }}", language=Language.NGINX) == '"a b"\n'
    assert render("{{ 'a#b'|quote }}", language=Language.MAP) == "a#b\n"


def test_several_templates_are_rendered_in_order_with_what_belongs_to_them() -> None:
    made = Renderer(
        TemplateSet(
            templates=(
                template("{{ vars.x }}", "one", "/1", variables={"x": 1}, mode=0o600),
                template("{{ vars.x }}", "two", "/2", variables={"x": "pw"}, secrets=("pw", "")),
            )
        ),
        version="1",
    )
    config, _ = made.render(WEB)
    assert [(f.destination, f.text, f.template, f.mode, f.seen_as) for f in config.files] == [
        ("/1", "1\n", "one", 0o600, "/1"),
        ("/2", "pw\n", "two", 0o644, "/2"),
    ]
    assert config.secrets == ("pw",)
    assert config.masked("x pw") == "x *****"


def test_declared_is_what_stands_without_services() -> None:
    made = renderer("frontend a\n{% for s in services %}backend {{ s.slug }}\n{% endfor %}")
    declared = made.declared()
    assert declared.files[0].text == "frontend a\n"
    assert made.declared() is declared


def test_the_same_values_give_the_same_bytes_from_any_thread() -> None:
    made = renderer(
        "{% for s in services %}{% for i in s.instances %}{{ i.server }} {{ i.id|quote }}\n"
        "{% endfor %}{% endfor %}"
    )
    hostile = balancer(
        backend("web", *(server(n, id=f"a {n}\n" if n % 9 == 0 else "a") for n in range(1, 91)))
    )
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(made.render, [WEB, hostile] * 10))
    assert results[::2] == [results[0]] * 10
    assert results[1::2] == [results[1]] * 10
    assert len(results[1][1]) == 10


def test_refusals_in_two_rounds_are_both_left_out() -> None:
    # The second text is printed only once the first instance is gone.
    lb = balancer(
        backend("web", server(1, id="a b"), server(2, id="c d"), server(3)),
        backend("z", server(4), server(5), server(6)),
    )
    text = (
        "{% set first = services[0].instances[0] %}{{ first.id }}\n"
        "{% for s in services %}{% for i in s.instances %}{{ i.server }}\n{% endfor %}{% endfor %}"
    )
    config, problems = renderer(text).render(lb)
    assert [p.instance for p in problems] == ["a b", "c d"]
    assert config.files[0].text.splitlines() == [
        "id-3",
        *(f"10.0.0.{n}:80" for n in (3, 4, 5, 6)),
    ]


def test_refusals_without_end_are_an_error() -> None:
    lb = balancer(backend("web", *(server(n, id=f"a {n}") for n in range(1, 30))))
    error = fails("{{ services[0].instances[0].id }}", lb)
    assert error.line == 1
    assert "still refused" in error.what


def test_a_failure_after_a_refusal_does_not_count() -> None:
    lb = balancer(backend("web", server(1, meta=(("n", "1 0"),)), server(2, meta=(("n", "5"),))))
    text = "{% for i in services[0].instances %}{{ 10 // (i.meta.n|int) }}{% endfor %}"
    config, (problem,) = renderer(text).render(lb)
    assert config.files[0].text == "2\n"
    assert problem.instance == "id-1"


def test_missing_meta_costs_its_instance() -> None:
    lb = balancer(backend("web", server(1), server(2, meta=(("k", "v"),))))
    text = "{% for i in services[0].instances %}{{ i.meta.k }}{% endfor %}"
    config, (problem,) = renderer(text).render(lb)
    assert config.files[0].text == "v\n"
    assert problem.what == "its meta k is missing"
    each = "{% for i in services[0].instances %}"
    gentle = each + "{{ i.meta.get('k', 'd') }}{{ i.meta.k|d('e') }}{% endfor %}"
    assert render(gentle, lb) == "devv\n"


def test_a_template_that_demands_what_nobody_has_is_to_blame() -> None:
    lb = balancer(backend("web", *(server(n) for n in range(1, 5))))
    error = fails("\n{% for i in services[0].instances %}{{ i.meta.kk }}{% endfor %}", lb)
    assert error.line == 2
    assert "its meta kk is missing in 4 of 4 instances" in error.what
    assert "meta.get" in error.remedy


DIVIDES = (
    "{% for s in services %}backend {{ s.slug }}\n{% for i in s.instances %}"
    "x {{ 100 // (i.meta.n|int) }} {{ {'1': 'one', '2': 'two', '0': 'none'}[i.meta.n] }}\n"
    "{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize("bad", ["0", "3"])
def test_data_that_makes_a_template_fail_costs_its_instance(bad: Any) -> None:
    lb = balancer(
        backend("a", server(1, meta=(("n", "1"),))),
        backend("b", server(2, meta=(("n", bad),)), server(3, meta=(("n", "2"),))),
    )
    config, (problem,) = renderer(DIVIDES).render(lb)
    assert config.files[0].text == "backend a\nx 100 one\nbackend b\nx 50 two\n"
    assert (problem.service, problem.instance, problem.dropped) == ("b", "id-2", True)
    assert (problem.template, problem.line) == ("t.j2", 2)
    assert "t.j2" not in problem.what
    assert problem.what.startswith("makes the template fail: ")


def test_a_service_that_fails_even_without_instances_is_left_out() -> None:
    lb = balancer(*(backend(n, tags=(n,)) for n in ("1", "2", "0")))
    text = "{% for s in services %}{{ 8 // (s.tags[0]|int) }}\n{% endfor %}"
    config, (problem,) = renderer(text).render(lb)
    assert config.files[0].text == "8\n4\n"
    assert (problem.service, problem.instance) == ("0", "")


def test_a_template_that_fails_for_most_is_to_blame() -> None:
    lb = balancer(backend("a", *(server(n, meta=(("n", "0"),)) for n in (1, 2, 3))))
    assert "ZeroDivisionError" in fails(DIVIDES, lb).what


def test_an_undefined_name_is_never_blamed_on_data() -> None:
    lb = balancer(backend("a", server(1)), backend("b", server(2)), backend("c", server(3)))
    text = "{% for s in services %}{% if s.name == 'b' %}{{ nope }}{% endif %}{% endfor %}"
    assert "'nope' is undefined" in fails(text, lb).what


def test_a_failing_template_leaves_the_reason_when_it_fails_with_nothing() -> None:
    assert (
        "nothing to print" in fails("{{ service('web').instances|d(none, true) }}", balancer()).what
    )


def test_a_secret_is_known_as_quote_writes_it() -> None:
    config, _ = renderer("x", secrets=('"', "a b")).render(WEB)
    assert config.secrets == (r"a\x20b", r"\x22", "a b", r"\"", '"')
    assert config.masked(r'a\x20b "a b"') == "***** ***************"
