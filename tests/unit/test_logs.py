"""One line an event, whatever its values hold."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync import logs
from confsync.domain.loadbalancer import Problem
from confsync.domain.status import CycleReport, Hold, Outcome, Stage


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logs.LOGGER.level, logging.raiseExceptions
    yield
    root.handlers[:], level, own, logging.raiseExceptions = before
    root.setLevel(level)
    logs.LOGGER.setLevel(own)


def record(said: str = "an event", /, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("confsync", logging.WARNING, "", 0, "%s", (said,), None)
    made.created = 1_700_000_000.25
    made.fields = fields
    return made


def text(said: str = "an event", /, **fields: object) -> str:
    return logs.Text().format(record(said, **fields))


def as_json(**fields: object) -> dict[str, object]:
    line = logs.Json().format(record(**fields))
    assert line.isascii()
    loaded = json.loads(line)
    assert isinstance(loaded, dict)
    return loaded


def test_text() -> None:
    line = text(why="web changed", services=3, yes=True, ms={"all": 1.25}, names=("a", "b"), e="")
    assert line == (
        "2023-11-14T22:13:20.250Z warning an event"
        ' why="web changed" services=3 yes=yes ms=all:1.25 names="a; b" e=""'
    )


def test_json() -> None:
    assert as_json(why="web changed", services=3, ms={"all": 1.25}, names=("a", "b")) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "event": "an event",
        "why": "web changed",
        "services": 3,
        "ms": {"all": 1.25},
        "names": ["a", "b"],
    }


def test_a_field_cannot_pass_for_time_level_or_event() -> None:
    line = as_json(event="forged", level="info", time="never")
    assert (line["event"], line["level"]) == ("an event", "warning")
    assert (line["event_"], line["level_"], line["time_"]) == ("forged", "info", "never")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", r'"a\nb"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        ("a=b c", '"a=b c"'),
        ("x=1", '"x=1"'),
        ('"', r'"\""'),
        ("\u202eabc", r'"\u202eabc"'),
        ("\x9b2J", r'"\x9b2J"'),
        ("\u2028", r'"\u2028"'),
        ("\ud800", r'"\ud800"'),
        ("é", '"é"'),
    ],
)
def test_hostile_values(value: str, shown: str) -> None:
    assert text(v=value).endswith(f" v={shown}")
    assert text(v=[value, "x"]).isprintable()
    assert text(v={value: value}).isprintable()
    assert text(value).isprintable()
    assert as_json(v=value)["v"] == value


FIELD = re.compile(r' v=("(?:[^"\\]|\\.)*"|[^" =]+)')


@given(st.one_of(st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text())))
def test_no_value_adds_a_line_or_field(value: object) -> None:
    line = text(v=value)
    assert line.isprintable()
    assert FIELD.fullmatch(line, line.index(" v="))
    assert len(logs.Json().format(record(v=value)).splitlines()) == 1


def test_a_long_value_is_cut() -> None:
    assert len(text(v="x y" * 5000)) < 2100
    assert len(str(as_json(v="x" * 5000)["v"])) == 2000


def test_numbers_that_json_does_not_know() -> None:
    line = logs.Json().format(record(v=float("inf"), w={"x": float("nan")}))
    assert json.loads(line, parse_constant=pytest.fail)["v"] == "inf"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("text", io.StringIO, False),
        ("json", Terminal, True),
    ],
)
def test_formats(form: str, stream: type[io.StringIO], is_json: bool) -> None:
    to = stream()
    logs.configure(level="info", form=form, stream=to, environ={})  # type: ignore[arg-type]
    logs.event(logs.LOGGER, "info", "an event", a=1)
    logs.event(logs.LOGGER, "debug", "not this one")
    (line,) = lines(to)
    assert line.startswith("{") is is_json


def test_the_journal_gets_priorities(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as stream:
        at = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"}
        logs.configure(level="debug", form="auto", stream=stream, environ=environ)
        for level in ("debug", "info", "warning", "error"):
            logs.event(logs.LOGGER, level, "an event", a=1)
        stream.seek(0)
        assert stream.read() == "".join(f"<{n}>an event a=1\n" for n in (7, 6, 4, 3))


def test_a_journal_elsewhere_is_not_ours() -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="auto", stream=stream, environ={"JOURNAL_STREAM": "1:2"})
    logs.event(logs.LOGGER, "info", "an event")
    assert lines(stream)[0].startswith("{")


def test_configured_again_it_speaks_once() -> None:
    old, stream = io.StringIO(), io.StringIO()
    logs.configure(level="info", form="text", stream=old, environ={})
    logs.configure(level="error", form="text", stream=stream, environ={})
    logs.event(logs.LOGGER, "error", "an event")
    logs.event(logs.LOGGER, "warning", "another")
    assert (len(lines(old)), len(lines(stream))) == (0, 1)


def test_other_libraries_speak_from_warnings_on() -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="json", stream=stream, environ={})
    logging.getLogger("other").info("chatter")
    logging.getLogger("other").warning("%s", "a\nb")
    (line,) = lines(stream)
    assert json.loads(line)["logger"] == "other"
    assert json.loads(line)["event"] == "a\nb"


def test_tracebacks_only_when_wanted() -> None:
    try:
        raise ValueError("a\nb")  # noqa: TRY301
    except ValueError:
        made = record()
        made.exc_info = sys.exc_info()
    assert "Traceback" not in logs.Text().format(made)
    assert r"error=\"ValueError('a\\nb')\"".replace('\\"', '"') in logs.Text().format(made)
    assert "\n    Traceback" in logs.Text(tracebacks=True).format(made)
    assert all(
        line.startswith("<4>")
        for line in logs.Text(tracebacks=True, journal=True).format(made).splitlines()
    )
    assert "Traceback" not in logs.Json().format(made)
    assert "Traceback" in json.loads(logs.Json(tracebacks=True).format(made))["traceback"]


def test_a_closed_stream_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="text", stream=stream, environ={})
    stream.close()
    logs.event(logs.LOGGER, "error", "an event")
    assert capsys.readouterr().err == ""


REPORT = CycleReport(
    outcome=Outcome.RELOADED,
    why="web changed",
    reasons=("a", "b", "c", "d", "e"),
    problems=(Problem(what="port 0", service="x\ny"),),
    services=3,
    servers=12,
    stages={Stage.PLAN: 1.26, Stage.APPLY: 30.0},
)


def test_summary() -> None:
    said, fields = logs.summary(REPORT)
    assert said == "cycle: reloaded"
    assert fields == {
        "why": "web changed",
        "services": 3,
        "servers": 12,
        "done": ("a", "b", "c", "and 2 more"),
        "problems": 1,
        "ms": {"all": 31.3, "plan": 1.3, "apply": 30.0},
    }
    assert logs.severity(REPORT) == "info"


def test_summary_of_a_failed_held_or_paused_cycle() -> None:
    hold = Hold(service="web\n", reason="lost 3 of 4", since=0)
    failed = CycleReport(
        outcome=Outcome.FAILED, error="refused", detail="x", failed_stage=Stage.CHECK, holds=(hold,)
    )
    _, fields = logs.summary(failed)
    assert fields["error"] == "refused"
    assert fields["stage"] == "check"
    assert fields["held"] == ("web\n",)
    assert logs.severity(failed) == "error"
    held = CycleReport(outcome=Outcome.IN_STEP, holds=(Hold(service="", reason="", since=0),))
    assert logs.summary(held)[1]["held"] == ("the registry",)
    assert logs.severity(held) == "warning"
    assert logs.summary(CycleReport(outcome=Outcome.PAUSED))[1]["paused"] is True


def test_telemetry_writes_the_summary() -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="text", stream=stream, environ={})
    logs.report(logs.LOGGER, REPORT)
    logs.event(logs.LOGGER, "warning", "another", error="x y")
    first, second = lines(stream)
    assert first.endswith(
        ' info    cycle: reloaded why="web changed" services=3 servers=12'
        ' done="a; b; c; and 2 more" problems=1 ms=all:31.3,plan:1.3,apply:30'
    )
    assert second.endswith(' warning another error="x y"')


def test_why_it_was_a_reload_is_told_first() -> None:
    servers = tuple(f"backend b: server {name} added" for name in "abcd")
    made = CycleReport(
        outcome=Outcome.RELOADED, reasons=(*servers, "too many"), reload=("a doubt", "too many")
    )
    assert logs.summary(made)[1]["done"] == ("a doubt", "too many", servers[0], "and 3 more")
    waits = CycleReport(outcome=Outcome.APPLIED, reasons=(*servers, "other"), reload=("other",))
    assert logs.summary(waits)[1]["done"] == (*servers[:3], "and 2 more")
