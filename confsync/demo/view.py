"""Show the demo: a live picture on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from confsync.demo.ledger import Ledger, Step

RECENT = 0.7  # seconds since its last answer, within which a server counts as answering
EVERY = 5.0  # seconds between two plain lines of traffic

Services = Callable[[], dict[str, tuple[str, ...]]]


class View(Protocol):
    """What the demo tells whoever watches. `at`: seconds since the demo began."""

    def open(self, ledger: Ledger, services: Services, seconds: float) -> None:
        """Begin; `services` gives the registered instances at any time."""

    def note(self, text: str) -> None:
        """Say what is being prepared."""

    def begin(self, title: str, at: float) -> None:
        """Begin a step."""

    def end(self, step: Step) -> None:
        """End a step."""

    def tick(self) -> None:
        """Show the latest counts."""

    def close(self) -> None:
        """Give the terminal back."""


class Plain:
    """One line an event, for pipes, logs and CI."""

    def __init__(self, console: Console, *, every: float = EVERY) -> None:
        """`every`: seconds between two lines of traffic."""
        self._console = console
        self._every = every
        self._ledger = Ledger()
        self._begun = self._next = 0.0

    def open(self, ledger: Ledger, services: Services, seconds: float) -> None:  # noqa: ARG002
        """Begin."""
        self._ledger = ledger
        self._begun = time.monotonic()
        self._next = self._begun + self._every

    def note(self, text: str) -> None:
        """Say what is being prepared."""
        self._say(text)

    def begin(self, title: str, at: float) -> None:
        """Say nothing: the step's end has its line."""

    def end(self, step: Step) -> None:
        """Say how a step ended."""
        self._say(f"{self._now()}  {step.title}: {step.outcome}")
        for fault in step.faults:
            self._say(f"{self._now()}  FAILED: {fault}")

    def tick(self) -> None:
        """Say the counts now and then."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            traffic = self._ledger.traffic
            self._say(
                f"{self._now()}  {traffic.requests:,} requests, "
                f"{traffic.failures} failed, {self._ledger.reloads} reloads"
            )

    def close(self) -> None:
        """Nothing to give back."""

    def _now(self) -> str:
        return f"{time.monotonic() - self._begun:5.1f} s"

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Picture:
    """The live view."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._ledger = Ledger()
        self._services: Services = dict
        self._seconds = 1.0
        self._begun = 0.0
        self._running: tuple[str, float] | None = None
        self._rate: tuple[float, int, float] = (0.0, 0, 0.0)
        self._live: Live | None = None

    def open(self, ledger: Ledger, services: Services, seconds: float) -> None:
        """Take the terminal."""
        self._ledger, self._services, self._seconds = ledger, services, seconds
        self._begun = time.monotonic()
        self._live = Live(self._draw(), console=self._console, auto_refresh=False)
        self._live.start(refresh=True)

    def note(self, text: str) -> None:
        """Say what is being prepared."""
        self._console.print(Text(text, style="dim"))

    def begin(self, title: str, at: float) -> None:
        """Show a running step."""
        self._running = (title, at)
        self.tick()

    def end(self, step: Step) -> None:  # noqa: ARG002 - the ledger has it
        """Show a finished step."""
        self._running = None
        self.tick()

    def tick(self) -> None:
        """Draw anew."""
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)

    def close(self) -> None:
        """Leave the last picture and give the terminal back."""
        if self._live is not None:
            self.tick()
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        elapsed = min(time.monotonic() - self._begun, self._seconds)
        bar = ProgressBar(
            total=self._seconds, completed=elapsed, complete_style="cyan", finished_style="cyan"
        )
        return Group(
            Text.from_markup(f"\n[bold]confsync demo[/]  [dim]{escape(self._title)}[/]"),
            bar,
            "",
            self._steps(),
            "",
            self._backends(),
            "",
            self._counts(),
        )

    def _steps(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="dim", no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        for step in self._ledger.steps:
            mark = ("✗ ", "bold red") if step.faults else ("✓ ", "green")
            outcome = "; ".join(step.faults) or step.outcome
            colour = "red" if step.faults else "cyan"
            table.add_row(
                f"{step.at:.0f} s", Text.assemble(mark, step.title), Text(outcome, colour)
            )
        if self._running is not None:
            title, at = self._running
            table.add_row(f"{at:.0f} s", Text(f"… {title}", "yellow"))
        return table

    def _backends(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(ratio=1)
        now = time.monotonic()
        last = self._ledger.traffic.last
        for service, names in sorted(self._services().items()):
            row = Text()
            for name in names:
                answering = now - last.get(name, 0.0) < RECENT
                row.append("● " if answering else "○ ", "green" if answering else "yellow")
                row.append(f"{name}  ", "" if answering else "dim")
            table.add_row(service, row)
        return table

    def _counts(self) -> RenderableType:
        traffic = self._ledger.traffic
        failed = "[bold red]" if traffic.failures else "[bold green]"
        return Text.from_markup(
            f"[bold]{traffic.requests:,}[/] requests, {self._per_second():.0f}/s   "
            f"{failed}{traffic.failures} failed[/]   "
            f"{traffic.p50 * 1000:.1f} ms median, {traffic.p99 * 1000:.1f} ms p99   "
            f"[bold]{self._ledger.reloads}[/] reloads"
        )

    def _per_second(self) -> float:
        now, requests = time.monotonic(), self._ledger.traffic.requests
        since, before, rate = self._rate
        if now - since >= 1:
            rate = (requests - before) / (now - since) if since else 0.0
            self._rate = (now, requests, rate)
        return rate


def summary(console: Console, ledger: Ledger, *, programs: str, left_out: int) -> None:
    """Print the result and where to go from here."""
    rows = list(ledger.rows(programs))
    if left_out:
        rows.append(("left out", f"{left_out} steps, for want of time (--seconds 40 has all)"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print()
    console.print(table)
    console.print()
    failed = ledger.verdict()
    if failed:
        console.print(Text("FAILED", "bold red"))
        for fault in failed:
            console.print(Text(f"  {fault}"), soft_wrap=True)
        return
    console.print(
        Text("Nothing failed: every change was served, no request was lost.", "bold green")
    )
    console.print(
        Text(
            "Next: `confsync check` tries your settings and templates, `confsync once` shows what "
            "would change, `confsync run` keeps HAProxy in step. README.md starts there."
        ),
        soft_wrap=True,
    )


def choose(console: Console, *, plain: bool, title: str) -> View:
    """Return the live view where it can be seen, else plain lines."""
    if plain or not console.is_terminal or console.is_dumb_terminal:
        return Plain(console)
    return Picture(console, title)
