"""What is said, on a terminal and elsewhere."""

import io
import re

import pytest
from rich.console import Console

from confsync.demo import view
from confsync.demo.ledger import Ledger, Step
from confsync.demo.traffic import Traffic


def terminal(*, width: int = 100) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=width, height=40, color_system=None), out


def pipe() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=False, width=80), out


def ledger() -> Ledger:
    traffic = Traffic(requests=1234, failed={"reset": 1}, last={"web-1": 1e12}, p50=0.004, p99=0.01)
    return Ledger(times=[100.0], traffic=traffic, reloads=5)


STEP = Step(title="web-4 joins", at=1.5, outcome="first answer after 99 ms")
LOST = Step(title="web-5 joins", at=2.5, outcome="no answer", faults=("not within 15 s",))


def test_a_pipe_gets_plain_lines() -> None:
    console, out = pipe()
    show = view.choose(console, plain=False, title="versions")
    show.open(ledger(), dict, 10)
    show.note("Starting [all] of it")
    show.begin("web-4 joins", 1.5)
    show.end(STEP)
    show.end(LOST)
    show.tick()  # too early for a line
    show.close()
    said = [re.sub(r"^ +\d+\.\d s +", "", line) for line in out.getvalue().splitlines()]
    assert said == [
        "Starting [all] of it",
        "web-4 joins: first answer after 99 ms",
        "web-5 joins: no answer",
        "FAILED: not within 15 s",
    ]


def test_plain_lines_on_a_terminal_when_wanted() -> None:
    console, _ = terminal()
    assert isinstance(view.choose(console, plain=True, title=""), view.Plain)
    assert isinstance(view.choose(console, plain=False, title=""), view.Picture)


def test_traffic_has_a_line_now_and_then() -> None:
    console, out = pipe()
    show = view.Plain(console, every=0)
    show.open(ledger(), dict, 10)
    show.tick()
    assert "1,234 requests, 1 failed, 5 reloads" in out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_the_picture_has_everything(width: int) -> None:
    console, out = terminal(width=width)
    show = view.Picture(console, "versions")
    book = ledger()
    show.open(book, lambda: {"web": ("web-1", "web-2")}, 10)
    show.begin("web-4 joins", 1.5)
    book.steps += [STEP, LOST]
    show.end(LOST)
    show.close()
    picture = out.getvalue()
    last = picture[picture.rindex("confsync demo") :]
    assert "✓ web-4 joins" in last
    assert "✗ web-5 joins" in last
    assert "● web-1" in last
    assert "○ web-2" in last
    assert "1 failed" in last
    assert "not within" in last
    assert picture.endswith("\x1b[?25h")  # the cursor is back


def test_the_summary_of_a_good_demo() -> None:
    console, out = pipe()
    book = Ledger(times=[100.0], traffic=Traffic(requests=10), steps=[STEP])
    view.summary(console, book, programs="HAProxy 2.8.25", left_out=0)
    assert "Nothing failed" in out.getvalue()
    assert "confsync once" in out.getvalue()
    assert "HAProxy 2.8.25" in out.getvalue()
    assert "left out" not in out.getvalue()


def test_the_summary_of_a_bad_one() -> None:
    console, out = pipe()
    book = ledger()
    book.steps.append(LOST)
    view.summary(console, book, programs="", left_out=2)
    assert "Nothing failed" not in out.getvalue()
    assert "FAILED\n  not within 15 s\n  1 requests failed: reset\n" in out.getvalue()
    assert "left out" in out.getvalue()
