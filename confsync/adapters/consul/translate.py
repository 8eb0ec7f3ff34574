"""Consul's JSON as values of the domain: pure, and ready for anything.

Every field may be missing or of a wrong type: missing gets a default, wrong costs its row and no
other. What a text may hold (an address that is none, port 0 or 70000) is judged later, by the model.
"""

from collections.abc import Iterable
from typing import Any

from confsync.domain.catalog import Instance, Meta, Status

NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"

_STATUS = {"passing": Status.PASSING, "warning": Status.WARNING}
_WORSE = {Status.PASSING: 0, Status.WARNING: 1, Status.CRITICAL: 2, Status.MAINTENANCE: 3}


class _BadRowError(Exception):
    """A row that cannot be read; it stays within this module."""


def instances(rows: Iterable[object]) -> tuple[tuple[Instance, ...], int]:
    """Translate the rows of health/service, sorted; with the number of rows that make no sense."""
    good: list[Instance] = []
    bad = 0
    for row in rows:
        try:
            good.append(_instance(_object(row)))
        except _BadRowError:
            bad += 1
    good.sort(key=lambda i: (i.address, i.port, i.node, i.id))
    return tuple(good), bad


def status(checks: Iterable[object]) -> Status:
    """Aggregate the checks of a service and its node: the worst counts, none is passing.

    A status that is no known word counts as critical, as it does for Consul's own DNS.
    """
    worst = Status.PASSING
    for check in checks:
        found = _check_status(_object(check))
        if _WORSE[found] > _WORSE[worst]:
            worst = found
    return worst


def statuses(rows: Iterable[object]) -> dict[tuple[str, str], Status]:
    """Translate health/state: (node, service id) -> its worst; id "": the node's own checks."""
    worst: dict[tuple[str, str], Status] = {}
    for row in rows:
        try:
            check = _object(row)
            key = (_text(check, "Node"), _text(check, "ServiceID"))
            found = _check_status(check)
        except _BadRowError:
            continue
        if key not in worst or _WORSE[found] > _WORSE[worst[key]]:
            worst[key] = found
    return worst


def worse(one: Status, other: Status) -> Status:
    """Return the worse of two."""
    return one if _WORSE[one] >= _WORSE[other] else other


def registrations(table: dict[str, Any]) -> dict[tuple[str, str], tuple[int, str]]:
    """Translate catalog/node-services: (name, id) -> its version (ModifyIndex) and address.

    A node that is gone has null for both fields: no registrations.
    """
    try:
        node = _object(table.get("Node") or {})
        own = _text(node, "Address")
        rows = _list(table, "Services")
    except _BadRowError:
        return {}
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for row in rows:
        try:
            service = _object(row)
            key = (_text(service, "Service"), _text(service, "ID"))
            found[key] = (_integer(service, "ModifyIndex"), _text(service, "Address") or own)
        except _BadRowError:
            continue
    return found


def nodes(rows: Iterable[object]) -> frozenset[str]:
    """Translate catalog/nodes: the names."""
    found: set[str] = set()
    for row in rows:
        try:
            found.add(_text(_object(row), "Node"))
        except _BadRowError:
            continue
    return frozenset(found)


def _instance(row: dict[str, Any]) -> Instance:
    node = _object(row.get("Node") or {})
    service = _object(row.get("Service"))
    found = status(_list(row, "Checks"))
    return Instance(
        id=_text(service, "ID"),
        address=_text(service, "Address") or _text(node, "Address"),
        port=_integer(service, "Port"),
        status=found,
        tags=_texts(_list(service, "Tags")),
        meta=_meta(service),
        weight=_weight(service, found),
        node=_text(node, "Node"),
        datacenter=_text(node, "Datacenter"),
        modify_index=_integer(service, "ModifyIndex"),
    )


def _check_status(check: dict[str, Any]) -> Status:
    check_id = _text(check, "CheckID")
    if check.get("Status") == "passing":
        return Status.PASSING
    if check_id == NODE_MAINTENANCE or check_id.startswith(SERVICE_MAINTENANCE):
        return Status.MAINTENANCE
    said = check.get("Status")
    return _STATUS.get(said, Status.CRITICAL) if isinstance(said, str) else Status.CRITICAL


def _weight(service: dict[str, Any], found: Status) -> int:
    """Consul has one weight for passing and one for warning; nonsense weighs 1."""
    weights = service.get("Weights")
    if not isinstance(weights, dict):
        return 1
    weight = weights.get("Warning" if found is Status.WARNING else "Passing", 1)
    return weight if type(weight) is int else 1


def _meta(service: dict[str, Any]) -> Meta:
    pairs = _object(service.get("Meta") or {})
    return tuple(sorted((_clean(key), _text(pairs, key)) for key in pairs))


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _BadRowError
    return value


def _list(row: dict[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _BadRowError
    return value


def _texts(values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise _BadRowError
    return tuple(_clean(value) for value in values)


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise _BadRowError
    return _clean(value)


def _clean(text: str) -> str:
    r"""Replace half surrogates: JSON can spell them as \ud800, and no file can hold them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _integer(row: dict[str, Any], key: str) -> int:
    value = row.get(key, 0)
    if type(value) is not int:  # a bool is an int, too
        raise _BadRowError
    return value
