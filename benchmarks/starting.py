"""What a start costs: `--version` against a bare parser, `once` against HAProxy's check and imports.

`once` cannot be faster than the check that it has HAProxy do and the modules that it imports. Both
are measured beside it: `haproxy -c` of the same file, and a bare Python that imports exactly the
modules of the standard library and of others that this command ends up with, nothing of confsync's;
and, for comparison, one that imports confsync's own modules too.
"""

import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import measuring, site
from benchmarks.measuring import HEADS, Sample, Spread
from benchmarks.report import Section, Table, Target
from tests.support.consul import Consul

SERVICES, INSTANCES = 10, 3

_MODULES = """
import sys
before = set(sys.modules)
import contextlib, io
from confsync.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(sys.argv[1:])
print("\\n".join(m for m in sys.modules if m not in before))
"""


def version(rounds: int, environ: Mapping[str, str]) -> Section:
    """Measure `confsync --version`."""
    ours, bare = "confsync --version", 'python -c "import argparse"'
    found = measuring.alternate(
        rounds,
        {
            ours: [site.CONFSYNC, "--version"],
            bare: [site.PYTHON, "-c", "import argparse"],
            'python -c "pass"': [site.PYTHON, "-c", "pass"],
        },
        environ,
    )
    section = Section(title="confsync --version", raw=_raw(found))
    section.parts = [
        "Milliseconds of a whole process, from its start to its end.",
        _table(found),
    ]
    for unit in ("cpu", "wall"):
        section.targets.append(
            Target(
                what=f"`{ours}` : `{bare}`",
                limit=1.5,
                found=_median(found[ours], unit) / _median(found[bare], unit),
                remark=_UNITS[unit],
            )
        )
    return section


def turns(rounds: int, folder: Path, environ: Mapping[str, str]) -> Section:
    """Measure `confsync once`: both sources, nothing to change and a change."""
    section = Section(title="confsync once")
    section.parts.append(
        f"{SERVICES} services of {INSTANCES}, the built-in template, a running HAProxy 2.6. The bound "
        "is `haproxy -c` + 1.3 times the imports; *times imports* is (`once` - `haproxy -c`) : "
        "imports, without or with (*all*) confsync's own modules. When nothing changes, `once` does "
        "not call HAProxy's check, but the bound has it."
    )
    place = site.Site(folder, "2.6", environ)
    before, after = folder / "before.json", folder / "after.json"
    known = site.services(SERVICES, INSTANCES)
    before.write_text(json.dumps(known))
    first = known["services"][0]
    first["instances"] = first["instances"][1:]
    after.write_text(json.dumps(known))
    in_step = place.settings("in-step", {"type": "file", "path": str(before)})
    change = place.settings("change", {"type": "file", "path": str(after)})
    with contextlib.ExitStack() as stack:
        stack.callback(place.haproxy.close)
        place.begin(in_step)
        consul = stack.enter_context(Consul(folder / "consul"))
        _one(section, rounds, place, in_step, "file", environ)
        _one(section, rounds, place, change, "file, a change", environ)
        registered = place.settings("consul", {"address": f"http://{consul.address}"})
        for service in json.loads(before.read_text())["services"]:
            for each in service["instances"]:
                consul.register(service["name"], **each)
        _one(section, rounds, place, registered, "consul", environ)
        consul.deregister("s0-0")
        _one(section, rounds, place, registered, "consul, a change", environ)
    return section


def _one(
    section: Section,
    rounds: int,
    place: site.Site,
    settings: Path,
    name: str,
    environ: Mapping[str, str],
) -> None:
    words = ["-c", str(settings), "once"]
    code = 3 if "change" in name else 0
    place.confsync(settings, "once", code=code)
    modules = subprocess.run(
        [site.PYTHON, "-c", _MODULES, *words],
        env=dict(environ),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    foreign = [name for name in modules if name.partition(".")[0] != "confsync"]
    found = measuring.alternate(
        rounds,
        {
            "once": [site.CONFSYNC, *words],
            "haproxy -c": [place.haproxy.binary, "-c", "-f", str(place.haproxy.cfg)],
            "imports": [site.PYTHON, "-c", f"for m in {foreign!r}: __import__(m)"],
            "all imports": [site.PYTHON, "-c", f"for m in {modules!r}: __import__(m)"],
        },
        environ,
        codes=(0, code),
    )
    section.raw[name] = _raw(found) | {"modules": modules}
    section.parts += [
        f"**{name}** ({len(foreign)} modules, and {len(modules) - len(foreign)} of confsync)",
        _table(found),
    ]
    for imports in ("imports", "all imports"):
        for unit in ("cpu", "wall"):
            rest = _median(found["once"], unit) - _median(found["haproxy -c"], unit)
            section.targets.append(
                Target(
                    what=f"`once`, {name}: times {imports}",
                    limit=1.3,
                    found=rest / _median(found[imports], unit),
                    remark=_UNITS[unit],
                )
            )


_UNITS = {"cpu": "CPU", "wall": "clock"}


def _median(samples: Sequence[Sample], unit: str) -> float:
    return Spread.of([getattr(each, unit) for each in samples]).median


def _table(found: Mapping[str, Sequence[Sample]]) -> Table:
    rows = []
    for name, samples in found.items():
        cells = [Spread.of([getattr(s, unit) for s in samples]).cells() for unit in ("cpu", "wall")]
        rows.append([f"`{name}`", *cells[0][:3], *cells[1]])
    heads = [*(f"CPU {head}" for head in HEADS[:3]), *(f"clock {head}" for head in HEADS[:3]), "n"]
    return Table(heads=["ms", *heads], rows=rows)


def _raw(found: Mapping[str, Sequence[Sample]]) -> dict[str, object]:
    return {
        name: {"cpu": [s.cpu for s in samples], "wall": [s.wall for s in samples]}
        for name, samples in found.items()
    }
