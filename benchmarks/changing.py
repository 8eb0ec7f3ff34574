"""From a write to Consul to live traffic without a reload: confsync, two scripts, consul-template.

Whole lines stand side by side (lines.py) and take turns, sample by sample. A server comes: the clock
stops at its first answer. It goes: at its last one.
"""

import contextlib
import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import lines
from benchmarks.lines import Line
from benchmarks.measuring import HEADS, Spread
from benchmarks.report import Section, Table, Target
from tests.support import machine
from tests.support.backend import Backends
from tests.support.consul import Consul

TITLE = "Consul write to live traffic, without a reload"
OTHERS, INSTANCES = 10, 3
TURNS = 16
"""Servers that come and go in turn, so that one is forgotten before it comes again."""
SLOW = 5
"""One in so many rounds is consul-template's too: each of its changes is a reload."""
CALM = (0.05, 0.2)
"""Seconds between two samples, by chance: nothing that comes later falls on the same side always."""
CPU_PACE = 0.2
"""Seconds between two changes while CPU time is counted."""


def fill(consul: Consul) -> None:
    """Register services that do not change."""
    for number in range(OTHERS):
        for one in range(INSTANCES):
            consul.register(f"s{number}", address="127.0.1.1", port=1000 + 10 * number + one)


def measure(rounds: int, folder: Path, environ: Mapping[str, str], version: str) -> Section:
    """Measure `rounds` comings and as many goings of each."""
    section = Section(title=TITLE)
    with contextlib.ExitStack() as stack:
        backends = stack.enter_context(Backends())
        (stays,) = backends.start_many(1)
        maker = lines.Maker(stack, folder, version, stays, environ, fill=fill)
        confsync = maker.confsync(backends.start_many(TURNS))
        floor = maker.floor(backends.start_many(TURNS))
        keeping = maker.keeping(backends.start_many(TURNS))
        slow = maker.consul_template(backends.start_many(TURNS))
        if slow is None:
            section.parts.append(
                f"{lines.CONSUL_TEMPLATE} was not measured: it is not on PATH "
                f"(`go install github.com/hashicorp/{lines.CONSUL_TEMPLATE}@v0.41.0` builds it)."
            )
        reloads = confsync.place.haproxy.reloads()
        quick = [floor, keeping, confsync]
        turns(rounds, quick, [slow] if slow else [])
        every = [*quick, *([slow] if slow else [])]
        stages = stage_times(confsync, 2 * rounds)
        cpu = {each.name: cpu_of(each, min(rounds, 60)) for each in every}
        reloads = confsync.place.haproxy.reloads() - reloads
    _tell(section, version, every, stages, cpu, reloads)
    return section


def turns(rounds: int, quick: Sequence[Line], slow: Sequence[Line]) -> None:
    """Let servers come and go; the first two rounds do not count."""
    chance = random.Random(7)
    for number in range(rounds + 2):
        order = [*quick, *(slow if number % SLOW == 0 else ())]
        chance.shuffle(order)
        for act in (Line.add, Line.remove):
            for line in order:
                act(line)
                time.sleep(0.5 if line in slow else chance.uniform(*CALM))
        if number == 1:
            for line in (*quick, *slow):
                line.came.clear()
                line.went.clear()
                line.begun.clear()


def cpu_of(line: Line, changes: int) -> float:
    """Tell the milliseconds of CPU a change, what runs behind it included."""
    time.sleep(2)
    before = line.cpu()
    for number in range(changes):
        if number % 2:
            line.take()
            line.turn += 1
        else:
            line.put()
        time.sleep(CPU_PACE)
    time.sleep(2)
    return (line.cpu() - before) * 1000 / changes


def stage_times(line: Line, changes: int) -> dict[str, list[float]]:
    """Read the stages' milliseconds from the summary lines of the last changes."""
    log = line.place.folder / "confsync.log"
    found = [json.loads(each) for each in log.read_text().splitlines()]
    cycles = [each["ms"] for each in found if each["event"] == "cycle: applied"][-changes:]
    return {stage: [each.get(stage, 0.0) for each in cycles] for stage in cycles[-1]}


HEADINGS = ["ms", *HEADS[:3], "p99", "n"]


def row(what: str, values: Sequence[float]) -> list[str]:
    """Write samples as a row under HEADINGS."""
    if not values:
        return [what, *["-"] * 4, "0"]
    *spread, count = Spread.of(values).cells()
    p99 = sorted(values)[max(0, math.ceil(0.99 * len(values)) - 1)]
    return [what, *spread, f"{p99:.1f}", count]


def rows_of(line: Line) -> list[list[str]]:
    return [
        row(f"{line.name}: first answer", line.came),
        row(f"{line.name}: last answer", line.went),
    ]


def _tell(
    section: Section,
    version: str,
    every: Sequence[Line],
    stages: Mapping[str, Sequence[float]],
    cpu: Mapping[str, float],
    reloads: int,
) -> None:
    rows = [each for line in every for each in rows_of(line)]
    rows += [row(f"confsync's cycle: {stage}", ms) for stage, ms in stages.items()]
    about = (
        f"HAProxy {version}; beside the service that changes {OTHERS} others of {INSTANCES}. Of a "
        "server that comes until its first answer, of one that goes until its last one. "
        f"confsync's HAProxy was reloaded {reloads} times meanwhile."
    )
    section.parts += [
        about,
        Table(heads=HEADINGS, rows=rows),
        Table(
            heads=[f"CPU a change, one each {CPU_PACE:g} s", "ms"],
            rows=[[name, f"{ms:.1f}"] for name, ms in cpu.items()],
        ),
    ]
    floor, _, _, *slow = every
    medians = {line.name: (middle(line.came), middle(line.went)) for line in every}
    come, go = medians["confsync"]
    section.targets += [
        Target(
            what="a server comes, without a reload: `confsync` : least script, p50",
            limit=1.15,
            found=come / medians[floor.name][0],
        ),
        Target(
            what="a server goes, without a reload: `confsync` : least script, p50",
            limit=1.5,
            found=go / medians[floor.name][1],
        ),
        Target(what="reloads in these changes", limit=0, found=reloads, digits=0),
    ]
    for line in slow:
        section.targets += [
            Target(
                what=f"a server comes: `confsync` : {line.name}, p50",
                limit=0.05,
                found=come / medians[line.name][0],
                digits=3,
            ),
            Target(
                what=f"CPU a change: `confsync` : {line.name}",
                limit=0.1,
                found=cpu["confsync"] / cpu[line.name],
            ),
        ]
    section.raw |= {line.name: {"came": line.came, "went": line.went} for line in every}
    section.raw |= {"stages": stages, "cpu": cpu, "version": version, "reloads": reloads}


def middle(values: Sequence[float]) -> float:
    return Spread.of(values).median if values else math.nan


def missing(version: str) -> str:
    """Say why nothing can be measured here; "" when it can."""
    try:
        machine.haproxy_binary(version)
        machine.consul_binary()
    except machine.Missing as piece:
        return str(piece)
    return ""
