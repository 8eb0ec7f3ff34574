"""The part of JSON Schema that docs/once.schema.json uses, so that tests need no library for it."""

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_KNOWN = {
    "$schema",
    "title",
    "description",
    "type",
    "required",
    "properties",
    "items",
    "enum",
    "const",
    "minimum",
    "propertyNames",
    "additionalProperties",
}


def faults(value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
    """Say where a value breaks a schema; a key that the schema does not describe breaks it too."""
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    found: list[str] = []
    kinds = _TYPES.get(schema.get("type", ""), (object,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds[0] is int):
        return [f"{at}: no {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: not among {schema['enum']}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{at}: below {schema['minimum']}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += faults(item, schema["items"], f"{at}[{index}]")
    if isinstance(value, dict):
        found += [f"{at}: no {key}" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            found += faults(key, schema.get("propertyNames", {}), f"{at} key")
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            found += (
                [f"{at}: unknown {key}"] if below is None else faults(item, below, f"{at}.{key}")
            )
    return found
