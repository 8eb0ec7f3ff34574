"""Reads /proc of a running master: how it was started is core.haproxy.command's.

Knows no socket (cli.py learns the pid by SO_PEERCRED) and runs nothing.
"""

from pathlib import Path

from confsync.core.haproxy import command


def read(pid: int, proc: Path = Path("/proc")) -> command.MasterCommand | None:
    """Read a master's command; None when this pid is no HAProxy that we can see."""
    folder = proc / str(pid)
    try:
        cmdline = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    return command.told(
        pid,
        cmdline=cmdline,
        environ=_bytes(folder / "environ"),
        directory=_link(folder / "cwd"),
        program=_link(folder / "exe"),
    )


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
