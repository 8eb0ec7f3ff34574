"""Changes without a reload among many: at 100 and 1,000 services of 10, and 500 at once.

Beside the times of whole lines (lines.py) it tells for how long the agent's event loop could do
nothing else: a timer beats in it (beating.py).
"""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import changing, lines
from benchmarks.lines import Line
from benchmarks.measuring import HEADS, Spread
from benchmarks.report import Section, Table, Target
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.load import Load

SIZES = (100, 1000)
INSTANCES = 10
NODES = 10
TEMPLATE = Path(__file__).with_name("many.cfg.j2")
AFTER = 60.0
"""Milliseconds after a change within which the loop's beats count as its own."""
OPERATIONS = 64
"""Of one transaction, Consul's own limit."""


def fill(consul: Consul, services: int) -> None:
    """Put services into the catalog, each with one instance on each node."""
    operations: list[dict[str, Any]] = []
    for node in range(NODES):
        consul.catalog_register(f"n{node}", address=f"127.0.2.{node + 1}")
    for number in range(services):
        for node in range(INSTANCES):
            service = {
                "ID": f"s{number}-{node}",
                "Service": f"s{number}",
                "Address": f"127.{10 + node}.{number // 250}.{number % 250 + 1}",
                "Port": 1000 + number,
                "Tags": ["http", f"v{node % 3}"],
                "Meta": {"team": f"t{number % 7}"},
            }
            said = {"Verb": "set", "Node": f"n{node % NODES}", "Service": service}
            operations.append({"Service": said})
    for begin in range(0, len(operations), OPERATIONS):
        consul.raw("PUT", "/v1/txn", operations[begin : begin + OPERATIONS], timeout=60)


def many(
    rounds: int,
    folder: Path,
    environ: Mapping[str, str],
    version: str,
    sizes: Sequence[int] = SIZES,
) -> Section:
    """Measure a change among many services."""
    section = Section(title="A change without a reload among many services")
    section.parts.append(
        f"Milliseconds, HAProxy {version}, a template of {TEMPLATE.name}'s kind. *late*: the longest "
        f"that the agent's event loop did nothing else within {AFTER:g} ms of a change. The least "
        "script watches one service alone."
    )
    for size in sizes:
        _size(section, size, rounds, folder / str(size), environ, version)
    return section


def _size(
    section: Section,
    size: int,
    rounds: int,
    folder: Path,
    environ: Mapping[str, str],
    version: str,
) -> None:
    with contextlib.ExitStack() as stack:
        backends = stack.enter_context(Backends())
        (stays,) = backends.start_many(1)
        maker = lines.Maker(
            stack,
            folder,
            version,
            stays,
            environ,
            fill=lambda consul: fill(consul, size),
            template=str(TEMPLATE),
        )
        beats = folder / "beats"
        confsync = maker.confsync(backends.start_many(changing.TURNS), beats=beats)
        floor = maker.floor(backends.start_many(changing.TURNS))
        time.sleep(2)
        changing.turns(rounds, [floor, confsync], [])
        stages = changing.stage_times(confsync, 2 * rounds)
        late = lateness(beats, confsync.begun)
    rows = []
    for line in (floor, confsync):
        for what, values in (("first answer", line.came), ("last answer", line.went)):
            cells = Spread.of(values).cells()
            rows.append([f"{line.name}: {what}", *cells[:3], changing.p99(values), cells[3]])
    for name, values in (*stages.items(), ("*late*", late)):
        cells = Spread.of(values).cells()
        rows.append([f"confsync's cycle: {name}", *cells[:3], changing.p99(values), cells[3]])
    section.parts += [
        f"**{size} services of {INSTANCES}**",
        Table(heads=["ms", *HEADS[:3], "p99", "n"], rows=rows),
    ]
    section.raw[str(size)] = {
        **{line.name: {"came": line.came, "went": line.went} for line in (floor, confsync)},
        "stages": stages,
        "late": late,
    }
    if size == max(SIZES):
        section.targets += [
            Target(
                what=f"{size} services of {INSTANCES}: a cycle of one change, p50 ms",
                limit=60,
                found=changing.middle(stages["all"]),
                digits=1,
            ),
            Target(
                what=f"{size} services of {INSTANCES}: the loop is blocked, p50 ms",
                limit=20,
                found=changing.middle(late),
                digits=1,
            ),
        ]


def lateness(beats: Path, begun: Sequence[float]) -> list[float]:
    """Give for each change the longest that a beat came late soon after it."""
    found = [json.loads(line) for line in beats.read_text().splitlines()]
    return [
        max((late for at, late in found if begin <= at <= begin + AFTER + late), default=0.0)
        for begin in begun
    ]
