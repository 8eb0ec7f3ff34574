"""What once and check print for people, and how errors look. Values in, text out.

Everything that came from elsewhere is escaped here (the diff too: it holds what a registry wrote and
what a foreign hand edited), so that no text moves the cursor or forges a line.
"""

import shlex
from collections.abc import Iterable

from confsync.domain.loadbalancer import Problem
from confsync.domain.printable import printable, shortened
from confsync.domain.status import CycleReport, Hold, Outcome

_CODES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_MOST = 20
"""Server names that a hold shows at most."""


def once(report: CycleReport, *, applied: bool, color: bool) -> str:
    """Show a turn: plan, Problems, holds, notes, diff, and one closing line."""
    parts = [_listing("Plan", report.reasons, color=color)] if report.reasons else []
    if report.steps:
        last = [f"then a reload: {why}" for why in report.reload]
        parts.append(_listing("Without a reload", (*report.steps, *last), color=color))
    parts += _remarks(report, color=color, command="confsync once --apply --release")
    if report.diff:
        parts.append(diff(report.diff, color=color))
    parts.append(_closing(report, applied=applied, color=color))
    return "\n".join(parts)


def check(report: CycleReport, *, haproxy: bool, color: bool) -> str:
    """Show a check: Problems, notes, and one closing line."""
    parts = _remarks(report, color=color, command="confsync release")
    if report.error:
        stage = f" in stage {report.failed_stage}" if report.failed_stage else ""
        parts.append(paint(f"refused{stage}", "red", color=color) + "\n")
    elif haproxy:
        parts.append(
            paint("good: settings, templates and configuration", "green", color=color) + "\n"
        )
    else:
        text = "good: settings and templates; HAProxy's own check was left out"
        parts.append(paint(text, "green", color=color) + "\n")
    return "\n".join(parts)


def error(what: str, remedy: str, detail: str) -> str:
    """Show an error: what, then the remedy and details beneath it, indented."""
    lines = [f"confsync: error: {printable(what)}"]
    if remedy:
        lines.append(f"  {printable(remedy)}")
    lines += [f"  {printable(line, keep=chr(9))}" for line in detail.splitlines()]
    return "\n".join(lines) + "\n"


def bug(exception: BaseException) -> str:
    """Show a bug by its kind and place.

    Not by its words: those of a library may quote what it was given, a token among it (aiohttp does,
    of a header that it refuses). They come with --debug.
    """
    place, trace = "", exception.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.startswith("confsync"):
            place = f" in {name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return (
        f"confsync: a bug of confsync: {type(exception).__name__}{place}\n"
        "  please report it, with what the same command says with --debug\n"
    )


def diff(text: str, *, color: bool) -> str:
    """Show a unified diff, coloured by its first characters."""
    lines = []
    for line in text.removesuffix("\n").split("\n"):
        match line[:3], line[:1]:
            case ("---" | "+++", _):
                style = "bold"
            case ("@@ ", _):
                style = "cyan"
            case (_, "+"):
                style = "green"
            case (_, "-"):
                style = "red"
            case _:
                style = ""
        lines.append(paint(printable(line, keep="\t"), style, color=color))
    return "\n".join(lines) + "\n"


def problem(each: Problem) -> str:
    """Show what was not taken."""
    where = f"service {_shown(each.service)}" if each.service else ""
    if each.instance:
        where += f"{', ' if where else ''}instance {_shown(each.instance)}"
    template = f"{each.template}:{each.line}" if each.line else each.template
    cost = "" if not each.dropped else "; left out"
    start = "; ".join(printable(part) for part in (template, where) if part)
    return f"{start}{': ' if start else ''}{printable(each.what)}{cost}"


def hold(each: Hold, *, command: str) -> str:
    """Show a hold and how it ends. `command`: what releases a service, before its name."""
    from datetime import UTC, datetime  # noqa: PLC0415 - few turns have holds

    def moment(seconds: float) -> str:
        try:
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        except (OverflowError, ValueError, OSError):
            return "an unknown time"

    name = quoted(each.service) if each.service else "the registry"
    shown = ", ".join(printable(name) for name in each.dropped[:_MOST])
    more = len(each.dropped) - _MOST
    dropped = f"{shown} and {more} more" if more > 0 else shown
    again = (
        f"asked again at {moment(each.until)}"
        if each.until
        else "by itself only when it fills again"
    )
    lines = [
        f"{name}: {printable(each.reason)}; held since {moment(each.since)}, {again}",
        *([f"  a release would drop {dropped}"] if each.dropped else []),
        f"  to let it go: {_release(each, command)}",
    ]
    return "\n    ".join(lines)


def _release(each: Hold, command: str) -> str:
    if not each.service:
        return "`confsync release --registry`"
    if not each.service.isprintable():
        return "`confsync release --all`"  # its name cannot be typed
    dashes = ""
    if each.service.startswith("-"):
        command, dashes = "confsync release", "-- "
    return f"`{command} {dashes}{shlex.quote(each.service)}`"


def quoted(text: str) -> str:
    """Show a foreign name: bare where it is plain, else between quotes, escaped, cut."""
    plain = text.isascii() and all(c.isalnum() or c in "-_.:/" for c in text)
    return text if text and plain and len(text) <= 80 else f'"{printable(shortened(text, 80))}"'


def _shown(text: str) -> str:
    """Show a Problem's name, which the core has put between quotes already where it is odd."""
    return printable(text) if text[:1] in {"'", '"'} else quoted(text)


def paint(text: str, style: str, *, color: bool) -> str:
    """Colour a text for a terminal."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if color and style else text


def _remarks(report: CycleReport, *, color: bool, command: str) -> list[str]:
    parts = []
    if report.problems:
        parts.append(_listing("Problems", map(problem, report.problems), color=color, safe=True))
    if report.holds:
        held = (hold(each, command=command) for each in report.holds)
        parts.append(_listing("Held", held, color=color, safe=True))
    if report.notes:
        parts.append(_listing("Notes", report.notes, color=color))
    return parts


def _listing(head: str, items: Iterable[str], *, color: bool, safe: bool = False) -> str:
    lines = [f"  - {item if safe else printable(item)}\n" for item in items]
    return paint(head, "bold", color=color) + "\n" + "".join(lines)


def _closing(report: CycleReport, *, applied: bool, color: bool) -> str:
    about = f"{count(report.services, 'service')}, {count(report.servers, 'server')}"
    if report.holds:
        about += f", {len(report.holds)} held"
    if report.problems:
        about += f", {count(len(report.problems), 'problem')}"
    style, hint, word = "green", "", report.outcome.value
    match report.outcome:
        case Outcome.FAILED:
            style = "red"
            if report.reasons and not applied:
                word = "would fail"  # a plan was made, and only tried
            hint = f"; in stage {report.failed_stage}" if report.failed_stage else ""
        case Outcome.WOULD_CHANGE:
            style = "yellow"
            hint = "" if applied or report.error else "; `confsync once --apply` does it"
        case Outcome.PAUSED:
            style, hint = "yellow", "; nothing was changed, `confsync resume` ends the pause"
        case Outcome.WAITING | Outcome.PENDING:
            style = "yellow"
        case _:
            pass
    return paint(f"{word}: {about}{hint}", style, color=color) + "\n"


def count(number: int, noun: str) -> str:
    """Count things: "1 server", "2 servers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
