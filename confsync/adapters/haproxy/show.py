"""Reads what HAProxy answers: text in, values out, nothing else. Formats of 2.6 to 3.2.

Sources: management.txt 9.3 (`show info`, `show servers state`) and 9.4 (`show proc`, `reload`,
`show startup-logs`); tests/unit/adapters/haproxy/captured holds real answers of each version.
"""

import re
from dataclasses import dataclass

from confsync.domain.running import ServerState, Worker

_PROC_LINE = re.compile(
    r"(?P<pid>\d+)\s+(?P<type>\S+)\s+(?P<reloads>\d+|-)(?:\s+\[failed: (?P<failed>\d+)\])?"
    r"\s+(?P<uptime>\d+d\d\dh\d\dm\d\ds)(?:\s+(?P<version>\S+))?\s*$"
)
_INFO_LINE = re.compile(
    r"^(Name|Pid|Start_time_sec|Stopping|Uptime_sec|Version): ([^\r\n]*)", re.MULTILINE
)
"""Of some seventy lines; it is asked for with each change."""
_UPTIME = re.compile(r"(\d+)d(\d\d)h(\d\d)m(\d\d)s")
_MAX_RELOADS = re.compile(r"^\s*mworker-max-reloads\s+(\d+)", re.MULTILINE)

# srv_admin_state: forced, inherited, resolver's and host name's maintenance; 0x04 only says that the
# configuration had `disabled` and stays after `ready` (management.txt 9.3, `show servers state`).
_MAINTENANCE = 0x01 | 0x02 | 0x20 | 0x40
# srv_check_state: CHK_ST_CONFIGURED and CHK_ST_ENABLED (same page).
_CHECKS_RUN = 0x02 | 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """`show info` of a worker. `started`: unix seconds, 0 where HAProxy does not say (before 2.5)."""

    pid: int
    version: str
    started: float
    uptime: float
    stopping: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """`show proc` of a master. `failed`: failed reloads since the last good one, -1 when not told.

    3.2 lists the good worker that survives a failed reload as an old one, with no current worker.
    """

    master_pid: int
    reloads: int
    failed: int
    version: str
    workers: tuple[Worker, ...]
    old_workers: tuple[Worker, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReply:
    """What the master answers to `reload`: `success` None on 2.6, which answers nothing."""

    success: bool | None
    log: str


def info(text: str) -> Info | None:
    """Parse `show info`; None when it is no such answer (an error's text, an empty one)."""
    fields = dict(_INFO_LINE.findall(text))
    pid = fields.get("Pid", "")
    if fields.get("Name") != "HAProxy" or not pid.isdigit():
        return None
    return Info(
        pid=int(pid),
        version=fields.get("Version", "").strip(),
        started=_number(fields.get("Start_time_sec")),
        uptime=_number(fields.get("Uptime_sec")),
        stopping=fields.get("Stopping", "0").strip() not in {"", "0"},
    )


def processes(text: str) -> Processes | None:
    """Parse `show proc`; None when it is no such answer."""
    section = ""
    master: re.Match[str] | None = None
    found: dict[str, list[Worker]] = {"workers": [], "old workers": []}
    for line in text.splitlines():
        if line.startswith("#"):
            section = line[1:].strip()
            continue
        if not (match := _PROC_LINE.match(line)):
            continue
        if match["type"] == "master":
            master = match
        elif match["type"] == "worker" and section in found:
            found[section].append(_worker(match))
    if master is None:
        return None
    return Processes(
        master_pid=int(master["pid"]),
        reloads=int(master["reloads"]) if master["reloads"] != "-" else -1,
        failed=int(master["failed"]) if master["failed"] is not None else -1,
        version=master["version"] or "",
        workers=tuple(found["workers"]),
        old_workers=tuple(found["old workers"]),
    )


def reload_reply(text: str) -> ReloadReply:
    """Parse the answer to `reload`: `Success=0|1`, a line `--`, the parser's log (2.7 and on)."""
    first, _, rest = text.strip().partition("\n")
    match first.strip():
        case "Success=1":
            success: bool | None = True
        case "Success=0":
            success = False
        case _:
            return ReloadReply(success=None, log=text.strip())
    return ReloadReply(success=success, log=rest.removeprefix("--").strip())


def startup_logs(text: str) -> str:
    """Return the words of the last start or reload; "" where the master does not know the command."""
    stripped = text.strip()
    return "" if stripped.startswith(("Unknown command", "Permission denied")) else stripped


def servers(text: str) -> tuple[ServerState, ...]:
    """Parse `show servers state`, by the names of its columns. A version line comes first."""
    columns: list[str] = []
    states: list[ServerState] = []
    for line in text.splitlines():
        if line.startswith("# "):
            columns = line[2:].split()
            continue
        words = line.split()
        if columns and len(words) == len(columns):
            states.append(_server(dict(zip(columns, words, strict=True))))
    return tuple(states)


def max_reloads(config: str, version: str) -> int:
    """Return how many reloads a worker may outlive by this configuration; 0: as many as it likes.

    The default is 50 from 3.3 on (configuration.txt 3.1, `mworker-max-reloads`).
    """
    found = _MAX_RELOADS.findall(config)
    if found:
        return int(found[-1])
    return 50 if release(version) >= (3, 3) else 0


def release(version: str) -> tuple[int, int]:
    """Return the branch of a version, such as (2, 6) of "2.6.12-1+deb12u4"; (0, 0): unknown."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _worker(match: re.Match[str]) -> Worker:
    return Worker(
        pid=int(match["pid"]),
        reloads=int(match["reloads"]) if match["reloads"] != "-" else 0,
        uptime=_seconds(match["uptime"]),
        version=match["version"] or "",
    )


def _server(row: dict[str, str]) -> ServerState:
    in_maintenance = bool(_bits(row, "srv_admin_state") & _MAINTENANCE)
    checks_run = _bits(row, "srv_check_state") & _CHECKS_RUN == _CHECKS_RUN
    return ServerState(
        backend=row.get("be_name", ""),
        server=row.get("srv_name", ""),
        address=row.get("srv_addr", ""),
        port=_bits(row, "srv_port"),
        up=row.get("srv_op_state", "0") != "0",
        checked=checks_run and not in_maintenance,
    )


def _bits(row: dict[str, str], name: str) -> int:
    value = row.get(name, "")
    return int(value) if value.isdigit() else 0


def _number(value: str | None) -> float:
    try:
        return float(value) if value else 0.0
    except ValueError:
        return 0.0


def _seconds(text: str) -> float:
    match = _UPTIME.fullmatch(text)
    if not match:
        return 0.0
    days, hours, minutes, seconds = map(int, match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
