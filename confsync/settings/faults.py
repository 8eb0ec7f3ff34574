"""How a fault in the settings reads: where, key, value, what is wrong, what to do.

    confsync.toml:7: [target] config = "/etc": names a folder; write the path of a file

A value is left out where it may be a secret: under keys that sound like one and unknown keys (which
may be a misspelt one of those), in an address that carries credentials.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from confsync.domain import printable
from confsync.settings import positions, sources
from confsync.settings.model import Settings

_SECRET = re.compile(
    r"token|password|passwd|secret|credential|(?:^|_)key(?:_|$)|auth", re.IGNORECASE
)
_LONGEST = 80
_UNIONS = ("source", "target")
_NUMBER = "write a number without quotes; times are in seconds"

# pydantic's kind of fault -> what is wrong, remedy; braces take its context.
_WORDS = {
    "missing": ("is missing", "add it"),
    "bool_parsing": ("must be true or false", "write it without quotes"),
    "bool_type": ("must be true or false", "write it without quotes"),
    "float_parsing": ("must be a number", _NUMBER),
    "float_type": ("must be a number", _NUMBER),
    "finite_number": ("must be a finite number", "write a number"),
    "int_parsing": ("must be a whole number", _NUMBER),
    "int_type": ("must be a whole number", _NUMBER),
    "int_from_float": ("must be a whole number", "leave the fraction out"),
    "string_type": ("must be a text", "put it in quotes"),
    "tuple_type": ("must be a list", 'write it in brackets, as ["a", "b"]'),
    "dict_type": ("must be a table", "write its keys under a head of its own"),
    "model_type": ("must be a table", "write its keys under a head of its own"),
    "model_attributes_type": ("must be a table", "write its keys under a head of its own"),
    "too_short": ("has too few items", "write at least {min_length}"),
    "too_long": ("has too many items", "write at most {max_length}"),
    "greater_than": ("is too small", "it must be above {gt:g}"),
    "greater_than_equal": ("is too small", "it must be at least {ge:g}"),
    "less_than": ("is too large", "it must be below {lt:g}"),
    "less_than_equal": ("is too large", "it may be at most {le:g}"),
    "literal_error": ("is not one of its values", "use {expected}"),
    "enum": ("is not one of its values", "use {expected}"),
    "union_tag_invalid": ("is no known type", "use {expected_tags}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `path`: of the key, without pydantic's names for the types of a union."""

    path: positions.Path
    value: object = None
    what: str
    remedy: str
    secret: bool = False

    def placed(self, file: sources.File, names: dict[positions.Path, str]) -> tuple[int, str]:
        """Give the line to sort by, and the whole text. `names`: the variables that were taken."""
        line = positions.line_of(self.path, file.lines)
        name = next((names[path] for path in _prefixes(self.path) if path in names), "")
        if name:
            where = printable.printable(name)
        elif file.path:
            where = printable.printable(file.path) + (f":{line}" if line else "")
        else:
            where = "settings"
        return line, f"{where}: {self._key()}{self._shown()}: {self.what}; {self.remedy}"

    def _key(self) -> str:
        match self.path:
            case (table,):
                return f"[{_plain(table)}]"
            case ("template", int() as index):
                return f"[[template]] number {index + 1}"
            case ("template", int(), "vars", *rest) if rest:
                return f"[template.vars] {_plain(*rest)}"
            case ("template", int(), *rest):
                return f"[[template]] {_plain(*rest)}"
            case (table, *rest):
                return f"[{_plain(table)}] {_plain(*rest)}"
            case _:
                return "the whole"

    def _shown(self) -> str:
        if self.secret or self.value is None or any(_secret(part) for part in self.path):
            return ""
        if isinstance(self.value, dict) or (
            isinstance(self.value, list) and any(isinstance(item, dict) for item in self.value)
        ):
            return ""
        return f" = {_literal(self.value)}"


def of(error: ValidationError, merged: dict[str, Any]) -> Iterator[Fault]:
    """Turn pydantic's errors into faults. `merged`: what was validated."""
    each_error = error.errors(include_url=False, include_input=False)
    holders = {each["loc"][:-1] for each in each_error}
    for each in each_error:
        if each["type"] == "too_short" and each["loc"] in holders:
            continue  # only because its items have faults
        path: positions.Path = each["loc"]
        if len(path) > 1 and path[0] in _UNIONS:
            path = (path[0], *path[2:])
        kind, context = each["type"], each.get("ctx", {})
        if kind == "extra_forbidden":
            yield _unknown_key(path, merged)
        elif kind == "confsync":
            yield Fault(
                path=path,
                value=_value(merged, path),
                what=context["what"],
                remedy=context["remedy"],
                secret=context["secret"],
            )
        else:
            if kind.startswith("union_tag"):
                path = (*path, "type")
            what, remedy = _WORDS.get(kind, (each["msg"], "see the settings page"))
            quoted = {
                key: re.sub(r"'([^']*)'", r'"\1"', value) if isinstance(value, str) else value
                for key, value in context.items()
            }
            if path == ("template",):
                remedy = "write its head as [[template]]"
            value = _value(merged, path)
            yield Fault(path=path, value=value, what=what, remedy=remedy.format_map(quoted))


def unknown_variable(name: str) -> str:
    """Word the fault of a variable that looks like a setting and is none."""
    known = [
        f"{sources.PREFIX}{table}__{key}".upper()
        for table, types in Settings.tables().items()
        if table != "template"
        for key in _keys(types)
    ]
    known += [
        f"CONFSYNC_TEMPLATE__0__{key}".upper() for key in _keys(Settings.tables()["template"])
    ]
    near = difflib.get_close_matches(name.upper(), known, 1, 0)[0]
    return f"{printable.printable(name)}: is no setting; did you mean {near}? Else unset it"


def _unknown_key(path: positions.Path, merged: dict[str, Any]) -> Fault:
    tables = Settings.tables()
    key, table = str(path[-1]), str(path[0])
    if len(path) == 1:
        is_table = isinstance(merged[table], dict | list)
        what = "is no table of confsync" if is_table else "stands outside every table"
        return Fault(path=path, secret=True, what=what, remedy=_nearest_table(key))
    types = tables[table]
    for each in types:
        if key in each.model_fields:
            of_type = each.model_fields["type"].annotation
            only = str(getattr(of_type, "__args__", ("",))[0])
            type_now = merged[table].get("type")
            what = f'has no meaning for type = "{type_now}"'
            remedy = f'remove it, or set type = "{only}"'
            return Fault(path=path, secret=True, what=what, remedy=remedy)
    near = difflib.get_close_matches(key, _keys(types), 1)
    homes = [_head(name) for name, others in tables.items() if key in _keys(others)]
    if near:
        remedy = f"did you mean {near[0]}?"
    elif homes:
        remedy = f"did you mean to write it under {homes[0]}?"
    else:
        closest = difflib.get_close_matches(key, _keys(types), 1, 0)[0]
        remedy = f"the nearest name is {closest}; known are {', '.join(_keys(types))}"
    return Fault(path=path, secret=True, what="unknown key", remedy=remedy)


def _nearest_table(name: str) -> str:
    tables = Settings.tables()
    for table, types in tables.items():
        if name in _keys(types):
            return f"did you mean to write it under {_head(table)}?"
    return f"did you mean {_head(difflib.get_close_matches(name, tables, 1, 0)[0])}?"


def _head(table: str) -> str:
    return "[[template]]" if table == "template" else f"[{table}]"


def _keys(types: Iterable[type[Any]]) -> list[str]:
    return list(dict.fromkeys(key for each in types for key in each.model_fields))


def _value(merged: Any, path: positions.Path) -> object:
    for part in path:
        try:
            merged = merged[part]
        except (KeyError, IndexError, TypeError):
            return None
    return merged


def _secret(part: str | int) -> bool:
    return isinstance(part, str) and _SECRET.search(part) is not None


def _plain(*parts: str | int) -> str:
    """Write a key as TOML would, an index in brackets behind it."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += ("." if text else "") + (part if bare else _literal(part))
    return text


def _literal(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return printable.shortened(printable.printable(text), _LONGEST)


def _prefixes(path: positions.Path) -> Iterator[positions.Path]:
    while path:
        yield path
        path = path[:-1]
