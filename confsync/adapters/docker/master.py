"""Finds HAProxy's master inside a running container, and how it was started.

It need not be the container's first process: an init or an entrypoint's script may be that.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace

from confsync.adapters.docker.container import Container
from confsync.adapters.docker.inside import Inside
from confsync.core.haproxy import command

# Of each process that is a HAProxy, or of the one that is named: what command.py needs, in hex.
_LOOK = r"""
exec 2>/dev/null
for d in ${1:-/proc/[0-9]*}; do
  read -r c <"$d/comm" || continue
  case $1$c in /*|*haproxy*) ;; *) continue ;; esac
  echo "pid ${d#/proc/}"
  echo "cwd $(readlink "$d/cwd")"
  echo "exe $(readlink "$d/exe")"
  for f in status cmdline environ; do
    echo "$f $(od -An -v -tx1 "$d/$f" | tr -d ' \n')"
  done
done
"""


_TRIES = 5
_PAUSE = 0.05
"""Seconds between two looks at a master that has no command line at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """A running master. `user`: its numbers, UID:GID."""

    command: command.MasterCommand
    user: str


class Masters:
    """Finds it; one that HAProxy names by its pid is looked at once."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._known: tuple[tuple[str, float], int, Master] | None = None

    async def find(self, container: Container, pid: int = 0) -> Master | None:
        """Look at the processes of a running container.

        `pid`: as HAProxy itself tells it, 0 when it does not. None when there is no master to be
        seen: it does not run, or the image has no shell.
        """
        if pid and self._known is not None and self._known[:2] == (container.life, pid):
            return self._known[2]
        for _ in range(_TRIES):
            one = _master(await self._look(container, f"/proc/{pid}" if pid else "", ""))
            if one is None:
                return None
            if one.cmdline:
                break
            await asyncio.sleep(_PAUSE)  # it executes itself anew
        else:
            return None
        if not one.environ:
            # Without CAP_SYS_PTRACE even root may not read another's; its own user may.
            again = await self._look(container, f"/proc/{one.pid}", one.user)
            one = _master(again) or one
        made = _commanded(one, container)
        if pid and made is not None:
            self._known = (container.life, pid, made)
        return made

    async def _look(self, container: Container, folder: str, user: str) -> "list[_Process]":
        argv = ["sh", "-c", _LOOK, "sh", *([folder] if folder else [])]
        _, output = await self._inside.run(container, argv, user=user)
        return _processes(output.decode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    parent: int
    user: str
    cmdline: bytes
    environ: bytes
    cwd: str
    exe: str


def _processes(output: str) -> list[_Process]:
    found: list[dict[str, str]] = []
    for line in output.splitlines():
        name, _, value = line.partition(" ")
        if name == "pid":
            found.append({})
        if found:
            found[-1][name] = value
    made = []
    for each in found:
        with contextlib.suppress(ValueError, KeyError, IndexError):
            status = dict(
                line.split(":", 1)
                for line in bytes.fromhex(each["status"]).decode("utf-8", "replace").splitlines()
            )
            made.append(
                _Process(
                    pid=int(each["pid"]),
                    parent=int(status["PPid"]),
                    user=f"{status['Uid'].split()[1]}:{status['Gid'].split()[1]}",
                    cmdline=bytes.fromhex(each["cmdline"]),
                    environ=bytes.fromhex(each["environ"]),
                    cwd=each["cwd"],
                    exe=each["exe"],
                )
            )
    return made


def _master(found: list[_Process]) -> _Process | None:
    """Choose the master: no child of another one, no check; the oldest of several."""
    pids = {each.pid for each in found}
    masters = [
        each
        for each in found
        if each.parent not in pids and b"-c" not in each.cmdline.split(b"\0")[1:]
    ]
    return min(masters, key=lambda each: each.pid, default=None)


def _commanded(one: _Process, container: Container) -> Master | None:
    told = command.told(
        one.pid,
        cmdline=one.cmdline,
        environ=one.environ or None,
        directory=one.cwd,
        program=one.exe,
    )
    if told is None:
        return None
    notes: tuple[str, ...] = ()
    environment = told.environment
    if environment is None:
        environment = command.clean(container.environment)
        note = (
            "HAProxy's environment may not be read inside: ${VARIABLES} in the configuration are "
            f"checked with that of the container {container.name}"
        )
        notes = (note,)
    return Master(command=replace(told, environment=environment, notes=notes), user=one.user)
