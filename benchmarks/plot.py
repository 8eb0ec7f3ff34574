"""Draws how long changes without a reload take: the share of them that is done after so many ms.

`python -m benchmarks.plot FROM.json TO.svg` draws a saved run again. Plain SVG, no library.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import changing
from benchmarks.report import Section

WIDTH, HEIGHT = 360, 220
LEFT, TOP = 44, 34
GAP = 40
LEAST, MOST = 0.5, 500.0
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
COLORS = {
    "floor": "#777777",
    "keeping": "#6aa84f",
    "confsync": "#0a6ebd",
    "consul-template": "#c4551a",
}
NAMES = {"floor": "least script", "keeping": "script with the promises"}
PANELS = {"came": "a server comes: until its first answer", "went": "one goes: until its last"}


def drawn(sections: Sequence[Section]) -> str:
    """Draw the section of changes without a reload; "" where it is not among them."""
    found = [s.raw for s in sections if s.title == changing.TITLE and "confsync" in s.raw]
    return picture(found[0]) if found else ""


def picture(raw: Mapping[str, Any]) -> str:
    """Draw both panels. `raw`: line -> {"came", "went"} -> samples in ms."""
    lines = {name: raw[name] for name in COLORS if name in raw}
    width = LEFT + 2 * WIDTH + GAP + 12
    height = TOP + HEIGHT + 62
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">'
    )
    parts = [
        head,
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (key, title) in enumerate(PANELS.items()):
        left = LEFT + number * (WIDTH + GAP)
        parts += _frame(left, title)
        for name, samples in lines.items():
            if samples[key]:
                parts.append(_steps(left, samples[key], COLORS[name]))
    for number, name in enumerate(lines):
        x, y = LEFT + 165 * number, height - 10
        parts.append(f'<rect x="{x}" y="{y - 9}" width="14" height="9" fill="{COLORS[name]}"/>')
        parts.append(f'<text x="{x + 19}" y="{y}">{NAMES.get(name, name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _across(left: float, milliseconds: float) -> float:
    inside = min(max(milliseconds, LEAST), MOST)
    return left + WIDTH * math.log(inside / LEAST) / math.log(MOST / LEAST)


def _down(share: float) -> float:
    return TOP + HEIGHT * (1 - share)


def _frame(left: float, title: str) -> list[str]:
    parts = [f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{title}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _down(share)
        parts.append(
            f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#dddddd"/>'
            f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    for tick in TICKS:
        x = _across(left, tick)
        parts.append(
            f'<path d="M{x:.1f} {TOP}v{HEIGHT}" stroke="#eeeeee"/>'
            f'<text x="{x:.1f}" y="{TOP + HEIGHT + 15}" text-anchor="middle">{tick:g}</text>'
        )
    middle = left + WIDTH / 2
    parts.append(f'<text x="{middle}" y="{TOP + HEIGHT + 31}" text-anchor="middle">ms</text>')
    return parts


def _steps(left: float, samples: Sequence[float], color: str) -> str:
    ordered = sorted(samples)
    path = f"M{_across(left, ordered[0]):.1f} {_down(0):.1f}"
    for number, value in enumerate(ordered, 1):
        path += f"H{_across(left, value):.1f}V{_down(number / len(ordered)):.1f}"
    return f'<path d="{path}H{left + WIDTH}" fill="none" stroke="{color}" stroke-width="2"/>'


if __name__ == "__main__":
    saved = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(picture(saved[changing.TITLE]))
