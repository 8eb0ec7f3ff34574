"""`make soak`: the long tests at their whole length, and a page of what they counted.

The tests assert; this runs them one after the other, collects what they record
(tests/support/figures.py) and writes benchmarks/results/soak-DATE.md and .json. Fails when a test
fails. What the machine lacks is named on the page as skipped.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET  # the junit file is our own
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import provenance, report

RESULTS = Path(__file__).with_name("results")
CONTROLS = ["tests/testbed/test_load.py", "tests/integration/agent/test_reloads.py"]
RUNTIME = (
    "Servers come, go, weigh, drain and flap in a real Consul, under load; reloads are those that "
    "the plan names (a cookie on a new server before 3.0; on 2.6, too many retired servers)."
)
PROPERTIES = "--hypothesis-profile=soak"

STEPS: dict[str, list[str]] = {
    "properties": [
        *("--soak", PROPERTIES, "--hypothesis-show-statistics", "--timeout=3600"),
        *("-m", "hypothesis or soak", "tests/unit"),
    ],
    "reloads": [
        "--soak",
        "-m",
        "soak",
        "-p",
        "no:randomly",
        "tests/integration",
        "tests/testbed",
        "tests/containers",
        "--ignore=tests/integration/runtime",
    ],
    "runtime": ["--soak", "-m", "soak", "-p", "no:randomly", "tests/integration/runtime"],
    "controls": ["-k", "control", "-p", "no:randomly", *CONTROLS],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One test's end. `why`: of a failure or a skip."""

    test: str
    passed: bool
    skipped: bool
    seconds: float
    why: str = ""


@dataclass(slots=True, kw_only=True)
class Step:
    """One run of pytest. `examples`: property -> inputs that it held for."""

    outcomes: list[Outcome] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)
    code: int = 0


def run(arguments: list[str], folder: Path) -> Step:
    """Run pytest with these arguments, its output shown as it comes."""
    junit, figures = folder / "junit.xml", folder / "figures.jsonl"
    figures.write_text("")
    argv = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junitxml={junit}"]
    child = subprocess.Popen(
        [*argv, *arguments],
        cwd=provenance.ROOT,
        env={**os.environ, "CONFSYNC_FIGURES": str(figures)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    return Step(
        code=child.wait(),
        outcomes=[_outcome(case) for case in ET.parse(junit).iter("testcase")],
        figures=[json.loads(line) for line in figures.read_text().splitlines()],
        examples=passing(lines),
    )


def _outcome(case: ET.Element) -> Outcome:
    bad = case.find("failure")
    if bad is None:
        bad = case.find("error")
    skip = case.find("skipped")
    words = bad if bad is not None else skip
    return Outcome(
        test=case.get("name", ""),
        passed=words is None,
        skipped=bad is None and skip is not None,
        seconds=round(float(case.get("time", "0")), 1),
        why=(words.get("message", "") if words is not None else "")[:500],
    )


def passing(lines: list[str]) -> dict[str, int]:
    """Sum up the passing examples of each property in pytest's and hypothesis's words."""
    found: dict[str, int] = {}
    name = ""
    for line in lines:
        if match := re.match(r"(tests/\S+::\S+):$", line):
            name = match[1]
        elif match := re.search(r"- (\d+) passing", line):
            found[name] = found.get(name, 0) + int(match[1])
    return found


def _told(test: str) -> tuple[str, str]:
    """Split `tests/x.py::test_a_b[2.6-True]` into "a b (True)" and its HAProxy."""
    name, _, rest = test.rpartition("::")[2].removeprefix("test_").partition("[")
    parameters = rest.rstrip("]").split("-") if rest else []
    versions = [one for one in parameters if re.fullmatch(r"\d\.\d", one)]
    others = [one for one in parameters if one not in versions]
    words = name.replace("_", " ") + (f" ({', '.join(others)})" if others else "")
    return words, next(iter(versions), "")


def loads(figures: list[dict[str, Any]]) -> report.Table:
    """Tabulate what loads have seen."""
    keys = ["changes", "reloads", "ok", "failed", "streams", "cut_streams"]
    heads = ["test", "HAProxy", "changes", "reloads", "requests ok", "failed", "streams", "cut"]
    rows = []
    for one in sorted(figures, key=lambda f: f["test"]):
        if "ok" not in one:
            continue
        words, version = _told(one["test"])
        if "outage_seconds" in one:
            words += f", {one['outage_seconds']} s without Consul"
        cells = [str(one.get(key, "")) for key in keys]
        if one["failed_as"]:
            cells[3] += " (" + ", ".join(f"{n} {how}" for how, n in one["failed_as"].items()) + ")"
        rows.append([words, provenance.haproxy(version) or version, *cells])
    return report.Table(heads=heads, rows=rows)


def others(figures: list[dict[str, Any]]) -> report.Table:
    """Tabulate what tests without a load have counted."""
    rows = []
    for one in sorted(figures, key=lambda f: f["test"]):
        if "ok" in one:
            continue
        words, version = _told(one["test"])
        what = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in one.items() if key != "test")
        rows.append([words, provenance.haproxy(version) or version, what])
    return report.Table(heads=["test", "HAProxy", "counted"], rows=rows)


def properties(step: Step) -> report.Table:
    """Tabulate how many inputs each law held for."""
    rows = [[_told(test)[0], str(count), ""] for test, count in step.examples.items()]
    for one in step.figures:
        counts = {key: n for key, n in one.items() if key != "test"}
        what = ", ".join(f"{n} {key}" for key, n in sorted(counts.items()))
        rows.append([_told(one["test"])[0], str(sum(counts.values())), what])
    return report.Table(heads=["law", "inputs", ""], rows=sorted(rows))


def mutation() -> str:
    """Tell the newest committed score."""
    found = sorted(RESULTS.glob("mutation-*.json"))
    if not found:
        return "Not measured: no results/mutation-*.json (`make mutate`)."
    last = json.loads(found[-1].read_text())
    return (
        f"{last['score']:.1f} % of {last['mutants']} mutants noticed, "
        f"{last['score_without']:.1f} % without those that change nothing "
        f"({last['about']['date']}, commit {last['about']['commit']}): "
        f"[{found[-1].stem}]({found[-1].stem}.md)."
    )


def page(steps: dict[str, Step], about: dict[str, str]) -> str:
    """Write the page."""
    done = [one for step in steps.values() for one in step.outcomes]
    failed = [one for one in done if not one.passed and not one.skipped]
    skipped = [one for one in done if one.skipped]
    passed = len(done) - len(failed) - len(skipped)
    blocks = [
        "# Soak",
        "Written by `make soak`: the long tests at their whole length, which assert; their counts.",
        report.Table(heads=["", ""], rows=[[name, value] for name, value in about.items()]).text(),
        f"{passed} tests passed, {len(failed)} failed, {len(skipped)} skipped.",
        *(f"- **failed** `{one.test}`: {one.why.splitlines()[0]}" for one in failed),
        *(f"- skipped `{one.test}`: {one.why}" for one in skipped),
    ]
    apart = {"properties", "runtime"}
    figures = [f for name, step in steps.items() if name not in apart for f in step.figures]
    if figures:
        controls = [one for one in figures if "control" in one["test"]]
        blocks += [
            "## Reloads and outages under load",
            loads([one for one in figures if one not in controls]).text(),
            "## Controls",
            "The same load client where a loss is certain: its zeros above mean something.",
            loads(controls).text(),
        ]
    if "runtime" in steps:
        blocks += [
            "## Changes without a reload",
            RUNTIME,
            loads(steps["runtime"].figures).text(),
            "The same without a load: keys, pairs of random configurations, what is left behind.",
            others(steps["runtime"].figures).text(),
        ]
    if "properties" in steps:
        blocks += ["## Laws", properties(steps["properties"]).text()]
    blocks += ["## Mutation testing", mutation()]
    return "\n\n".join(blocks) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--results", type=Path, help="where the page goes; default: see above")
    parser.add_argument("--again", type=Path, help="write the page of this .json anew")
    options = parser.parse_args()
    if options.again:
        raw = json.loads(options.again.read_text())
        steps = {name: _step(**step) for name, step in raw["steps"].items()}
        options.again.with_suffix(".md").write_text(page(steps, raw["about"]))
        return 0
    load, begin = provenance.load(), time.monotonic()
    about = {
        "date": provenance.now(),
        "commit": provenance.commit("confsync", "templates", "tests"),
    }
    steps = {}
    with tempfile.TemporaryDirectory(prefix="css-") as folder:
        for name in options.only:
            steps[name] = run(STEPS[name], Path(folder))
    about |= {
        "HAProxy": provenance.haproxies(),
        "Consul": provenance.consul(),
        "Python": provenance.python(),
        "packages": provenance.packages("hypothesis", "pytest", "aiohttp", "jinja2", "pydantic"),
        "machine": provenance.computer(),
        "load before": load,
        "took": f"{(time.monotonic() - begin) / 60:.0f} min",
    }
    text = page(steps, about)
    print(text)
    results = options.results or (RESULTS if options.only == list(STEPS) else None)
    if results is not None:
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"soak-{provenance.today()}.md"
        path.write_text(text)
        raw = {"about": about, "steps": {name: asdict(step) for name, step in steps.items()}}
        path.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")
        print(f"written: {path}", file=sys.stderr)
    return max(step.code for step in steps.values())


def _step(*, outcomes: list[dict[str, Any]], **more: Any) -> Step:
    return Step(outcomes=[Outcome(**one) for one in outcomes], **more)


if __name__ == "__main__":
    sys.exit(main())
