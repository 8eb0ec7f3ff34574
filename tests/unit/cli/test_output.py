"""What people read: golden texts, and that no foreign text moves the cursor or forges a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.cli import output
from confsync.domain.status import CycleReport, Hold, Outcome, Stage
from tests.unit.cli.reports import DIFF, REPORTS, WOULD_CHANGE

ONCE = """\
Plan
  - backend web: server 10.0.0.2:80 added
  - evil\\n  - forged\\x1b[2J

Problems
  - service "we\\nb", instance web-1: port 0; left out
  - service 'a\\nb': odd; left out
  - service web: weight 300 is taken as 256
  - h.j2:7; service web: quote refuses it; left out

Held
  - "api server": lost 3 of 4 instances; held since 2023-11-14 22:13:20 UTC, asked again at \
2023-11-14 22:14:20 UTC
      a release would drop 10.0.0.1:80, 10.0.0.2:80
      to let it go: `confsync once --apply --release 'api server'`
  - the registry: the registry is empty; held since 2023-11-14 22:13:20 UTC, by itself only when it \
fills again
      to let it go: `confsync release --registry`

Notes
  - no socket /run/x
  - a \\u202e note

--- /etc/haproxy/haproxy.cfg
+++ /etc/haproxy/haproxy.cfg
@@ -1,2 +1,2 @@
 backend web
-	server a 10.0.0.1:80
+	server b 10.0.0.2:80 # \\x1b[2J

would change: 1 service, 2 servers, 2 held, 4 problems; `confsync once --apply` does it
"""


def test_once() -> None:
    assert output.once(WOULD_CHANGE, applied=False, color=False) == ONCE


def test_once_in_step_is_one_line() -> None:
    report = CycleReport(outcome=Outcome.IN_STEP, services=2, servers=3)
    text = output.once(report, applied=False, color=False)
    assert text == "in step: 2 services, 3 servers\n"


def test_once_tells_what_is_done_without_a_reload_and_what_is_not() -> None:
    report = CycleReport(
        outcome=Outcome.WOULD_CHANGE, steps=("add server web/a 10.0.0.1:80",), reload=("new",)
    )
    text = output.once(report, applied=False, color=False)
    assert text.startswith(
        "Without a reload\n  - add server web/a 10.0.0.1:80\n  - then a reload: new\n\n"
    )


def test_a_failure_names_its_stage() -> None:
    report = CycleReport(outcome=Outcome.FAILED, error="x", failed_stage=Stage.CHECK)
    text = output.once(report, applied=True, color=False)
    assert text == "failed: 0 services, 0 servers; in stage check\n"


def test_colours() -> None:
    assert output.diff(DIFF, color=True).splitlines() == [
        "\x1b[1m--- /etc/haproxy/haproxy.cfg\x1b[0m",
        "\x1b[1m+++ /etc/haproxy/haproxy.cfg\x1b[0m",
        "\x1b[36m@@ -1,2 +1,2 @@\x1b[0m",
        " backend web",
        "\x1b[31m-\tserver a 10.0.0.1:80\x1b[0m",
        "\x1b[32m+\tserver b 10.0.0.2:80 # \\x1b[2J\x1b[0m",
    ]
    report = CycleReport(outcome=Outcome.RELOADED)
    text = output.once(report, applied=True, color=True)
    assert text == "\x1b[32mreloaded: 0 services, 0 servers\x1b[0m\n"


@given(REPORTS, st.booleans())
def test_nothing_unprintable_comes_through(report: CycleReport, applied: bool) -> None:
    for text in (
        output.once(report, applied=applied, color=False),
        output.check(report, haproxy=applied, color=False),
        output.error(report.error, report.why, report.detail),
    ):
        assert text.endswith("\n")
        assert text.replace("\n", "").replace("\t", "").isprintable()


@given(REPORTS)
def test_no_text_adds_a_line(report: CycleReport) -> None:
    """Each item has its lines and no more; a section has a head and an empty line behind it."""
    text = output.once(report, applied=False, color=False)
    steps = (*report.steps, *report.reload) if report.steps else ()
    sections = [report.reasons, steps, report.problems, report.holds, report.notes]
    lines = sum(2 + len(each) for each in sections if each)
    lines += sum(2 if each.dropped else 1 for each in report.holds)
    if report.diff:
        lines += report.diff.removesuffix("\n").count("\n") + 2
    assert text.count("\n") == lines + 1


def test_check() -> None:
    good = CycleReport(outcome=Outcome.IN_STEP, notes=("a warning of HAProxy",))
    assert output.check(good, haproxy=True, color=False) == (
        "Notes\n  - a warning of HAProxy\n\ngood: settings, templates and configuration\n"
    )
    assert "left out" in output.check(good, haproxy=False, color=False)
    bad = CycleReport(outcome=Outcome.FAILED, error="x", failed_stage=Stage.RENDER)
    assert output.check(bad, haproxy=True, color=False) == "refused in stage render\n"


def test_error() -> None:
    assert output.error("a\nb", "do\x1bc", "one\n\ttwo\x07\n") == (
        "confsync: error: a\\nb\n  do\\x1bc\n  one\n  \ttwo\\x07\n"
    )
    assert output.error("what", "", "") == "confsync: error: what\n"


def test_a_bug_is_named_by_kind_and_place_not_by_its_words() -> None:
    with pytest.raises(AttributeError) as caught:
        output.hold(None, command="")  # type: ignore[arg-type]
    text = output.bug(caught.value)
    assert text.startswith(
        "confsync: a bug of confsync: AttributeError in confsync.cli.output, line"
    )
    assert "NoneType" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("web", "`x web`"),
        ("a b", "`x 'a b'`"),
        ("a;rm -rf /", "`x 'a;rm -rf /'`"),
        ("--all", "`confsync release -- --all`"),
        ("a\nb", "`confsync release --all`"),
        ("", "`confsync release --registry`"),
    ],
)
def test_the_way_to_release_can_be_pasted(service: str, command: str) -> None:
    hold = Hold(service=service, reason="r", since=0)
    assert output.hold(hold, command="x").endswith(f"to let it go: {command}")


def test_many_dropped_are_cut() -> None:
    hold = Hold(
        service="web", reason="r", since=0, dropped=tuple(f"10.0.0.{n}:80" for n in range(30))
    )
    assert "10.0.0.19:80 and 10 more\n" in output.hold(hold, command="x")
