"""What a cycle costs by itself, by stage, at 100 and 1,000 services of 10; and the event loop's share.

The file source, and no HAProxy that runs: what is left is confsync's own work and `haproxy -c`,
which is measured alone beside it.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks import measuring, site
from benchmarks.measuring import HEADS, Spread
from benchmarks.report import Section, Table

SIZES = (100, 1000)
INSTANCES = 10
ROOT = Path(__file__).parent.parent


def measure(rounds: int, folder: Path, environ: Mapping[str, str]) -> Section:
    section = Section(title="A cycle by stage")
    section.parts.append(
        "Milliseconds. *late* is the longest that the event loop could do nothing else within that "
        "turn (its own work, or a thread that held the interpreter); *a change* is one instance's "
        "port. No HAProxy runs, so a change ends when it is checked and written."
    )
    for size in SIZES:
        _size(section, size, rounds, folder / str(size), environ)
    return section


def _size(
    section: Section, size: int, rounds: int, folder: Path, environ: Mapping[str, str]
) -> None:
    folder.mkdir()
    place = site.Site(folder, "2.6", environ)
    listing = folder / "services.json"
    listing.write_text(json.dumps(site.services(size, INSTANCES)))
    settings = place.settings("confsync", {"type": "file", "path": str(listing)}, runtime=False)
    done = subprocess.run(
        [site.PYTHON, "-m", "benchmarks.turns", str(settings), str(rounds)],
        cwd=ROOT,
        env=dict(environ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    wrong = {(each["outcome"], each["error"]) for each in found["a change"]} - {("written", "")}
    if wrong:
        raise RuntimeError(f"a change was not written: {wrong}")
    command = [place.haproxy.binary, "-c", "-f", str(place.haproxy.cfg)]
    checks = measuring.alternate(rounds, {"haproxy -c": command}, environ)["haproxy -c"]
    rows = [["`haproxy -c` alone", *Spread.of([each.wall for each in checks]).cells()]]
    for name, turns in found.items():
        rows.append([name, *Spread.of([turn["all"] for turn in turns]).cells()])
        for stage in turns[-1]["stages"]:
            values = [turn["stages"].get(stage, 0.0) for turn in turns]
            rows.append([f"{name}: {stage}", *Spread.of(values).cells()])
        rows.append([f"{name}: *late*", *Spread.of([turn["late"] for turn in turns]).cells()])
    kilobytes = place.haproxy.cfg.stat().st_size / 1000
    section.parts += [
        f"**{size} services of {INSTANCES}** (a configuration of {kilobytes:.0f} kB)",
        Table(heads=["ms", *HEADS], rows=rows),
    ]
    section.raw[str(size)] = found
