"""Jinja2's filters and operators as templates get them: an allow-list that makes no white space.

Opaque texts refuse by themselves (untrusted.py); the rest is kept from what makes words, lines or
control characters of harmless text and numbers (`"%c" % 10`, wordwrap, center ...). What a template
can reach by attribute, item and call is sandbox.py's business.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from jinja2 import filters, tests

from confsync.core import naming, quoting, views
from confsync.core.untrusted import Missing, Opaque, Refusing, reveal
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
    raise Forbidden(f"{views.article(kind_of(value))} cannot be printed: name what of it you want")


def kind_of(value: object) -> str:
    """Name what a value is, for messages."""
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


def whole(text: object) -> None:
    """Keep what `quote` made whole: a cut could end a quotation elsewhere."""
    if isinstance(text, str) and _CUT.search(text):
        raise Unlucky("a text with quoting in it cannot be cut or changed: print it as it is")


def _inert(text: object, where: str) -> None:
    if isinstance(text, str) and _SPACE.search(text):
        raise Forbidden(f"{where} could make words of a text: write a loop instead")


def refusing(values: tuple[object, ...], depth: int = 2) -> Refusing | None:
    """Find a refusing value among arguments and what they hold."""
    for value in values:
        if isinstance(value, Refusing):
            return value
        if depth and isinstance(value, list | tuple):
            found = refusing(tuple(value), depth - 1)
        elif depth and isinstance(value, dict):
            found = refusing((*value.keys(), *value.values()), depth - 1)
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
            whole(value)
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError):
            if found := refusing((*args[first:], *kwargs.values())):
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
def join(
    environment: jinja2.Environment, value: Any, d: Any = "", attribute: str | int | None = None
) -> str:
    """Join the items of a list, each as it would be printed."""
    if isinstance(value, str):
        raise Forbidden("join wants a list, not a text")
    if isinstance(value, Refusing):
        return str(value)
    if attribute is not None:
        value = map(filters.make_attrgetter(environment, attribute), value)
    return _string(d).join(_string(x) for x in value)


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Replace a part of a text by harmless signs."""
    text, wanted, instead = _string(value), _string(old), _string(new)
    whole(text)
    _inert(instead, "replacing by white space or a sign of the language")
    if not wanted:
        raise Forbidden("replace wants a text to look for")
    return text.replace(wanted, instead, -1 if count is None else count)


def _cut(value: Any, start: Any, stop: Any, step: Any) -> Any:
    if isinstance(value, Refusing):
        return str(value)
    whole(value)
    if found := refusing((start, stop, step)):
        return str(found)
    return value[start:stop:step]


def _within(value: Any, container: Any) -> Any:
    """Answer `in` for opaque texts too, which a str itself would refuse with a TypeError."""
    if isinstance(value, Opaque) and isinstance(container, str):
        return reveal(value) in container
    return value in container


def format_text(text: str, values: Any) -> str:
    """Format with `%`, but only what makes no control characters."""
    if "%" in _FORMAT.sub("", text):
        raise Forbidden("% takes only %s, %d, %x and %f here, at most 99 wide")
    made: str = text % values
    return made


def multiplied(left: Any, right: Any) -> Any:
    """Multiply, or repeat within bounds."""
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(times, int):
            if len(one) * times > LONGEST_REPEAT:
                raise Unlucky(f"* may make at most {LONGEST_REPEAT} characters or items")
            whole(one)
    return left * right


def power(left: Any, right: Any) -> Any:
    """Raise small numbers to a power."""
    if isinstance(left, int | float) and isinstance(right, int | float):
        if abs(left) > 10**6 or abs(right) > 64:
            raise Unlucky("** is for small numbers")
        return left**right
    return _refused_or_raise(left, right)


def _refused_or_raise(*values: object) -> Any:
    if found := refusing(values):
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


def of_language(language: Language) -> dict[str, Callable[..., Any]]:
    """Give all filters by name."""
    known = {name: _guarded(name, filters.FILTERS[name]) for name in _BUILT_IN - {"string"}}
    return known | {
        "string": _string,
        "default": _default,
        "d": _default,
        "join": join,
        "replace": replace,
        "format": lambda text, *values: format_text(_string(text), values),
        "cut": _cut,
        "quote": _quote_for(language),
    }


_KNOWN: Mapping[str, Any] = tests.TESTS
TESTS: dict[str, Callable[..., Any]] = {
    **_KNOWN,
    "in": _within,
    "defined": _defined,
    "undefined": lambda value: not _defined(value),
    "ip": lambda value: isinstance(value, str) and naming.is_ip(value),
    "host_label": lambda value: isinstance(value, str) and naming.is_host_label(value),
}
