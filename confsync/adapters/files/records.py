"""The last good catalog and the record of what runs, as JSON values and back.

Pure. Whatever a registry calls its services must survive, so nothing is typed or judged here beyond
its shape; a value of another shape raises ValueError and is treated as damaged.
"""

from collections.abc import Mapping
from typing import Any

from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.running import Record


def from_catalog(catalog: Catalog) -> dict[str, Any]:
    """Turn a catalog into a JSON value."""
    return {"services": [_from_service(s) for s in catalog.services]}


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
        "version": record.version,
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
        version=_str(found, "version"),
    )


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
