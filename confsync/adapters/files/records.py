"""The last good catalog and the record of what runs, as JSON values and back.

Pure. Whatever a registry calls its services must survive, so nothing is typed or judged here beyond
its shape; a value of another shape raises ValueError and is treated as damaged.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
)
from confsync.domain.running import Leftover, Record

T = TypeVar("T")


def from_catalog(catalog: Catalog) -> dict[str, Any]:
    """Turn a catalog into a JSON value."""
    return {"services": [_from_service(s) for s in catalog.services]}


class Written:
    """A catalog as JSON text, put together of the texts of its services.

    Of one that is as it was the text is kept; the others are written one by one, since a text of all
    of them at once is made in one piece, for which no other thread gets a turn.
    """

    def __init__(self) -> None:
        self._texts: dict[str, tuple[Service, str]] = {}

    def text(self, catalog: Catalog) -> str:
        """Give the text of `from_catalog`."""
        texts = []
        for service in catalog.services:
            known = self._texts.get(service.name)
            if known is None or known[0] is not service:
                known = service, dump(_from_service(service))
            texts.append(known)
        self._texts = {known[0].name: known for known in texts}
        return f'{{"services":[{",".join(text for _, text in texts)}]}}'


def dump(value: object) -> str:
    """Write a JSON value as all files of the state are written."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def to_catalog(value: object) -> Catalog:
    """Read a catalog. Raises ValueError."""
    return Catalog(services=tuple(_to_service(v) for v in _list(_mapping(value), "services")))


def from_record(record: Record) -> dict[str, Any]:
    """Turn a record into a JSON value."""
    return {
        "files": dict(record.files),
        "text": dict(record.text),
        "promoted": dict(record.promoted),
        "worker_pid": record.worker_pid,
        "worker_started": record.worker_started,
        "place": record.place,
        "version": record.version,
        "steps": [_from_step(s) for s in record.steps],
        "leftovers": [_plain(one) for one in record.leftovers],
        "named": dict(record.named),
    }


def to_record(value: object) -> Record:
    """Read a record. Raises ValueError."""
    found = _mapping(value)
    return Record(
        files=_texts(found, "files"),
        text=_texts(found, "text"),
        promoted=_texts(found, "promoted"),
        worker_pid=_int(found, "worker_pid"),
        worker_started=_float(found, "worker_started"),
        place=_str(found, "place") if "place" in found else "",
        version=_str(found, "version"),
        steps=tuple(_to_step(v) for v in _list(found, "steps")) if "steps" in found else (),
        leftovers=tuple(_to_leftover(v) for v in _list(found, "leftovers"))
        if "leftovers" in found
        else (),
        named=_texts(found, "named") if "named" in found else {},
    )


_STEPS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        AddServer,
        RetireServer,
        SetWeight,
        SetState,
        SetMaxconn,
        SetAddress,
        ReplaceMap,
    )
}


def _from_step(step: Step) -> dict[str, Any]:
    return {"step": type(step).__name__, **_plain(step)}


def _plain(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


def _to_step(value: object) -> Step:
    found = dict(_mapping(value))
    kind = _STEPS.get(_str(found, "step"))
    if kind is None:
        raise ValueError(f"step: unknown: {found['step']!r}")
    del found["step"]
    if "entries" in found:
        found["entries"] = tuple(_pair(p) for p in _list(found, "entries"))
    step: Step = _built(kind, found)
    return step


def _to_leftover(value: object) -> Leftover:
    found = dict(_mapping(value))
    return _built(Leftover, found)


def _built(kind: type[T], found: dict[str, Any]) -> T:
    """Make a value of ours of what `_plain` wrote. Raises ValueError when it is another one's."""
    if "state" in found:
        found["state"] = Admin(found["state"])
    for name in ("words", "options"):
        if name in found:
            found[name] = tuple(_list(found, name))
            if not all(isinstance(word, str) for word in found[name]):
                raise ValueError(f"{name}: not all are texts")
    try:
        made = kind(**found)
    except TypeError as error:
        raise ValueError(str(error)) from error
    wanted = get_type_hints(kind)
    for name, given in found.items():
        hint = wanted[name]
        if hint is float and type(given) is int:
            continue
        if hint in {int, float, str, bool} and type(given) is not hint:
            raise ValueError(f"{name}: not of its type")
    return made


def _from_service(service: Service) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": service.name,
        "seen": service.seen,
        "instances": [_from_instance(i) for i in service.instances],
    }
    if service.denied:
        value["denied"] = True
    return value


def _to_service(value: object) -> Service:
    found = _mapping(value)
    return Service(
        name=_str(found, "name"),
        instances=tuple(_to_instance(v) for v in _list(found, "instances")),
        denied=found.get("denied", False) is True,
        seen=_float(found, "seen"),
    )


def _from_instance(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "address": instance.address,
        "port": instance.port,
        "status": instance.status.value,
        "tags": instance.tags,
        "meta": instance.meta,
        "weight": instance.weight,
        "node": instance.node,
        "datacenter": instance.datacenter,
        "modify_index": instance.modify_index,
    }


def _to_instance(value: object) -> Instance:
    found = _mapping(value)
    tags = tuple(_list(found, "tags"))
    if not all(isinstance(tag, str) for tag in tags):
        raise ValueError("tags: not all are texts")
    return Instance(
        id=_str(found, "id"),
        address=_str(found, "address"),
        port=_int(found, "port"),
        status=Status(_str(found, "status")),
        tags=tags,
        meta=tuple(_pair(p) for p in _list(found, "meta")),
        weight=_int(found, "weight"),
        node=_str(found, "node"),
        datacenter=_str(found, "datacenter"),
        modify_index=_int(found, "modify_index"),
    )


def _pair(value: object) -> tuple[str, str]:
    match value:
        case [str(key), str(text)]:
            return key, text
        case _:
            raise ValueError("meta: not pairs of texts")


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{type(value).__name__} where an object must be")  # noqa: TRY004 - damage, not a caller's mistake
    return value


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key}: not a list")  # noqa: TRY004 - damage, not a caller's mistake
    return value


def _str(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key}: not a text")  # noqa: TRY004
    return value


def _int(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{key}: not a whole number")  # noqa: TRY004
    return value


def _float(found: Mapping[str, Any], key: str) -> float:
    value = found.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{key}: not a number")  # noqa: TRY004
    return float(value)


def _texts(found: Mapping[str, Any], key: str) -> dict[str, str]:
    value = _mapping(found.get(key))
    if not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{key}: not all are texts")
    return dict(value)
