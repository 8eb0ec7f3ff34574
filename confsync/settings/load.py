"""From file, environment and flags to one Settings value, or to all that is wrong with them.

Merged by hand and validated by pydantic once: pydantic-settings would cost 120 ms of every start
and does not tell lines. How a fault reads is in faults.py.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import ValidationError

from confsync import errors
from confsync.settings import faults, rules, sources
from confsync.settings.balancer import Lb
from confsync.settings.model import WITH_OWN_PATHS, Settings
from confsync.settings.positions import Path

_HOME = {"config": "haproxy.cfg", "master_socket": "master.sock", "stats_socket": "admin.sock"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings that hold, and where they came from.

    `file`: the settings file (None: there is none). `directory`: absolute, what relative paths
    started from; paths in `settings` are whole already. `warnings`: one line each, for the log.
    `balancer`: for `confsync lb`. `discovers`: somebody wrote where services come from, or templates.
    `as_it_is`: a check is about `target.config` on disk.
    """

    settings: Settings
    file: str | None
    directory: str
    warnings: tuple[str, ...] = ()
    balancer: bool = False
    discovers: bool = True
    as_it_is: bool = False


def load(
    path: str | None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
    short: Mapping[str, str] | None = None,
    balancer: bool = False,
) -> Loaded:
    """Load the settings: flags over environment over file over defaults.

    `path`: the file that a flag names. `flags`: "log.level" -> value. `short`: further variables,
    "VIP" -> "vip.address"; the long name of the same key beats them. `balancer`: defaults are those
    of `confsync lb`, as they are where CONFSYNC_HOME is set. Raises SettingsError with a line for each
    fault.
    """
    file = sources.read(path, environ)
    merged = file.values
    names: dict[Path, str] = {}
    unknown: list[str] = []
    balancer = balancer or bool(environ.get(sources.HOME_VARIABLE))
    for name, key in (short or {}).items():
        if environ.get(name):
            place = tuple(key.split("."))
            _put(merged, names, place, _typed(place, environ[name]), name)
    for where, name in sources.variables(environ).items():
        if meant := _place(where):
            _put(merged, names, meant, _typed(meant, environ[name]), name)
        else:
            unknown.append(faults.unknown_variable(name))
    for key, value in (flags or {}).items():
        _put(merged, names, tuple(key.split(".")), value, "the command line")
    discovers = bool(file.path) or "source" in merged or "template" in merged
    for table in ("source", "target"):
        # So that a variable alone (CONFSYNC_TARGET__CONFIG) need not say the type again.
        if isinstance(merged.get(table), dict):
            default = Settings.tables()[table][0].model_fields["type"].default
            merged[table].setdefault("type", default)
    for table in WITH_OWN_PATHS:
        merged.setdefault(table, {})
    if balancer:
        _at_home(merged)

    found: list[faults.Fault] = []
    settings = None
    try:
        settings = Settings.model_validate(merged, context={"base": file.directory})
    except ValidationError as error:
        found += faults.of(error, merged)
    found += rules.broken(merged, file.directory)
    if found or unknown or settings is None:
        lines = sorted((fault.placed(file, names) for fault in found), key=lambda line: line[0])
        raise errors.SettingsError([text for _, text in lines] + unknown)
    warnings = tuple(
        f"the environment variable {name} is no setting of confsync and is ignored"
        for name in sources.strangers(environ)
    )
    return Loaded(
        settings=settings,
        file=file.path or None,
        directory=file.directory,
        warnings=warnings,
        balancer=balancer,
        discovers=discovers,
    )


def _place(where: tuple[str, ...]) -> Path | None:
    """Find the setting that a variable's name means: ("target", "config"); None: there is none."""
    match where:
        case ("template", index, key) if index.isdecimal() and key != "vars":
            place: Path = ("template", int(index), key)
        case ("template", index, "vars", variable) if index.isdecimal():
            return ("template", int(index), "vars", variable)
        case (table, key) if table != "template":
            place = (table, key)
        case _:
            return None
    tables = Settings.tables().get(str(place[0]), ())
    return place if any(place[-1] in table.model_fields for table in tables) else None


def _typed(place: Path, text: str) -> object:
    """Make a list of a variable's text where the setting is one: JSON, or with commas."""
    for table in Settings.tables()[str(place[0])]:
        field = table.model_fields.get(str(place[-1]))
        if len(place) < 4 and field and get_origin(field.annotation) is tuple:
            if text.startswith("["):
                try:
                    return json.loads(text)
                except (ValueError, RecursionError):
                    pass  # a glob may begin so too: [ab]*,web
            return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _at_home(merged: dict[str, Any]) -> None:
    """Have HAProxy's file and sockets where `confsync lb` keeps them, unless the target says else."""
    target, lb = merged.setdefault("target", {}), merged["lb"]
    if not isinstance(target, dict) or target.get("type", "socket") != "socket":
        return
    target.setdefault("type", "socket")
    directory = lb.get("directory") if isinstance(lb, dict) else None
    if not isinstance(directory, str) or not directory:
        directory = Lb.model_fields["directory"].default
    for key, name in _HOME.items():
        target.setdefault(key, f"{directory}/{name}")


def _put(
    merged: dict[str, Any], names: dict[Path, str], place: Path, value: object, name: str
) -> None:
    """Set one value, unless the file has no table there, which is a fault of its own."""
    at: Any = merged
    for part, following in itertools.pairwise(place):
        if isinstance(at, dict):
            at = at.setdefault(part, [] if isinstance(following, int) else {})
        elif isinstance(at, list) and isinstance(part, int):
            if part >= len(at):
                # The next template is added; a gap closes, and its fault names the variable.
                part = len(at)  # noqa: PLW2901
                at.append({})
            at = at[part]
        else:
            return
    if isinstance(at, dict):
        at[str(place[-1])] = value
        names[place] = name
