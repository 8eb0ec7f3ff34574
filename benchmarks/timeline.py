"""Draws requests over time from measured figures, as SVG; no library beside Python's own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BIN = 0.05  # seconds a bar stands for
MOST = 6  # requests in it; a client that opens one every 10 ms makes five
WIDTH, HEIGHT, GAP, LEFT, TOP = 360, 110, 46, 64, 54
COLORS = {"before": "#4477aa", "after": "#66ccaa", "failed": "#cc3344"}
WORDS = {
    "before": "answered by the host that had it",
    "after": "by the other one",
    "failed": "failed",
}
PANELS = ("timeline: docker stop", "timeline: container killed")
NAMES = {
    "timeline: docker stop": "docker stop",
    "timeline: container killed": "container killed (SIGKILL)",
}


def draw(figures: Mapping[str, Any], into: Path) -> None:
    """Draw each way's stop and crash, side by side. `figures`: of results/failover.json."""
    ways = [name for name, raw in figures.items() if PANELS[0] in raw]
    about = figures["about"]
    parts = []
    for row, way in enumerate(ways):
        for column, panel in enumerate(PANELS):
            x, y = LEFT + column * (WIDTH + 40), TOP + row * (HEIGHT + GAP)
            title = f"{way}: {NAMES[panel]}"
            parts.append(
                f'<g transform="translate({x},{y})">{_panel(figures[way][panel], title)}</g>'
            )
    width = LEFT + 2 * WIDTH + 60
    height = TOP + len(ways) * (HEIGHT + GAP) + 16
    legend = []
    for number, (kind, words) in enumerate(WORDS.items()):
        x = LEFT + number * 240
        legend.append(f'<rect x="{x}" y="12" width="11" height="11" fill="{COLORS[kind]}"/>')
        legend.append(f'<text x="{x + 16}" y="22">{words}</text>')
    note = f"requests in {BIN * 1000:.0f} ms; seconds after the event; {about['date']}"
    parts.append(f'<text x="{LEFT}" y="{height - 8}" fill="#555">{note}, {about["commit"]}</text>')
    into.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join((*legend, *parts))
        + "\n</svg>\n"
    )


def _panel(timeline: Sequence[tuple[float, str]], title: str) -> str:
    first, last = timeline[0][0], timeline[-1][0]
    before = next(who for at, who in timeline if who != "failed")
    bars: Counter[tuple[int, str]] = Counter()
    for at, who in timeline:
        kind = who if who == "failed" else ("before" if who == before else "after")
        bars[int((at - first) / BIN), kind] += 1
    scale = WIDTH / (last - first)
    found = [f'<text x="0" y="-6" font-weight="bold">{title}</text>']
    for number in range(int((last - first) / BIN) + 1):
        base = 0.0
        for kind, color in COLORS.items():
            if count := min(bars[number, kind], MOST):
                high = HEIGHT * count / MOST
                x, wide = number * BIN * scale, BIN * scale - 0.5
                base += high
                found.append(
                    f'<rect x="{x:.1f}" y="{HEIGHT - base:.1f}" width="{wide:.1f}" '
                    f'height="{high:.1f}" fill="{color}"/>'
                )
    zero = -first * scale
    found.append(f'<path d="M0 {HEIGHT}H{WIDTH}M{zero:.1f} 0V{HEIGHT}" stroke="#222" fill="none"/>')
    for second in range(int(last) + 1):
        x = (second - first) * scale
        found.append(f'<text x="{x:.1f}" y="{HEIGHT + 14}" text-anchor="middle">{second}</text>')
    return "".join(found)
