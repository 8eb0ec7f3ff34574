"""Containers as the engine tells them, and which of several is meant. Pure.

Source: the engine's API, GET /containers/ID/json and /containers/json.
"""

import datetime as dt
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from confsync import errors

ONE_OFF = "io.confsync.one-off"
"""The label of containers that confsync makes for a moment: never the one that is meant."""

LIVE = frozenset({"running", "paused", "restarting"})

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_NEVER = "0001-01-01T00:00:00Z"
_LISTED = 10


class NoContainer(errors.TargetUnavailable):
    """No container, or not exactly one, is what the settings mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What is mounted where: `kind` is bind, volume or tmpfs; `source` as the engine's host sees it."""

    kind: str
    source: str
    destination: str
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container at one moment.

    `image`: the id; `image_name`: as it was asked for. `state`: created, running, paused, restarting,
    removing, exited or dead. `pid`: of its first process, as the engine's host sees it; 0: it does
    not run. `started`: unix seconds, of the latest start; 0: never. `argv`: its first process's.
    """

    id: str
    name: str
    image: str = ""
    image_name: str = ""
    state: str = "running"
    pid: int = 0
    started: float = 0.0
    exit_code: int = 0
    oom_killed: bool = False
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str = ""
    directory: str = "/"
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    network: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Tell whether commands can be run in it now."""
        return self.state == "running"

    @property
    def life(self) -> tuple[str, float]:
        """Name this run of it: another one has another id or another start."""
        return self.id, self.started

    @property
    def place(self) -> str:
        """Name this run of it in one word."""
        return f"{self.id}@{self.started!r}"

    def mount_of(self, path: str) -> Mount | None:
        """Find the mount that holds a path, the deepest one; None: its own file system."""
        path = posixpath.normpath(path)
        holding = [m for m in self.mounts if _within(path, m.destination)]
        return max(holding, key=lambda m: len(m.destination), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which container is meant: by name or id, or by a label (`value` None: whatever it is)."""

    name: str = ""
    label: str = ""
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `target.container`. Raises NoContainer."""
        if text.startswith("label="):
            label, equals, value = text.removeprefix("label=").partition("=")
            if label:
                return cls(label=label, value=value if equals else None)
        elif _NAME.fullmatch(name := text.removeprefix("/")):
            return cls(name=name)
        raise NoContainer(
            f"{text!r} names no container",
            remedy="set target.container to a name, an id, label=KEY or label=KEY=VALUE",
        )

    @property
    def filter(self) -> str:
        """The label as the engine's filters want it."""
        return self.label if self.value is None else f"{self.label}={self.value}"

    def chosen(self, listed: Sequence[Mapping[str, Any]]) -> str:
        """Choose from the engine's list of those with the label; return the id.

        One that lives wins over those that ended. Raises NoContainer unless exactly one is left.
        """
        found = [each for each in listed if ONE_OFF not in (each.get("Labels") or {})]
        live = [each for each in found if each.get("State") in LIVE]
        for candidates in (live, found):
            if len(candidates) == 1:
                return str(candidates[0]["Id"])
            if candidates:
                raise NoContainer(
                    f"{len(candidates)} containers carry the label {self.filter}: "
                    f"{told(candidates)}",
                    remedy="give the label to one only, or set target.container to its name",
                )
        raise NoContainer(
            f"no container carries the label {self.filter}",
            remedy="give HAProxy's container this label, or set target.container to its name",
        )

    def absent(self, listed: Sequence[Mapping[str, Any]]) -> NoContainer:
        """Say that the name is none of those in the engine's list."""
        found = [each for each in listed if ONE_OFF not in (each.get("Labels") or {})]
        there = f"; there are {told(found)}" if found else "; there is none at all"
        return NoContainer(
            f"no container is named {self.name}{there}",
            remedy="start it, or set target.container to its name, id or label",
        )


def told(listed: Sequence[Mapping[str, Any]]) -> str:
    """List containers in words: names, and how they are when they do not run."""
    words = []
    for each in listed:
        name = name_of(each)
        state = str(each.get("State", ""))
        words.append(name if state in {"running", ""} else f"{name} ({state})")
    words.sort()
    more = [f"{len(words) - _LISTED} more"] if len(words) > _LISTED else []
    return ", ".join(words[:_LISTED] + more)


def name_of(listed: Mapping[str, Any]) -> str:
    """Name one of the engine's list; an old-style link gives it more names, with two slashes."""
    names = [str(n).removeprefix("/") for n in listed.get("Names") or ()]
    plain = [n for n in names if "/" not in n]
    return (plain or names or [str(listed.get("Id", ""))[:12]])[0]


def parse(inspected: Mapping[str, Any]) -> Container:
    """Read the engine's whole answer about one container."""
    state = inspected.get("State") or {}
    config = inspected.get("Config") or {}
    host = inspected.get("HostConfig") or {}
    program = [str(inspected["Path"])] if inspected.get("Path") else []
    pairs = (str(each).partition("=") for each in config.get("Env") or ())
    mounts = [
        Mount(
            kind=str(each.get("Type", "")),
            source=str(each.get("Source", "")),
            destination=posixpath.normpath(str(each.get("Destination", ""))),
            writable=bool(each.get("RW", True)),
        )
        for each in inspected.get("Mounts") or ()
    ]
    mounts += [
        Mount(kind="tmpfs", source="", destination=posixpath.normpath(str(path)))
        for path in host.get("Tmpfs") or {}
    ]
    return Container(
        id=str(inspected["Id"]),
        name=str(inspected.get("Name", "")).removeprefix("/"),
        image=str(inspected.get("Image", "")),
        image_name=str(config.get("Image", "")),
        state=str(state.get("Status", "")),
        pid=int(state.get("Pid") or 0),
        started=moment(str(state.get("StartedAt") or _NEVER)),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        argv=tuple(program + [str(word) for word in inspected.get("Args") or ()]),
        environment={name: value for name, equals, value in pairs if equals},
        user=str(config.get("User") or ""),
        directory=str(config.get("WorkingDir") or "/"),
        mounts=tuple(mounts),
        read_only=bool(host.get("ReadonlyRootfs")),
        network=str(host.get("NetworkMode") or ""),
        labels={str(k): str(v) for k, v in (config.get("Labels") or {}).items()},
    )


def moment(text: str) -> float:
    """Read the engine's time (RFC 3339, up to nanoseconds) as unix seconds; 0 when it is none."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if found is None or text == _NEVER:
        return 0.0
    zone = "+00:00" if found[3] == "Z" else found[3]
    return dt.datetime.fromisoformat(found[1] + zone).timestamp() + float(found[2] or 0)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
