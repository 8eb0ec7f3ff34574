"""Templates that try to make lines and words of the registry's text, and the law they must obey."""

from confsync.core.rendering import Renderer
from confsync.domain.catalog import Status
from confsync.domain.loadbalancer import Backend, LoadBalancer, Server
from confsync.domain.rendered import Language, Template, TemplateSet

NASTY = (
    "a b", "a\nb", "a\rb", "", "-f", "%[src]", "100%", "a'b", 'a"b', "a\\b", "\u2028", "\x85", "a\0b",
    "{{ 7 }}", "{% raw %}", "a#b", "# a", "${HOME}", "a;b}", "\ud800", "x" * 2000,
    "a b\nserver evil 1.2.3.4:80", "b\x1b[2J", "\x20", "\\", "é", "a", "abc", "10", "-1", "0x1f",
)  # fmt: skip

# What fails with harmless text must fail with every text, and change nothing.
WRONG = r"""
{{ t % 1 }}
{{ t|format(1) }}
{{ t|join }}
{{ t|abs }}
{{ t|round }}
{{ [t]|sum(start="") }}
{{ range(3)[t] }}
{{ range(t)|list|length }}
{{ i.meta.nope }}
{{ -t }}
{{ t.format(1) }}
{{ t.encode() }}
{{ t._hidden }}
{{ t.__class__ }}
{{ i.source }}
{{ s._values }}
{{ i._service }}
{{ t is string }}
{{ i }}
{{ s.tags }}
{{ i.meta }}
{{ "z" ~ s }}
{{ "z" ~ i.tags }}
{{ "%s" % s }}
{{ "%s"|format(s.tags) }}
{{ "%s" % vars }}
{{ none }}
{{ nope }}
{{ services }}
{{ service }}
{{ t|wordwrap(1) }}
{{ t|center(9) }}
{{ t|indent }}
{{ t|urlize }}
{{ t|pprint }}
{{ t|tojson }}
{{ t|xmlattr }}
{{ [t]|random }}
{{ t|safe }}
{{ t|escape }}
{{ t|attr("x") }}
{{ t|replace("a", " ") }}
{{ t|replace("", "z") }}
{{ t.replace("a", "\n") }}
{{ t.ljust(9) }}
{{ t.center(9) }}
{{ t.expandtabs() }}
{{ t.translate({}) }}
{{ "%c" % 10 }}
{{ "%c"|format(10) }}
{{ "%r" % t }}
{{ "%*d" % (9, 9) }}
{{ "%999d" % 9 }}
{{ "{:c}".format(10) }}
{{ " " * 9999 }}
{{ [1] * 9999 }}
{{ 9 ** 99 }}
{{ (10).to_bytes(1, "big").decode() }}
{{ lipsum() }}
{{ cycler.__init__ }}
{{ service.__globals__ }}
{{ service(1) }}
{{ path(1) }}
{{ path(t) }}
{{ vars.nope }}
{{ target.nope }}
{{ confsync.nope }}
{% autoescape true %}{{ t }}{% endautoescape %}
{% include t %}
{% include "nope" %}
{% import t as z %}
""".strip().split("\n")

# Bodies of `{% for s in services %}{% for i in s.instances %}{% for t in TEXTS %}BODY`, where t is an
# untrusted text. Each is one line with some words of its own.
BODIES = """
x {{ t }} y
x {{ t ~ "z" }} y
x {{ "z" ~ t ~ i.port }} y
x {{ t + "z" }} y
x {{ "z" + t }} y
x {{ t * 2 }} y
x {{ 2 * t }} y
x {{ "%s" % t }} y
x {{ "%s-%s" % (t, i.port) }} y
x {{ "%(a)s" % dict(a=t) }} y
x {{ "%s"|format(t) }} y
x {{ t|upper }} y
x {{ t|lower }} y
x {{ t|title }} y
x {{ t|capitalize }} y
x {{ t|trim }} y
x {{ t|string }} y
x {{ t|truncate(5) }} y
x {{ t|truncate(5, true, "") }}z y
x {{ t|reverse }} y
x {{ t|replace("a", "b") }} y
x {{ "zaz"|replace("a", t) }} y
x {{ t|default("z") }} y
x {{ none|default(t) }} y
x {{ nope|default(t) }} y
x {{ [t, t]|join("-") }} y
x {{ [t, "z"]|join }} y
x {{ ["z", "w"]|join(t) }} y
x {{ i.tags|join("-") }} y
x {{ s.tags|join(",") }} y
x {{ [i]|map(attribute="id")|join }} y
x {{ [t]|map("upper")|join }} y
x {{ [t]|map("replace", "a", "b")|join }} y
x {{ [t]|map("string")|list|first }} y
x {{ [t]|first }}{{ [t]|last }} y
x {{ [t]|sort|first }} y
x {{ [t, "z"]|unique|list|length }} y
x {{ [t]|select("string")|list|length }} y
x {{ [t]|max }}{{ [t]|min }} y
x {{ [t]|batch(2)|first|first }} y
x {{ (t,)|slice(1)|first|first }} y
x {{ t|list|length }} y
x {{ t|length }} y
x {{ t|int }} y
x {{ t|float }} y
x z{{ t[1:] }} y
x z{{ t[:5] }} y
x z{{ t[::-1] }} y
x z{{ t[:] }} y
x {{ t.upper() }} y
x z{{ t.strip("a") }} y
x z{{ t.lstrip("abc") }} y
x {{ t.replace("a", "b") }} y
x {{ "zaz".replace("a", t) }} y
x {{ "-".join([t, t]) }} y
x {{ t.join(["z", "w"]) }} y
x {{ t.split("a")|join("-") }}z y
x {{ t.partition("a")|join }} y
x z{{ t.removeprefix("a") }} y
x {{ t.casefold() }}{{ t.swapcase() }} y
x {{ t.startswith("a")|string if false else "z" }} y
x {{ "z" if "a" in t else "w" }} y
x {{ "z" if t in "abc" else "w" }} y
x {{ "z" if t not in ["a"] else "w" }} y
x {{ "z" if t == "a" else "w" }} y
x {{ "z" if t < "m" else "w" }} y
x {{ "z" if t else "w" }} y
x {{ {"a": "b"}[t]|default("z") }} y
x {{ {"a": "b"}.get(t, "z") }} y
x {{ {t: "z"}[t] }} y
x {{ {t: "z"}|items|list|first|join }} y
x {{ dict(a=t).a }} y
x {{ dict(a=t)|dictsort|first|last }} y
x {{ m(t) }} y
x {{ m(t)|upper }} y
x {{ m(t) ~ m(t) }} y
x {% set v %}{{ t }}{% endset %}{{ v }} y
x {% set v %}{{ t }}{% endset %}z{{ v[1:] }} y
x {% set v = t ~ "" %}{{ v }} y
x {% set ns = namespace(v=t) %}{{ ns.v }} y
x {% filter upper %}{{ t }}{% endfilter %} y
x {% filter replace("a", t) %}zaz{% endfilter %} y
x {% call c() %}{{ t }}{% endcall %} y
x {% call(v) d(t) %}{{ v }}{% endcall %} y
x {% include "inc" %} y
x {% import "lib" as lib %}{{ lib.m(t) }} y
x {% for c in t %}{{ c }}{% endfor %} y
x {% for c in t|list %}{{ c }}{% endfor %} y
x {% for c in [t]|map("list")|first %}{{ c }}{% endfor %} y
x {% set l = [] %}{% do l.append(t) %}{{ l|join }} y
x {% with v = t %}{{ v }}{% endwith %} y
x {{ cycler(t, "z").next() }} y
x {{ joiner(t)() }}z y
x {{ loop.cycle(t, t) }} y
x {{ s.name }} y
x {{ i.id }} y
x {{ i.node }}{{ i.datacenter }} y
x {{ i.meta.k }} y
x {{ i.meta["k"] }} y
x {{ i.meta.get("k") }} y
x {{ i.meta.nope|default("z") }} y
x {{ "z" if i.meta.nope is defined else "w" }} y
x {% for k in i.meta %}{{ k }}{% endfor %} y
x {% for k, v in i.meta.items() %}{{ k }}={{ v }}{% endfor %} y
x {% for k, v in i.meta|items %}{{ k }}={{ v }}{% endfor %} y
x {% for k, v in i.meta|dictsort %}{{ k }}={{ v }}{% endfor %} y
x {{ i.meta.values()|join }} y
x {{ i.meta|list|join }} y
x {% for g in s.instances|groupby("id") %}{{ g.grouper }}{% endfor %} y
x {% for g, l in s.instances|groupby("node") %}{{ g }}{% endfor %} y
x {{ s.instances|map(attribute="meta.k")|join("-") }} y
x z{{ s.instances|selectattr("id", "equalto", t)|map(attribute="id")|join }} y
x {{ services|map(attribute="name")|join("-") }} y
x {{ service(t).name }} y
x {{ service(t).slug }} y
x {{ t|quote }} y
x {{ [t]|map("quote")|join }} y
x {{ "z" ~ t|quote }} y
x {{ m(t|quote) }} y
x {% set v %}{{ t|quote }}{% endset %}{{ v }} y
x {{ t|quote|lower }} y
x {{ t|quote|upper }} y
x z{{ (t|quote)[:4] }}9 y
x {{ t|quote|replace("x20", "x0a") }} y
x {{ "%d"|format(t|int) }} y
x {{ "%x" % (t|int) }} y
x {{ "z" if t is string else "w" }} y
""".strip().split("\n")

PRELUDE = """\
{%- macro m(v) %}{{ v }}{% endmacro %}
{%- macro c() %}{{ caller() }}{% endmacro %}
{%- macro d(v) %}{{ caller(v) }}{% endmacro -%}
"""
INCLUDES = {"inc": "{{ t }}", "lib": "{% macro m(v) %}{{ v }}{% endmacro %}"}
ALL_SOURCES = "(s.name, s.tags[0], i.id, i.meta.k, i.tags[0])"


def source(body: str, text: str) -> str:
    return (
        f"{PRELUDE}begin\n{{% for s in services %}}{{% for i in s.instances %}}"
        f"{{% for t in {text} %}}{body} {{{{ s.slug }}}}/{{{{ i.server }}}}\n"
        "{% endfor %}{% endfor %}{% endfor %}end\n"
    )


def renderer(body: str, text: str = "", language: Language = Language.HAPROXY) -> Renderer:
    """Render `body` for the untrusted `text`, or for one of each kind."""
    template = Template(
        name="t",
        text=source(body, f"({text},)" if text else ALL_SOURCES),
        destination="/t",
        seen_as="/t",
        language=language,
    )
    return Renderer(TemplateSet(templates=(template,), includes=INCLUDES), version="1")


def balancer(texts: dict[str, str]) -> LoadBalancer:
    """Two good services and, between them, one of two servers with these texts."""

    def backend(name: str, slug: str, *ids: str, **more: str) -> Backend:
        made = tuple(
            Server(
                server=f"10.0.0.{n}:80",
                server_id=70_000 + n,
                address=f"10.0.0.{n}",
                port=80,
                status=Status.PASSING,
                weight=1,
                id=name_,
                tags=(more.get("tag", "t"),) if n == 1 else ("t",),
                meta=((more.get("key", "k"), more.get("value", "v")), ("k", more.get("value", "v")))
                if n == 1
                else (("k", "v"),),
                node=more.get("node", "n"),
                datacenter="dc",
            )
            for n, name_ in enumerate(ids, 1)
        )
        tags = tuple(sorted({tag for i in made for tag in i.tags}))
        return Backend(name=name, slug=slug, tags=tags, instances=made)

    return LoadBalancer(
        backends=(
            backend("a", "a", "a1", "a2"),
            backend(
                texts["name"],
                "hostile",
                texts["id"],
                "h2",
                **{k: texts[k] for k in texts if k not in {"name", "id"}},
            ),
            backend("z", "z", "z1", "z2"),
        )
    )


BENIGN = {"name": "hhh", "id": "iii", "tag": "ttt", "key": "kkk", "value": "vvv", "node": "nnn"}


def shape(text: str) -> list[tuple[int, str]]:
    """Number of words of each line, and which server it is about."""
    assert text.split("\n") == [*text.splitlines(), ""]
    assert all(c.isprintable() or c == "\n" for c in text)
    return [(len(line.split()), line.split()[-1]) for line in text.splitlines()]


def check(made: Renderer, benign: list[tuple[int, str]], texts: dict[str, str]) -> str:
    """Hold the law for one template and one set of texts. Returns what happened."""
    config, problems = made.render(balancer(texts))
    found = shape(config.files[0].text)
    kept = [line for line in benign if line in found]
    assert found == kept, texts
    left_out = [line for line in benign if line not in kept]
    assert all(who.startswith("hostile/") for _, who in left_out)
    assert bool(problems) == bool(left_out)
    assert all(p.dropped and p.template for p in problems)
    for problem in problems:
        assert (problem.what + problem.service + problem.instance).isprintable()
    return "dropped" if left_out else "kept"
