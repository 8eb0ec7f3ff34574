"""Services as an operator writes them in a file: JSON, TOML or YAML to a catalog.

Pure but for the parsers. Only the shape is judged here: a wrong type is the writer's slip and an
error that names the place; what an address, a port or a name may be is the model's (core.desired),
as for every registry. Raises ValueError with the words for the operator.
"""

import difflib
import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from confsync.domain.catalog import Catalog, Instance, Service, Status

_SERVICE = ("name", "instances")
_INSTANCE = ("id", "address", "port", "tags", "meta", "status", "weight", "node")


def _yaml(text: str) -> object:
    import yaml  # noqa: PLC0415 - a quarter of the start of `once`, for one kind of file

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


PARSERS: Mapping[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}
"""By the ending of the file's name."""


def parse(data: bytes, ending: str, now: float) -> Catalog:
    """Read a catalog, sorted; services named twice become one. `now`: unix seconds.

    Raises ValueError.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: not UTF-8; save it as UTF-8") from error
    try:
        value = PARSERS[ending](text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return _catalog(value, now)


def _catalog(value: object, now: float) -> Catalog:
    top = _table(value, "", ("services",))
    instances: dict[str, list[Instance]] = {}
    for number, entry in enumerate(_list(top.get("services"), "services")):
        place = f"services[{number}]"
        service = _table(entry, place, _SERVICE)
        name = _required(service, place, "name", _text)
        place = f"{place} ({name!a})"
        rows = _list(service.get("instances"), f"{place}.instances")
        instances.setdefault(name, []).extend(
            _instance(row, f"{place}.instances[{n}]") for n, row in enumerate(rows)
        )
    return Catalog(
        services=tuple(
            Service(
                name=name,
                instances=tuple(sorted(rows, key=lambda i: (i.address, i.port, i.node, i.id))),
                seen=now,
            )
            for name, rows in sorted(instances.items())
        )
    )


def _instance(value: object, place: str) -> Instance:
    row = _table(value, place, _INSTANCE)
    return Instance(
        id=_required(row, place, "id", _text),
        address=_required(row, place, "address", _text),
        port=_required(row, place, "port", _number),
        tags=tuple(
            _text(tag, f"{place}.tags[{n}]")
            for n, tag in enumerate(_list(row.get("tags", []), f"{place}.tags"))
        ),
        meta=tuple(sorted(_meta(row.get("meta", {}), f"{place}.meta").items())),
        status=_status(row.get("status", Status.PASSING.value), f"{place}.status"),
        weight=_number(row.get("weight", 1), f"{place}.weight"),
        node=_text(row.get("node", ""), f"{place}.node"),
    )


def _required(
    row: Mapping[str, Any], place: str, key: str, read: Callable[[object, str], Any]
) -> Any:
    if key not in row:
        raise ValueError(f"{place}: {key} is missing; every entry needs it")
    return read(row[key], f"{place}.{key}")


def _table(value: object, place: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, place or "the file", "an object with " + ", ".join(known))
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{place or 'the file'}: unknown key {key!a}; {hint}")
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(value, place, "a list")
    return value


def _meta(value: object, place: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(value, place, "an object of texts")
    return {_text(k, f"{place}: key"): _text(v, f"{place}[{k!a}]") for k, v in value.items()}


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, place, "a text: put it in quotes")
    return value


def _number(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(value, place, "a whole number without quotes")
    return value


def _status(value: object, place: str) -> Status:
    try:
        return Status(_text(value, place))
    except ValueError as error:
        raise ValueError(f"{place}: must be one of {', '.join(Status)}") from error


def _wrong(value: object, place: str, wanted: str) -> ValueError:
    if value is None:
        return ValueError(f"{place}: missing or empty; must be {wanted}")
    if isinstance(value, list | dict):  # not shown: aliases can make a few bytes of YAML endless
        return ValueError(
            f"{place}: is {'a list' if isinstance(value, list) else 'an object'}; must be {wanted}"
        )
    shown = ascii(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return ValueError(f"{place} = {shown}: must be {wanted}")
