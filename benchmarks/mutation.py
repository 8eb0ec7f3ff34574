"""`make mutate`: break the code that decides in a thousand small ways; count what the tests notice.

mutmut changes one operator, constant, argument or word at a time and runs the unit tests that reach
it. It works on a copy of the checkout in a temporary folder, for three reasons: nothing here is
touched; property tests run with few and fixed examples (profile "mutation" of tests/conftest.py);
and `functools.lru_cache` and `Remembered` are left out, because mutmut skips decorated functions.

What no test can notice, because it changes nothing, stands in equivalent.toml with its reason. Not
covered: what is outside functions (patterns, sets of keywords), which mutmut leaves alone, and what
only runs as a module is imported (haproxy/vocabulary), which is over before a mutant begins.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import provenance, report

MODULES = [
    "planning",
    "turning",
    "runtime",
    "serving",
    "guards",
    "ghosts",
    "loops",
    "haproxy/configuration",
    "haproxy/text",
    "haproxy/words",
    "haproxy/servers",
    "haproxy/proxies",
    "haproxy/weighing",
    "haproxy/difference",
    "untrusted",
    "quoting",
    "naming",
    "desired",
]
COPIED = ["confsync", "templates", "tests/conftest.py"]
COPIED += ["tests/support", "tests/fakes", "tests/unit/core"]
_HAPROXY = "tests/unit/core/haproxy"
ELSEWHERE = [
    f"{_HAPROXY}/test_language.py::test_the_project_has_such_files",
    f"{_HAPROXY}/test_language.py::test_only_the_section_that_changed_is_read_again",
    f"{_HAPROXY}/test_configuration.py::test_all_is_looked_up_once_in_a_while",
]
"""Tests of the whole checkout, and of what was left out above."""
RESULTS = Path(__file__).with_name("results")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
LONGEST = 40 * 60  # seconds; what is left then is counted as not tried
NOTICED = {"killed", "timeout", "segfault"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """A change that no test noticed. `why`: the reason for which it changes nothing, if it does."""

    name: str
    was: str
    becomes: str
    why: str = ""


def workspace(folder: Path, modules: list[str]) -> None:
    """Copy what the tests need, and say what to mutate."""
    for name in COPIED:
        source, copy = provenance.ROOT / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    paths = [f"confsync/core/{module}.py" for module in modules]
    for path in (folder / "confsync/core").rglob("*.py"):
        text = re.sub(r"(?m)^@(?:functools\.lru_cache\(.*\)|Remembered)\n", "", path.read_text())
        path.write_text(re.sub(r"(?m)^( +)[\w.]+\.expect\(.*\)$", r"\1pass", text))
    settings = {
        "source_paths": ["confsync"],
        "only_mutate": paths,
        "also_copy": ["templates"],
        "pytest_add_cli_args_test_selection": ["tests/unit/core"],
        "pytest_add_cli_args": [
            *("-p", "no:cacheprovider", "--hypothesis-profile=mutation"),
            *(f"--deselect={test}" for test in ELSEWHERE),
        ],
        # Workers of a clean process: what an earlier test cached hides no mutant.
        "process_isolation": "forkserver",
        "use_git_change_detection": False,
    }
    # JSON's strings and arrays are TOML's too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (provenance.ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines, ""]))


def run(folder: Path, workers: int) -> None:
    """Let mutmut work, LONGEST at most."""
    log = folder / "mutmut.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [_mutmut(), "run", "--max-children", str(workers)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the interruption below reaches its workers
        )
    end = time.monotonic() + LONGEST
    try:
        while child.poll() is None and time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
            print(_end(log, 1), file=sys.stderr, flush=True)
        if child.returncode:
            raise SystemExit(f"mutmut ended with {child.returncode}:\n{_end(log, 40)}")
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)
            child.wait(60)


def _end(log: Path, count: int) -> str:
    return "\n".join(re.split(r"[\r\n]+", log.read_text(errors="replace").strip())[-count:])


def _mutmut() -> str:
    return str(Path(sys.executable).with_name("mutmut"))


def results(folder: Path) -> dict[str, str]:
    """Return each mutant's name and its end in mutmut's word."""
    done = _said(folder, "results", "--all", "True")
    return dict(re.findall(r"^ +(\S+): (.+)$", done, re.MULTILINE))


def survivor(folder: Path, name: str) -> Survivor:
    """Show one change, and look for the reason for which it changes nothing."""
    lines = _said(folder, "show", name).splitlines()

    def one(sign: str) -> str:
        found = [x[1:] for x in lines if x.startswith(sign) and not x.startswith(sign * 3)]
        return "\n".join(line.strip() for line in found)

    was, becomes = one("-"), one("+")
    function = re.sub(r"^.*\.x[_ǁ]|__mutmut_\d+$", "", name).replace("ǁ", ".")
    module = module_of(name)
    known = tomllib.loads(EQUIVALENT.read_text()).get("mutant", [])
    why = next(
        (
            entry["why"]
            for entry in known
            if (entry["in"], entry["becomes"]) == (f"{module} {function}", becomes)
            and entry.get("was", was) == was
        ),
        "",
    )
    return Survivor(name=f"{module} {function}", was=was, becomes=becomes, why=why)


def _said(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [_mutmut(), *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def module_of(name: str) -> str:
    """Return the module of a mutant: confsync.core.haproxy.text.x_f__mutmut_1 is in haproxy/text."""
    dotted = re.sub(r"\.x[_ǁ].*$", "", name)
    return dotted.removeprefix("confsync.core.").replace(".", "/")


def score(noticed: int, total: int) -> float:
    return 100 * noticed / total if total else 100.0


def table(ends: dict[str, str], survivors: list[Survivor]) -> report.Table:
    """Count by module."""
    rows = []
    for module in [*MODULES, ""]:
        counts = Counter(end for name, end in ends.items() if module in {"", module_of(name)})
        total = counts.total()
        if not total:
            continue
        noticed = sum(counts[end] for end in NOTICED)
        same = sum(bool(s.why) for s in survivors if module in {"", s.name.split()[0]})
        cells = [total, counts["killed"], counts["timeout"] + counts["segfault"]]
        cells += [counts["survived"], same, total - noticed - counts["survived"]]
        rates = [score(noticed, total), score(noticed, total - same)]
        rows.append(
            [
                f"core/{module}.py" if module else "all",
                *map(str, cells),
                *(f"{rate:.1f} %" for rate in rates),
            ]
        )
    heads = ["module", "mutants", "killed", "timeout", "survived", "of these equal", "not tried"]
    return report.Table(heads=[*heads, "score", "without equal ones"], rows=rows)


def page(ends: dict[str, str], survivors: list[Survivor], about: dict[str, str]) -> str:
    """Write the page."""

    def listed(some: list[Survivor]) -> str:
        return "\n\n".join(
            f"**{s.name}**{': ' + s.why if s.why else ''}\n\n```diff\n"
            + "".join(f"- {line}\n" for line in s.was.splitlines())
            + "".join(f"+ {line}\n" for line in s.becomes.splitlines())
            + "```"
            for s in some
        )

    open_ones = [s for s in survivors if not s.why]
    blocks = [
        "# Mutation testing",
        "Written by `make mutate`. Killed or timeout: a unit test fails or hangs with the change.",
        "mutmut changes what is inside functions: patterns and sets of keywords are left as they are.",
        report.Table(heads=["", ""], rows=[[name, value] for name, value in about.items()]).text(),
        table(ends, survivors).text(),
        "## Timeouts",
        "A loop without end, or a machine too busy: `mutmut run NAME` in a quiet hour tells which.",
        ", ".join(f"`{name}`" for name, end in ends.items() if end == "timeout") or "None.",
        "## Survivors",
        listed(open_ones) or "None.",
        "## Survivors that change nothing",
        listed([s for s in survivors if s.why]) or "None.",
    ]
    return "\n\n".join(blocks) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.mutation", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=MODULES, metavar="MODULE")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--results", type=Path, help="where the page goes")
    options = parser.parse_args()
    begin = time.monotonic()
    about = {
        "date": provenance.now(),
        "commit": provenance.commit("confsync/core", "tests/unit/core"),
        "Python": provenance.python(),
        "packages": provenance.packages("mutmut", "hypothesis", "pytest"),
        "machine": provenance.computer(),
    }
    with tempfile.TemporaryDirectory(prefix="csm-") as name:
        folder = Path(name)
        workspace(folder, options.only)
        run(folder, options.workers)
        ends = results(folder)
        survivors = [survivor(folder, one) for one, end in ends.items() if end == "survived"]
    about["took"] = f"{(time.monotonic() - begin) / 60:.0f} min, {options.workers} workers"
    text = page(ends, survivors, about)
    print(text)
    target = options.results or (RESULTS if options.only == MODULES else None)
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
        path = target / f"mutation-{provenance.today()}.md"
        path.write_text(text)
        noticed = sum(end in NOTICED for end in ends.values())
        same = sum(bool(s.why) for s in survivors)
        raw = {
            "about": about,
            "mutants": len(ends),
            "score": score(noticed, len(ends)),
            "score_without": score(noticed, len(ends) - same),
            "modules": {
                m: Counter(e for n, e in ends.items() if module_of(n) == m) for m in MODULES
            },
            "survivors": [asdict(s) for s in survivors],
        }
        path.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")
        print(f"written: {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
