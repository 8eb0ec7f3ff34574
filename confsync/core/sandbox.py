"""Jinja2 as confsync runs it: sandboxed, strict, by allow-lists; no text makes a line or a word.

Opaque texts refuse by themselves (untrusted.py). What is left to do here: answer quickly for our own
views, reach nothing else by attribute, and take away what makes white space or control characters of
harmless text and numbers (`"%c" % 10`, wordwrap, center, to_bytes, encode, unescape ...).
Nothing in here knows which files are rendered (rendering.py).
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from jinja2 import filters, nodes, sandbox, tests
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from confsync.core import naming, quoting, views
from confsync.core.untrusted import Missing, Opaque, Placeholder, Refusing, reveal
from confsync.domain.rendered import Language

LONGEST_REPEAT = 1_000
"""Characters or items that `*` may make."""

_ON_TEXT = frozenset({"upper", "title", "capitalize", "trim", "truncate", "reverse", "string"})
_ON_LISTS = frozenset(
    {"batch", "slice", "count", "length", "first", "last", "list", "sort", "unique"}
    | {"dictsort", "items", "groupby", "map", "select", "reject", "selectattr", "rejectattr"}
    | {"min", "max", "sum"}
)
_TAKES_OPAQUE = frozenset({"map", "select", "reject", "selectattr", "rejectattr"})
_BUILT_IN = _ON_TEXT | _ON_LISTS | {"lower", "int", "float", "abs", "round"}

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
_FORMAT = re.compile(r"%(?:\([A-Za-z0-9_]*\))?[-+ 0#]*[0-9]{0,2}(?:\.[0-9]{1,2})?[sdixXf%]")
_CUT = re.compile(r"[\\\"']")
_SPACE = re.compile(r"[^A-Za-z0-9_.:/@=,+~-]")


class Forbidden(jinja2.TemplateRuntimeError):
    """A template does what could turn harmless text into white space, or prints what is no text."""


class Unlucky(Forbidden):
    """The same, but it depends on the data: with other values the template is right."""


class NoItem(jinja2.UndefinedError):
    """A list or table lacks what was looked up."""


def printable(value: Any) -> Any:
    """Let text and numbers through to the output, and say what else cannot be printed."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if isinstance(value, Refusing):
        return str(value)
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises with the name
    if value is None:
        raise Unlucky("nothing to print (none): use |default(..., true) or test for it")
    if isinstance(value, str | float) or (isinstance(value, int) and kind is not bool):
        return value
    raise Forbidden(f"{views.article(_kind(value))} cannot be printed: name what of it you want")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "truth value"
        case views.View():
            return value.KIND
        case dict() | Mapping():
            return "table"
        case tuple() | list():
            return "list"
        case _:
            return "function or object"


def _whole(text: object) -> None:
    """Keep what `quote` made whole: a cut could end a quotation elsewhere."""
    if isinstance(text, str) and _CUT.search(text):
        raise Unlucky("a text with quoting in it cannot be cut or changed: print it as it is")


def _inert(text: object, where: str) -> None:
    if isinstance(text, str) and _SPACE.search(text):
        raise Forbidden(f"{where} could make words of a text: write a loop instead")


def _refusing(values: tuple[object, ...], depth: int = 2) -> Refusing | None:
    """Find a refusing value among arguments and what they hold."""
    for value in values:
        if isinstance(value, Refusing):
            return value
        if depth and isinstance(value, list | tuple):
            found = _refusing(tuple(value), depth - 1)
        elif depth and isinstance(value, dict):
            found = _refusing((*value.keys(), *value.values()), depth - 1)
        else:
            continue
        if found is not None:
            return found
    return None


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap one of Jinja2's filters: opaque values refuse, and an error about them is a refusal."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    cuts = name in _ON_TEXT - {"string"} or name in {"first", "last", "list", "batch", "slice"}

    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        value = args[first]
        if isinstance(value, Refusing):
            return str(value)
        if name not in _TAKES_OPAQUE:
            for argument in (*args[first + 1 :], *kwargs.values()):
                if isinstance(argument, Refusing):
                    return str(argument)
        if cuts:
            _whole(value)
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError):
            if found := _refusing((*args[first:], *kwargs.values())):
                return str(found)
            raise

    return filtered


def _string(value: Any) -> str:
    return str(printable(value))


def _default(value: Any, fallback: Any = "", boolean: bool = False) -> Any:
    """Replace what is undefined or none; with `boolean` what is empty too.

    Unlike Jinja2's, none counts as missing: `meta.get("x")|default("y")` is what one means.
    """
    if value is None or isinstance(value, jinja2.Undefined | Missing):
        return fallback
    return fallback if boolean and not value else value


def _defined(value: Any) -> bool:
    return not isinstance(value, jinja2.Undefined | Missing)


@jinja2.pass_environment
def _join(
    environment: jinja2.Environment, value: Any, d: Any = "", attribute: str | int | None = None
) -> str:
    if isinstance(value, str):
        raise Forbidden("join wants a list, not a text")
    if isinstance(value, Refusing):
        return str(value)
    if attribute is not None:
        value = map(filters.make_attrgetter(environment, attribute), value)
    return _string(d).join(_string(x) for x in value)


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, wanted, instead = _string(value), _string(old), _string(new)
    _whole(text)
    _inert(instead, "replacing by white space or a sign of the language")
    if not wanted:
        raise Forbidden("replace wants a text to look for")
    return text.replace(wanted, instead, -1 if count is None else count)


def _cut(value: Any, start: Any, stop: Any, step: Any) -> Any:
    if isinstance(value, Refusing):
        return str(value)
    _whole(value)
    if found := _refusing((start, stop, step)):
        return str(found)
    return value[start:stop:step]


def _within(value: Any, container: Any) -> Any:
    """Answer `in` for opaque texts too, which a str itself would refuse with a TypeError."""
    if isinstance(value, Opaque) and isinstance(container, str):
        return reveal(value) in container
    return value in container


def _format(text: str, values: Any) -> str:
    if "%" in _FORMAT.sub("", text):
        raise Forbidden("% takes only %s, %d, %x and %f here, at most 99 wide")
    made: str = text % values
    return made


def _multiplied(left: Any, right: Any) -> Any:
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(times, int):
            if len(one) * times > LONGEST_REPEAT:
                raise Unlucky(f"* may make at most {LONGEST_REPEAT} characters or items")
            _whole(one)
    return left * right


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int | float) and isinstance(right, int | float):
        if abs(left) > 10**6 or abs(right) > 64:
            raise Unlucky("** is for small numbers")
        return left**right
    return _refused_or_raise(left, right)


def _refused_or_raise(*values: object) -> Any:
    if found := _refusing(values):
        return str(found)
    raise TypeError("** wants numbers")


def _quote_for(language: Language) -> Callable[[Any], str]:
    def quote(value: Any) -> str:
        if isinstance(value, Opaque):
            try:
                return quoting.quote(reveal(value), language)
            except quoting.Unquotable as error:
                return value.refuse(str(error))
        if isinstance(value, Refusing):
            return str(value)
        try:
            return quoting.quote(_string(value), language, trusted=True)
        except quoting.Unquotable as error:
            raise Unlucky(f"cannot quote this text: it {error}") from None

    return quote


class _Rewriter(NodeTransformer):
    """Route what Jinja2 compiles to bare Python through our filters and tests."""

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - Jinja2's names
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


class Environment(sandbox.SandboxedEnvironment):
    """The environment of all templates of one language."""

    intercepted_binops = frozenset({"%", "*", "**"})

    def __init__(self, language: Language, includes: Mapping[str, str]) -> None:
        super().__init__(
            loader=jinja2.DictLoader(dict(includes)),
            undefined=jinja2.StrictUndefined,
            finalize=printable,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        )
        self.filters = {
            name: _guarded(name, filters.FILTERS[name]) for name in _BUILT_IN - {"string"}
        }
        self.filters |= {
            "string": _string,
            "default": _default,
            "d": _default,
            "join": _join,
            "replace": _replace,
            "format": lambda text, *values: _format(_string(text), values),
            "cut": _cut,
            "quote": _quote_for(language),
        }
        self.tests = {
            **tests.TESTS,
            "in": _within,
            "defined": _defined,
            "undefined": lambda value: not _defined(value),
            "ip": lambda value: isinstance(value, str) and naming.is_ip(value),
            "host_label": lambda value: isinstance(value, str) and naming.is_host_label(value),
        }
        del self.globals["lipsum"]  # random
        self.binop_table |= {"*": _multiplied, "**": _power}

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
            return _format(left, right)
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
        return self.undefined(hint=f"{views.article(_kind(obj))} has no {attribute!r} here")

    def _method(self, text: str, name: str) -> Any:
        if name in _CUTTING:
            _whole(text)
        elif name == "join":
            return lambda values: _join(self, values, text)
        elif name == "replace":
            return functools.partial(_replace, text)
        elif name not in _METHODS:
            return self.undefined(hint=f"a text has no {name!r} here")
        method = getattr(text, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if found := _refusing((*args, *kwargs.values())):
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
            _whole(obj)
        if isinstance(obj, str | list | tuple | Mapping):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                return self.undefined(obj=obj, name=argument, exc=NoItem)
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call; an error about an opaque argument is a refusal."""
        if isinstance(obj, Placeholder):
            return obj
        try:
            return super().call(context, obj, *args, **kwargs)
        except TypeError:
            if found := _refusing((*args, *kwargs.values())):
                return str(found)
            raise
