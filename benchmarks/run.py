"""`make bench`: measure, and write the page. `python -m benchmarks.run --help` says what is left out.

Needs what tests/support/prepare brings (a Consul, HAProxy 2.6; 2.8 from the extra; 3.0 and sid's in
containers); a HAProxy that is missing is named on the page.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    changing,
    containers,
    cycles,
    growing,
    idle,
    measuring,
    plot,
    provenance,
    reloading,
    report,
    starting,
)
from tests.support.haproxy import VERSIONS

VERSION = "2.6"
"""HAProxy's, for changes without a reload: what is measured is before it."""
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    names = ["version", "once", "idle", "reload", "runtime", "containers", "cycle"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that all works")
    parser.add_argument(
        "--haproxy", nargs="+", choices=VERSIONS, default=VERSIONS, help="for reload"
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="the folder for the pages; by default benchmarks/results for what was measured whole",
    )
    options = parser.parse_args()
    whole = (options.only, options.haproxy) == (names, VERSIONS) and not options.quick
    load = os.getloadavg()
    begin = time.monotonic()
    # A unix socket's path is short.
    with tempfile.TemporaryDirectory(prefix="csb-", dir="/tmp") as name:
        folder = Path(name)
        environ = measuring.environment(folder / "pyc")
        few = options.quick

        def place(title: str) -> Path:
            made = folder / title
            made.mkdir()
            return made

        measurements: dict[str, Callable[[], report.Section | list[report.Section]]] = {
            "version": lambda: starting.version(5 if few else 40, environ),
            "once": lambda: starting.turns(3 if few else 20, place("once"), environ),
            "idle": lambda: idle.measure(5 if few else 60, place("idle"), environ),
            "reload": lambda: reloading.measure(
                2 if few else 30, place("r"), environ, options.haproxy
            ),
            "runtime": lambda: runtime(5 if few else 220, 3 if few else 40, place("rt"), environ),
            "containers": lambda: containers.measure(2 if few else 20, place("c"), environ),
            "cycle": lambda: cycles.measure(2 if few else 7, place("cycle"), environ),
        }
        pages: dict[str, list[report.Section]] = {"speed": [], "runtime": []}
        for title in options.only:
            print(f"measuring: {title}", file=sys.stderr, flush=True)
            found = measurements[title]()
            if isinstance(found, list):
                pages["runtime"] += found
            else:
                pages["speed"].append(found)
    about = _about(load, time.monotonic() - begin)
    for title, sections in pages.items():
        if not sections:
            continue
        print(report.page(sections, about))
        # Changes without a reload have a page of their own: they can be measured alone.
        complete = whole or (title == "runtime" and not options.quick)
        results = options.results or (RESULTS if complete else None)
        if results is None:
            continue
        print(f"written: {report.save(sections, about, results, title)}", file=sys.stderr)
        if picture := plot.drawn(sections):
            (results / "runtime.svg").write_text(picture)
    return 0


def runtime(
    rounds: int, many: int, folder: Path, environ: Mapping[str, str]
) -> list[report.Section]:
    """Measure changes without a reload: of few services, of many, and a burst."""
    if why := changing.missing(VERSION):
        return [report.Section(title=changing.TITLE, parts=[f"Not measured: {why}."])]
    return [
        changing.measure(rounds, folder / "few", environ, VERSION),
        growing.many(many, folder / "many", environ, VERSION),
        growing.burst(folder / "burst", environ, VERSION),
    ]


def _about(load: tuple[float, ...], seconds: float) -> dict[str, str]:
    return {
        "date": provenance.now(),
        "commit": provenance.commit("confsync"),
        "Python": provenance.python(),
        "HAProxy": provenance.haproxies(),
        "Consul": provenance.consul(),
        "packages": provenance.packages("pydantic", "jinja2", "aiohttp"),
        "machine": provenance.computer(),
        "load average at the start, at the end": f"{load[0]:.1f}, {os.getloadavg()[0]:.1f}",
        "measured in": f"{seconds:.0f} s",
    }


if __name__ == "__main__":
    sys.exit(main())
