"""Reads an agent's reply with care: it may be of another version, so anything may be missing."""

from collections.abc import Mapping
from typing import Any


def text(of: Mapping[str, Any], key: str) -> str:
    """Read a text; "" where there is none."""
    value = of.get(key)
    return value if isinstance(value, str) else ""


def number(of: Mapping[str, Any], key: str) -> float:
    """Read a number; 0 where there is none."""
    value = of.get(key)
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else 0.0


def table(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Read a table; empty where there is none."""
    value = of.get(key)
    return value if isinstance(value, dict) else {}


def tables(of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Read a list of tables."""
    value = of.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(of: Mapping[str, Any], key: str) -> list[str]:
    """Read a list of texts."""
    value = of.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
