"""Jinja2's environment as confsync runs it: sandboxed, strict, and quick for our own views.

A template reaches fields, items and methods by allow-list only. Filters and operators are in
filters.py; which files are rendered, in rendering.py.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import jinja2
from jinja2 import nodes, sandbox
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from confsync.core import effort, filters, fragments, memory, views
from confsync.core.filters import NoItem
from confsync.core.untrusted import Opaque, Placeholder, Refusing
from confsync.domain.rendered import Language

_METHODS = frozenset(
    {"startswith", "endswith", "isdigit", "isalpha", "isalnum", "isdecimal", "isupper", "islower"}
    | {"count", "find", "rfind", "index", "rindex", "lower", "casefold"}
)
_CUTTING = frozenset(
    {"upper", "strip", "lstrip", "rstrip", "split", "rsplit", "partition", "rpartition"}
    | {"removeprefix", "removesuffix", "title", "capitalize", "swapcase", "splitlines"}
)
_OF_LISTS = frozenset({"append", "index", "count"})
_OF_DICTS = frozenset({"get", "items", "keys", "values"})


class _Rewriter(NodeTransformer):
    """Route what Jinja2 compiles to bare Python through our filters and tests."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja2's names
        """`for x in y`."""
        self.generic_visit(node)
        place: dict[str, Any] = {"lineno": node.lineno, "environment": node.environment}
        node.iter = nodes.Filter(node.iter, "walked", [], [], None, None, **place)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """`x in y`."""
        self.generic_visit(node)
        if len(node.ops) != 1 or node.ops[0].op not in {"in", "notin"}:
            return node
        place: dict[str, Any] = {"lineno": node.lineno, "environment": node.environment}
        test = nodes.Test(node.expr, "in", [node.ops[0].expr], [], None, None, **place)
        return test if node.ops[0].op == "in" else nodes.Not(test, **place)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """`x ~ y`: both as they would be printed."""
        self.generic_visit(node)
        place: dict[str, Any] = {"lineno": node.lineno, "environment": node.environment}
        node.nodes = [
            nodes.Filter(child, "string", [], [], None, None, **place) for child in node.nodes
        ]
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """`x[1:2]`."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        place: dict[str, Any] = {"lineno": node.lineno, "environment": node.environment}
        ends = [
            end if end is not None else nodes.Const(None, **place)
            for end in (node.arg.start, node.arg.stop, node.arg.step)
        ]
        return nodes.Filter(node.node, "cut", ends, [], None, None, **place)

    def _no_escaping(self, node: nodes.Node) -> nodes.Node:
        raise jinja2.TemplateSyntaxError("autoescape is for HTML: use |quote", node.lineno)

    visit_EvalContextModifier = visit_ScopedEvalContextModifier = _no_escaping  # noqa: N815


@jinja2.pass_context  # not for the context: it keeps Jinja2 from doing it once, when it compiles
def _walked(_: Context, values: Any) -> Any:
    """Count what a loop goes over: all at once where that is known, else as it goes."""
    if isinstance(values, Refusing | jinja2.Undefined):
        return values
    if isinstance(values, Sized):
        effort.spend(1 + len(values))
        return values
    return _counted(values)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        effort.spend()
        yield value


class _Context(Context):
    """Makes the views of all services only where a template names `services` itself."""

    def resolve_or_missing(self, key: str) -> Any:
        """Look up a name."""
        found = super().resolve_or_missing(key)
        return found.all() if isinstance(found, views.Services) else found


def _every(context: Context) -> Any:
    """Give all services without making their views."""
    return context.parent["services"]


class Environment(sandbox.SandboxedEnvironment):
    """The environment of all templates of one language."""

    context_class = _Context
    intercepted_binops = frozenset({"%", "*", "**"})

    def __init__(self, language: Language, includes: Mapping[str, str]) -> None:
        super().__init__(
            loader=jinja2.DictLoader(dict(includes)),
            undefined=jinja2.StrictUndefined,
            finalize=filters.printable,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        )
        self.filters = {**filters.of_language(language), "walked": _walked}
        self.tests = dict(filters.TESTS)
        # What `fragments.marked` compiles into templates.
        self.fragment = memory.fragment
        self.tests[fragments.KNOWN] = memory.known
        self.filters |= {
            fragments.EVERY: _every,
            fragments.REMEMBERED: memory.remembered,
            fragments.TAKEN: memory.taken,
        }
        del self.globals["lipsum"]  # random
        self.binop_table |= {"*": filters.multiplied, "**": filters.power}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        try:
            _Rewriter().visit(tree)
        except jinja2.TemplateSyntaxError as error:
            raise jinja2.TemplateSyntaxError(
                error.message or "", error.lineno, name, filename
            ) from None
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Format, repeat and raise within bounds."""
        if operator == "%" and isinstance(left, str):
            return filters.format_text(left, right)
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Give a field; answering for our own types first makes the sandbox cost nothing."""
        if isinstance(obj, views.View):
            if attribute in obj.FIELDS:
                return obj.field(attribute)  # type: ignore[attr-defined]
            return self.undefined(hint=obj.unknown(attribute))
        if isinstance(obj, views.MetaView):
            return getattr(obj, attribute) if attribute in _OF_DICTS else obj.field(attribute)
        if isinstance(obj, Placeholder):
            return obj
        if isinstance(obj, Refusing):
            if isinstance(obj, Opaque) and attribute in {"startswith", "endswith"}:
                return getattr(obj, attribute)
            return str(obj)
        if isinstance(obj, str):
            return self._method(obj, attribute)
        if isinstance(obj, Mapping):
            return (
                getattr(obj, attribute) if attribute in _OF_DICTS else self.getitem(obj, attribute)
            )
        if isinstance(obj, list | tuple):
            if attribute in _OF_LISTS or attribute in getattr(obj, "_fields", ()):  # groupby's
                return getattr(obj, attribute, None)
        elif type(obj).__module__.startswith("jinja2."):
            return super().getattr(obj, attribute)
        return self.undefined(
            hint=f"{views.article(filters.kind_of(obj))} has no {attribute!r} here"
        )

    def _method(self, text: str, name: str) -> Any:
        if name in _CUTTING:
            filters.whole(text)
        elif name == "join":
            return lambda values: filters.join(self, values, text)
        elif name == "replace":
            return functools.partial(filters.replace, text)
        elif name not in _METHODS:
            return self.undefined(hint=f"a text has no {name!r} here")
        method = getattr(text, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if found := filters.refusing((*args, *kwargs.values())):
                return str(found)
            return method(*args, **kwargs)

        return call

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Give an item, or a field by its name."""
        if isinstance(obj, views.View):
            if isinstance(argument, str) and argument in obj.FIELDS:
                return obj.field(argument)  # type: ignore[attr-defined]
            return self.undefined(hint=obj.unknown(argument))
        if isinstance(obj, views.MetaView):
            return obj.field(argument)
        if isinstance(obj, Placeholder):
            return obj
        if isinstance(obj, Refusing):
            return str(obj)
        if isinstance(obj, views.Variables):
            if isinstance(argument, str) and argument in obj:
                return obj[argument]
            return self.undefined(hint=obj.unknown(argument))
        if isinstance(argument, Refusing) and not isinstance(obj, Mapping):
            return str(argument)
        if isinstance(obj, str):
            filters.whole(obj)
        if isinstance(obj, str | list | tuple | Mapping):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                return self.undefined(obj=obj, name=argument, exc=NoItem)
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call; an error about an opaque argument is a refusal."""
        effort.spend()
        if isinstance(obj, Placeholder):
            return obj
        try:
            return super().call(context, obj, *args, **kwargs)
        except TypeError:
            if found := filters.refusing((*args, *kwargs.values())):
                return str(found)
            raise
