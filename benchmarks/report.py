"""What a run found, as a page for people (Markdown) and for programs (JSON).

A page holds only what this run measured; where a piece of the test bed was missing, it says so.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One promise of the project and what came of it. `limit`, `found`: in the unit of `what`."""

    what: str
    limit: float
    found: float
    digits: int = 2
    remark: str = ""

    @property
    def met(self) -> bool:
        return self.found <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under heads."""

    heads: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        lines = [self.heads, ["---"] + ["---:"] * (len(self.heads) - 1), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(slots=True, kw_only=True)
class Section:
    """One measurement. `parts`: paragraphs and tables in order; `raw`: every sample."""

    title: str
    parts: list[str | Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        bodies = [part if isinstance(part, str) else part.text() for part in self.parts]
        return "\n\n".join([f"## {self.title}", *bodies])


def page(sections: list[Section], about: dict[str, str], title: str = "Speed") -> str:
    """Write the page."""
    rows = [
        [
            target.what + (f" ({target.remark})" if target.remark else ""),
            f"{target.limit:g}",
            f"{target.found:.{target.digits}f}",
            "yes" if target.met else "**no**",
        ]
        for section in sections
        for target in section.targets
    ]
    blocks = [
        f"# {title}",
        "Written by `make bench`; how it measures stands in ../README.md.",
        "Times belong to one machine and one hour: compare within this page only.",
        Table(heads=["", ""], rows=[[name, value] for name, value in about.items()]).text(),
        "## Promises",
        Table(heads=["what", "at most", "measured", "kept"], rows=rows).text(),
        *(section.text() for section in sections),
    ]
    return "\n\n".join(blocks) + "\n"


def save(sections: list[Section], about: dict[str, str], folder: Path, name: str = "speed") -> Path:
    """Write FOLDER/NAME.md, which begins with the name, and FOLDER/NAME.json; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / f"{name}.md"
    found.write_text(page(sections, about, name.capitalize()))
    raw = {"about": about, **{section.title: section.raw for section in sections}}
    found.with_suffix(".json").write_text(json.dumps(_rounded(raw), separators=(",", ":")) + "\n")
    return found


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, 3)
        case dict():
            return {key: _rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
