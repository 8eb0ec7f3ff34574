"""The guard's holds as JSON, so that they survive a restart. What cannot be read holds nothing."""

from dataclasses import asdict
from typing import Any

from confsync.core.guards import HeldRegistry, HeldService, Memory
from confsync.domain.catalog import Instance, Service, Status


def to_plain(memory: Memory) -> object:
    """Turn holds into JSON's values."""
    return {
        "services": [
            {"since": h.since, "reason": h.reason, "base": asdict(h.base)}
            for h in memory.held.values()
        ],
        "registry": None
        if memory.registry is None
        else {
            "since": memory.registry.since,
            "reason": memory.registry.reason,
            "missing": [asdict(s) for s in memory.registry.missing],
        },
    }


def from_plain(value: object) -> Memory:
    """Read holds back; an unreadable value is no hold."""
    if not isinstance(value, dict):
        return Memory()
    try:
        held = {
            h["base"]["name"]: HeldService(
                base=_service(h["base"]), since=float(h["since"]), reason=str(h["reason"])
            )
            for h in value["services"]
        }
        whole = value["registry"]
        registry = whole and HeldRegistry(
            missing=tuple(_service(s) for s in whole["missing"]),
            since=float(whole["since"]),
            reason=str(whole["reason"]),
        )
    except (KeyError, TypeError, ValueError):
        return Memory()
    return Memory(held=held, registry=registry)


def _service(value: dict[str, Any]) -> Service:
    return Service(
        name=str(value["name"]),
        denied=bool(value["denied"]),
        instances=tuple(
            Instance(
                **{
                    **i,
                    "status": Status(i["status"]),
                    "tags": tuple(i["tags"]),
                    "meta": tuple((k, v) for k, v in i["meta"]),
                }
            )
            for i in value["instances"]
        ),
    )
