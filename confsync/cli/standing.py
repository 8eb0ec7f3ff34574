"""What status, release, pause and resume print of an agent's reply.

The reply is read with care: the agent may be of another version, so anything may be missing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from confsync.cli import output
from confsync.cli.reading import number as _number
from confsync.cli.reading import table as _table
from confsync.cli.reading import tables as _tables
from confsync.cli.reading import text as _text
from confsync.cli.reading import texts as _texts
from confsync.domain.loadbalancer import Problem
from confsync.domain.printable import printable
from confsync.domain.status import Hold

REGISTRY = "the registry"
"""How the agent names the hold of the registry as a whole."""

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def status(reply: Mapping[str, Any], *, now: float, color: bool, more: Iterable[str] = ()) -> str:
    """Show how the agent is. `now`: unix seconds; `more`: lines of who runs the agent."""
    pid, age = int(_number(reply, "pid")), span(now - _number(reply, "started"))
    lines = [f"confsync {printable(_text(reply, 'version'))}, pid {pid}, running for {age}"]
    if reply.get("alive") is not True:
        lines.append(output.paint("stuck: a cycle does not end", "red", color=color))
    if reply.get("paused") is True:
        text = "paused: nothing is written or applied; `confsync resume` ends it"
        lines.append(output.paint(text, "yellow", color=color))
    lines.append(f"source:   {_source(_table(reply, 'source'), now)}")
    lines.append(f"haproxy:  {_haproxy(_table(reply, 'haproxy'))}")
    lines += _served(_tables(reply, "workers"))
    lines += _cycle(_table(reply, "report"), now, color=color)
    lines += _runtime(_table(reply, "runtime"))
    lines += more
    if _number(reply, "next_retry") > 0:
        lines.append(f"retry:    in {span(_number(reply, 'next_retry'))}")
    source, haproxy = _table(reply, "source"), _table(reply, "haproxy")
    sections = [
        ("Problems", [output.problem(each) for each in _problems(reply)]),
        ("Held", [output.hold(each, command="confsync release") for each in _holds(reply)]),
        (
            "Notes",
            [
                *(
                    f"denied to the token: {output.quoted(name)}"
                    for name in _texts(source, "denied")
                ),
                *map(printable, _texts(source, "notes")),
                *map(printable, _texts(haproxy, "notes")),
                *map(printable, _texts(_table(reply, "report"), "notes")),
                *(
                    f"held by hand: {printable(what)}"
                    for what in _texts(_table(reply, "runtime"), "by_hand")
                ),
            ],
        ),
    ]
    for head, items in sections:
        if items:
            lines.append(output.paint(head, "bold", color=color))
            lines += [f"  - {item}" for item in dict.fromkeys(items)]
    return "\n".join(lines) + "\n"


def release(reply: Mapping[str, Any], *, now: float) -> str:
    """Show what was let go, or what is held."""
    released = _texts(reply, "released")
    if released:
        names = (each if each == REGISTRY else output.quoted(each) for each in released)
        return f"let go with the next cycle: {', '.join(names)}\n"
    held = [
        f"{output.hold(each, command='confsync release')}\n    for {span(now - each.since)} so far"
        for each in _holds(reply)
    ]
    return "".join(f"{each}\n" for each in held) if held else "nothing is held\n"


def pause(*, paused: bool) -> str:
    """Show what a pause or its end means."""
    if paused:
        return "paused: confsync watches, plans and reports, and changes nothing\n"
    return "resumed\n"


def span(seconds: float) -> str:
    """Show a time span by its two largest units: "2 h 5 min"."""
    left = max(0, int(seconds))
    words: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {unit}")
    return " ".join(words[:2]) if words else f"{max(0.0, seconds):.1f} s"


def _source(source: Mapping[str, Any], now: float) -> str:
    since = _number(source, "since")
    how_long = f" for {span(now - since)}" if since else ""
    if source.get("up") is True:
        return f"answers{how_long}"
    said = printable(_text(source, "error"))
    return f"does not answer{how_long}{': ' if said else ''}{said}"


def _haproxy(haproxy: Mapping[str, Any]) -> str:
    if haproxy.get("running") is not True:
        why = printable(_text(haproxy, "why"))
        return f"does not run{': ' if why else ''}{why}" if haproxy else "not looked at yet"
    words = [
        f"{printable(_text(haproxy, 'version'))} runs, worker {_number(haproxy, 'worker_pid'):.0f}"
    ]
    old = haproxy.get("old_workers")
    if isinstance(old, list) and old:
        words.append(f"{len(old)} old worker{'s' if len(old) > 1 else ''} finishing")
    if haproxy.get("loading") is True:
        words.append("a reload under way")
    return ", ".join(words)


def _served(workers: list[Mapping[str, Any]]) -> list[str]:
    """Sum what the workers serve, those that a reload has replaced as well."""
    if not workers:
        return []
    old = [worker for worker in workers if worker.get("old") is True]
    sessions = sum(int(_number(worker, "sessions")) for worker in workers)
    requests = sum(int(_number(worker, "requests")) for worker in workers)
    words = f"{output.count(sessions, 'session')} now, {output.count(requests, 'request')} so far"
    if old:
        finishing = sum(int(_number(worker, "sessions")) for worker in old)
        many = output.count(len(old), "old worker")
        words += f"; of them {output.count(finishing, 'session')} in {many}"
    return [f"serving:  {words}"]


def _cycle(report: Mapping[str, Any], now: float, *, color: bool) -> list[str]:
    if not report:
        return ["cycle:    none yet"]
    stages = report.get("stages")
    spent = sum(_number(stages, stage) for stage in stages) if isinstance(stages, dict) else 0
    said = printable(_text(report, "error"))
    words = (
        f"{printable(_text(report, 'outcome'))}, {span(now - _number(report, 'finished'))} ago, "
        f"{spent:.0f} ms: {output.count(int(_number(report, 'services')), 'service')}, "
        f"{output.count(int(_number(report, 'servers')), 'server')}"
    )
    why = printable(_text(report, "why"))
    lines = [f"cycle:    {words}{f' ({why})' if why else ''}"]
    if said:
        lines.append(output.paint(f"error:    {said}", "red", color=color))
        lines += [f"  {printable(line)}" for line in _text(report, "detail").splitlines()]
    return lines


def _runtime(runtime: Mapping[str, Any]) -> list[str]:
    """Show what was done without a reload; nothing where that is off, or was never needed."""
    counts = _table(runtime, "counts")
    words = [
        output.count(int(_number(counts, name)), noun)
        for name, noun in (("steps", "step"), ("repaired", "repair"), ("doubts", "doubt"))
        if _number(counts, name)
    ]
    if left := len(_tables(runtime, "leftovers")):
        words.append(f"{output.count(left, 'retired server')} to be deleted")
    return [f"runtime:  {', '.join(words)}"] if words else []


def _problems(reply: Mapping[str, Any]) -> Iterable[Problem]:
    for each in _tables(reply, "problems"):
        yield Problem(
            what=_text(each, "what"),
            service=_text(each, "service"),
            instance=_text(each, "instance"),
            dropped=each.get("dropped") is True,
            template=_text(each, "template"),
            line=int(_number(each, "line")),
        )


def _holds(reply: Mapping[str, Any]) -> Iterable[Hold]:
    for each in _tables(reply, "holds"):
        yield Hold(
            service=_text(each, "service"),
            reason=_text(each, "reason"),
            since=_number(each, "since"),
            dropped=tuple(_texts(each, "dropped")),
            until=_number(each, "until"),
        )
