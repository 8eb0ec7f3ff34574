"""Where settings come from, before they mean anything: the file, the environment, flags.

No pydantic in here: a command that only looks for the agent (status, as a health check every few
seconds) needs one path and should not pay for the rest, nor fail because of a fault elsewhere.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confsync import errors
from confsync.domain import printable
from confsync.settings import positions

PREFIX = "CONFSYNC_"
FILE_VARIABLE = "CONFSYNC_CONFIG"
HOME_VARIABLE = "CONFSYNC_HOME"
"""The load balancer's own folder, where its image sets it."""
KNOWN_VARIABLES = frozenset({FILE_VARIABLE, HOME_VARIABLE, "CONFSYNC_FAULT"})
PLACES = ("confsync.toml", "/etc/confsync/confsync.toml")
STATE_DIRECTORY = "/var/lib/confsync"

# What somebody meant as a setting. Docker's links and Kubernetes make names such as
# CONFSYNC_PORT_80_TCP, which have no double underscore.
_SETTING = re.compile(r"CONFSYNC_[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__.+")
_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A settings file as read; `path` empty: there is none. Its paths start from `directory`."""

    path: str = ""
    directory: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[positions.Path, int] = field(default_factory=dict)


def read(path: str | None, environ: Mapping[str, str]) -> File:
    """Find and read the settings file; without one, an empty File. Raises SettingsError.

    A file that is named (by a flag or CONFSYNC_CONFIG) must exist; the usual places need not.
    """
    named, by = path, ""
    if not named and environ.get(FILE_VARIABLE):
        named, by = environ[FILE_VARIABLE], f"{FILE_VARIABLE}: "
    home = environ.get(HOME_VARIABLE, "")
    usual = (f"{home}/{PLACES[0]}", PLACES[-1]) if home else PLACES
    for place in (named,) if named else usual:
        try:
            with open(place, "rb") as file:  # noqa: PTH123 - texts stay texts
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            if named:
                raise _unreadable(place, by, "no such file", "write it, or name another") from None
        except PermissionError:
            raise _unreadable(
                place, by, "this user may not read it", "change its mode or owner"
            ) from None
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise _unreadable(place, by, f"cannot be read: {words}", "name a file") from None
        else:
            return _parsed(place, data)
    return File(directory=os.path.abspath(home))  # noqa: PTH100 - "": the working directory


def variables(environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Find the variables that look like settings: path in lower case -> the variable's name."""
    return {
        tuple(name.removeprefix(PREFIX).lower().split("__")): name
        for name in sorted(environ)
        if _SETTING.fullmatch(name)
    }


def strangers(environ: Mapping[str, str]) -> list[str]:
    """Find variables with confsync's prefix that mean nothing to it and look like no setting."""
    return sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and name not in KNOWN_VARIABLES and not _SETTING.fullmatch(name)
    )


def state_directory(path: str | None, environ: Mapping[str, str]) -> str:
    """Find the state directory alone, so that a fault elsewhere does not hide a living agent.

    Raises SettingsError when the file cannot be read or is no TOML.
    """
    file = read(path, environ)
    table = file.values.get("state")
    value = environ.get("CONFSYNC_STATE__DIRECTORY") or (
        table.get("directory") if isinstance(table, dict) else None
    )
    directory = value if isinstance(value, str) and value else STATE_DIRECTORY
    return resolved(file.directory, directory)


def resolved(base: str, path: str) -> str:
    """Make a path of the settings whole: `base` is the settings file's folder."""
    whole = os.path.join(base, path)  # noqa: PTH118
    # Dots that climb may cross a symbolic link, where shortening them would change their meaning.
    return whole if ".." in whole.split("/") else os.path.normpath(whole)


def _parsed(place: str, data: bytes) -> File:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise errors.SettingsError([f"{place}:{line}: is not UTF-8; save it as UTF-8"]) from None
    # tomllib takes CRLF as one end of line; the scanner of positions counts only \n.
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.SettingsError([_syntax(place, text, str(error))]) from None
    except RecursionError:
        raise errors.SettingsError([f"{place}: is nested too deeply; flatten it"]) from None
    directory = os.path.dirname(os.path.abspath(place))  # noqa: PTH100, PTH120
    return File(path=place, directory=directory, values=values, lines=positions.positions(text))


def _syntax(place: str, text: str, words: str) -> str:
    at = _AT_LINE.search(words)
    line = int(at[1]) if at else text.count("\n") + 1
    column = f", column {at[2]}" if at else ", at the end"
    what = words.removesuffix(at[0]) if at else words.removesuffix(" (at end of document)")
    what = what[:1].lower() + what[1:]
    return f"{place}:{line}: is not TOML: {what}{column}; texts need quotes, one key a line"


def _unreadable(place: str, by: str, what: str, remedy: str) -> errors.SettingsError:
    return errors.SettingsError([f"{by}{printable.printable(place)}: {what}; {remedy}"])
