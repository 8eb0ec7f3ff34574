"""What confsync says on standard error while it works: constant event texts with fields.

Values are foreign text: each is escaped, so that none can add a line, a field or a terminal's escape.
What a cycle did is one line (summary). What a command prints for people stands in cli/output.py.
"""

import json
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from confsync.domain import printable
from confsync.domain.status import CycleReport, Outcome

LOGGER = logging.getLogger("confsync")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# sd-daemon(3): a line's first characters give the journal its priority (syslog(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_BARE = re.compile(r"[A-Za-z0-9_.,:;/@*%+()-]+")
_LONGEST = 2000
"""Characters of a value; HAProxy's words on a large configuration would drown the journal."""
_FEW, _MORE = 3, 8
_HANDLER = "confsync"


def configure(
    *,
    level: str,
    form: Literal["auto", "text", "json"],
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
    debug: bool = False,
) -> None:
    """Send all logs to a stream (standard error); may be called again, for settings read anew.

    `form`: "auto" is text on a terminal and in the journal, JSON elsewhere. `debug`: with tracebacks,
    and everything of confsync's own. Other libraries speak from warnings on.
    """
    stream = sys.stderr if stream is None else stream
    journal = _is_journal(stream, os.environ if environ is None else environ)
    as_text = form == "text" or (form == "auto" and (journal or stream.isatty()))
    handler = logging.StreamHandler(stream)
    handler.name = _HANDLER
    handler.setFormatter(
        Text(journal=journal, tracebacks=debug) if as_text else Json(tracebacks=debug)
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if each.name == _HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.DEBUG if debug else _LEVELS[level])
    # A log that cannot be written (a full disk, a closed pipe) must not print tracebacks.
    logging.raiseExceptions = False


def event(logger: logging.Logger, level: str, text: str, /, **fields: object) -> None:
    """Log a constant text with fields. `level`: debug, info, warning or error."""
    logger.log(_LEVELS[level], "%s", text, extra={"fields": fields})


def report(logger: logging.Logger, cycle: CycleReport, *, news: bool = True) -> None:
    """Log a cycle's summary; as a detail when it brings no news."""
    text, fields = summary(cycle)
    event(logger, severity(cycle) if news else "debug", text, **fields)


def summary(report: CycleReport) -> tuple[str, dict[str, object]]:
    """Make the one line of a cycle: a constant text for its outcome, and fields.

    Fields that have nothing to tell are left out; `ms` has each stage's milliseconds, and their sum.
    """
    held = [hold.service or "the registry" for hold in report.holds]
    # Of the few that are told, those that made a reload necessary come first.
    first = report.reload if report.outcome is Outcome.RELOADED else ()
    fields: dict[str, object] = {
        "why": report.why,
        "services": report.services,
        "servers": report.servers,
        "done": _few(tuple(dict.fromkeys((*first, *report.reasons)))),
        "paused": report.outcome is Outcome.PAUSED,
        "held": _few(held),
        "problems": len(report.problems),
        "notes": _few(report.notes, _MORE),
        "stage": report.failed_stage or "",
        "error": report.error,
        "detail": report.detail,
        "ms": {
            "all": round(sum(report.stages.values()), 1),
            **{stage.value: round(ms, 1) for stage, ms in report.stages.items()},
        },
    }
    kept = ("why", "services", "servers", "ms")
    return f"cycle: {report.outcome.value}", {
        key: value for key, value in fields.items() if value or key in kept
    }


def severity(report: CycleReport) -> str:
    """Choose the level of a cycle's summary."""
    if report.outcome is Outcome.FAILED or report.error:
        return "error"
    return "warning" if report.holds else "info"


class Text(logging.Formatter):
    """One line for people: time, level, event, key=value. In the journal, priority instead of time."""

    def __init__(self, *, journal: bool = False, tracebacks: bool = False) -> None:
        super().__init__()
        self._journal = journal
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Write a record. A traceback, where wanted, follows on lines of its own."""
        event_, fields = _parts(record)
        start = (
            f"<{_PRIORITIES.get(record.levelno, 6)}>"
            if self._journal
            else f"{_time(record)} {record.levelname.lower():7} "
        )
        words = [printable.printable(event_)]
        words += [f"{_word(key)}={_plain(value)}" for key, value in fields.items()]
        line = start + " ".join(words)
        if self._tracebacks and record.exc_info:
            for each in self.formatException(record.exc_info).splitlines():
                line += f"\n{start if self._journal else '    '}{printable.printable(each)}"
        return line


class Json(logging.Formatter):
    """One JSON object a line, in ASCII: `time`, `level`, `event`, then the fields."""

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; a traceback, where wanted, is the field `traceback`."""
        event_, fields = _parts(record)
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": event_,
        }
        # A field never replaces one of the three.
        line |= {f"{key}_" if key in line else key: _jsonable(v) for key, v in fields.items()}
        if self._tracebacks and record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)


def _parts(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    fields = getattr(record, "fields", None)
    found = dict(fields) if isinstance(fields, dict) else {}
    if not record.name.startswith("confsync"):
        found["logger"] = record.name
    if record.exc_info and record.exc_info[1] is not None:
        found.setdefault("error", repr(record.exc_info[1]))
    return record.getMessage(), found


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _plain(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case dict():
            return _word(",".join(f"{key}:{_plain(item)}" for key, item in value.items()))
        case list() | tuple() | set() | frozenset():
            return _quoted("; ".join(str(item) for item in value))
        case None:
            return '""'
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    """Write a text as one word: bare where that is unambiguous, else between quotes, escaped."""
    if _BARE.fullmatch(text):
        return text
    # After dumps only what is printable but for others' scripts and marks is left to escape.
    return printable.printable(json.dumps(printable.shortened(text, _LONGEST), ensure_ascii=False))


def _jsonable(value: object) -> object:
    match value:
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return printable.shortened(str(value), _LONGEST)
        case dict():
            return {str(key): _jsonable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_jsonable(item) for item in value]
        case _:
            return printable.shortened(str(value), _LONGEST)


def _few(texts: tuple[str, ...] | list[str], count: int = _FEW) -> tuple[str, ...]:
    more = len(texts) - count
    return (*texts[:count], f"and {more} more") if more > 0 else tuple(texts)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether the stream leads into the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
