"""Kinds of values that several settings share, each with its check in words for the operator.

What depends on more than one key stands in model.py, on more than one table in rules.py.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from confsync.domain import catalog
from confsync.settings import sources

BUILTIN = "builtin:"
BUILTIN_TEMPLATES = ("haproxy.cfg", "hosts.map", "503.http")
SERVING = (catalog.Status.PASSING, catalog.Status.WARNING)

# A destination stands in HAProxy's configuration as one bare word, and `check` finds it there.
_BARE_WORD = re.compile(r"""[^\s"'\\#$%{}]+""")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")
_SCHEMES = ("http", "https", "unix")
_DAY = 86_400


def fault(what: str, remedy: str, *, secret: bool = False) -> PydanticCustomError:
    """Build a fault; `secret` keeps the value out of the message."""
    return PydanticCustomError(
        "confsync", "{what}", {"what": what, "remedy": remedy, "secret": secret}
    )


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise fault("must be a number, not true or false", "write a number without quotes")
    return value


def _text(value: str) -> str:
    if not value.isprintable():
        raise fault("holds a character that cannot be printed", "remove it")
    return value


def _name(value: str) -> str:
    if not _text(value):
        raise fault("is empty", "write a name, or leave the item out")
    return value


def _container(value: str) -> str:
    label = value.startswith("label=") and value.removeprefix("label=").partition("=")[0]
    if not (label or re.fullmatch(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]*", value)):
        raise fault("names no container", 'write a name, an id, "label=KEY" or "label=KEY=VALUE"')
    return value


def _glob(value: str) -> str:
    if "/" in _name(value):
        raise fault("holds a slash, which no watched service may", "remove it")
    if value.count("[") > value.count("]"):
        raise fault("opens a [ that nothing closes", "close it, or write [[] for the character")
    return value


def _path(value: str, info: ValidationInfo) -> str:
    if not _text(value):
        return ""
    if value.startswith("~"):
        raise fault("begins with ~, which is not expanded", "write the whole path")
    return sources.resolved((info.context or {}).get("base", ""), value)


def _required(value: str) -> str:
    if not value:
        raise fault("is empty", "write a path")
    return value


def _program(value: str, info: ValidationInfo) -> str:
    return _path(value, info) if "/" in value else _name(value)


def _source(value: str, info: ValidationInfo) -> str:
    if not value.startswith(BUILTIN):
        return _required(_path(value, info))
    if value.removeprefix(BUILTIN) not in BUILTIN_TEMPLATES:
        known = ", ".join(f'"{BUILTIN}{name}"' for name in BUILTIN_TEMPLATES)
        raise fault("is no built-in template", f"use one of {known}, or a file's path")
    return value


def _destination(value: str, info: ValidationInfo) -> str:
    path = _required(_path(value, info))
    folder, name = os.path.split(path)
    if value.endswith("/") or name in {"", ".", ".."}:
        raise fault("names a folder", "write the path of a file")
    if not _BARE_WORD.fullmatch(path):
        raise fault(
            "holds a blank, a quote or one of \\ # $ % { }, which no bare word of HAProxy's may",
            "choose a plain path",
        )
    if name.startswith(".") and name.endswith(".confsync"):
        raise fault("is the name of a staged file", f"choose another name in {folder}")
    return path


def _inside(value: str) -> str:
    if _text(value) and not (value.startswith("/") and _BARE_WORD.fullmatch(value)):
        raise fault(
            "is no plain whole path", 'write the folder as the container sees it, from "/" on'
        )
    return value


def _address(value: str) -> str:
    if not value.isprintable() or " " in value:
        raise fault("holds a blank or an unprintable character", "remove it", secret=True)
    if "@" in value:
        raise fault(
            "carries credentials, which would show in logs",
            "remove them; put a token into token_file",
            secret=True,
        )
    if "?" in value or "#" in value:
        raise fault(
            "carries a query, which would show in logs",
            "remove it; put a token into token_file, a datacenter into datacenter",
            secret=True,
        )
    scheme = value.partition("://")[0] if "://" in value else ""
    if scheme not in _SCHEMES:
        raise fault(
            "must begin with http://, https:// or unix://",
            f'write "http://{value}"' if value and not scheme else "choose one of them",
        )
    try:
        split = urlsplit(value)
        host, port = split.hostname, split.port
    except ValueError as error:
        raise fault(f"is no address: {error}", 'write it as "http://HOST:PORT"') from error
    if scheme == "unix":
        if split.netloc or len(split.path) < 2:
            raise fault("must name an absolute path", 'write "unix:///run/consul.sock"')
    elif not host or port == 0:
        raise fault("names no host and port", f'write "{scheme}://HOST:PORT"')
    return value


def _ip(value: str) -> str:
    if not value:
        return ""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise fault(
            "is no IP address", "write an address such as 192.0.2.10, without name, mask or blank"
        ) from None


def _device(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9_.:@-]{1,15}", value):
        raise fault("is no name of a network interface", 'write it as "eth0" (see `ip link`)')
    return value


def _status(value: Any) -> Any:
    if value not in SERVING:
        raise fault(
            'must be "passing" or "warning"', "instances of any other status are never served"
        )
    return value


def _mode(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise fault("must be three octal digits in quotes", 'write it as "0644"')
    return value


def _unit(value: str) -> str:
    if not _UNIT.fullmatch(value):
        raise fault("is no name of a service unit", 'write it as "haproxy.service"')
    return value


def _variable(value: Any) -> Any:
    match value:
        case str() | bool() | int() | float() | None:
            return value
        case list() | tuple():
            return tuple(_variable(item) for item in value)
        case Mapping():
            return {str(inner): _variable(item) for inner, item in value.items()}
        case _:
            raise fault(
                f"is a {type(value).__name__}, which templates do not take",
                "put it in quotes",
            )


Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_number)]
Seconds = Annotated[Number, Field(ge=0, le=_DAY)]
Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
Container = Annotated[str, AfterValidator(_name), AfterValidator(_container)]
Glob = Annotated[str, AfterValidator(_glob)]
OptionalPath = Annotated[str, AfterValidator(_path)]
Path = Annotated[str, AfterValidator(_path), AfterValidator(_required)]
Program = Annotated[str, AfterValidator(_program)]
TemplateFile = Annotated[str, AfterValidator(_source)]
Destination = Annotated[str, AfterValidator(_destination)]
Inside = Annotated[str, AfterValidator(_inside)]
Address = Annotated[str, AfterValidator(_address)]
Ip = Annotated[str, AfterValidator(_ip)]
Device = Annotated[str, AfterValidator(_device)]
Status = Annotated[catalog.Status, BeforeValidator(_status)]
Mode = Annotated[str, BeforeValidator(_mode)]
Unit = Annotated[str, AfterValidator(_unit)]
Variables = dict[str, Annotated[Any, BeforeValidator(_variable)]]
