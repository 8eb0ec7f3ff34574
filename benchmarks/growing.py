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
BURST = 500
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
    rows = [each for line in (floor, confsync) for each in changing.rows_of(line)]
    rows += [changing.row(f"confsync's cycle: {stage}", ms) for stage, ms in stages.items()]
    rows.append(changing.row("confsync's loop: *late*", late))
    section.parts += [
        f"**{size} services of {INSTANCES}**",
        Table(heads=changing.HEADINGS, rows=rows),
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


def burst(folder: Path, environ: Mapping[str, str], version: str) -> Section:
    """Measure how long 500 registrations at once take to serve, under load."""
    section = Section(title=f"{BURST} registrations at once")
    rows: list[list[str]] = []
    begin = 0.0
    with contextlib.ExitStack() as stack:
        backends = stack.enter_context(Backends())
        (stays,) = backends.start_many(1)
        ports = backends.start_many(BURST)
        names = [f"s{port}" for port in ports]
        maker = lines.Maker(stack, folder, version, stays, environ, fill=changing.fill)
        beats = folder / "beats"
        confsync = maker.confsync(ports, beats=beats)
        floor = maker.floor(ports)
        time.sleep(1)
        for line in (floor, confsync):
            reloads = line.place.haproxy.reloads()
            with Load(
                line.place.port, close=2, keepalive=2, streams=0, think=0.0005,
                host_header=lines.SERVICE, seconds=120, servers=[*names, f"s{stays}"],
            ) as load:  # fmt: skip
                load.wait_ok(200)
                begin = time.monotonic()
                _register(line.consul, ports)
                told = time.monotonic()
                seen = load.wait(
                    lambda report: len(report.servers) == BURST + 1, "all servers", timeout=90
                )
                report = load.stop()
            served = max(each.first for each in seen.servers.values()) - begin
            reloads = line.place.haproxy.reloads() - reloads
            rows.append(
                [
                    *(line.name, f"{(told - begin) * 1000:.0f}", f"{served * 1000:.0f}"),
                    *(str(report.ok), str(report.failed), str(reloads)),
                ]
            )
            section.raw[line.name] = {
                "told": told - begin,
                "served": served,
                "ok": report.ok,
                "failed": report.failed,
                "reloads": reloads,
            }
            if line is confsync:
                section.targets += [
                    Target(what=f"{BURST} at once: failed", limit=0, found=report.failed, digits=0),
                    Target(what=f"{BURST} at once: reloads", limit=0, found=reloads, digits=0),
                ]
        found = [json.loads(each) for each in beats.read_text().splitlines()]
        late = [late for at, late in found if at >= begin * 1000]  # of confsync's turn, the last
    about = (
        f"HAProxy {version}; {BURST} servers of one service, written in transactions of {OPERATIONS}, "
        "while four clients ask. *served*: from before the first write until each of them has "
        f"answered once. confsync's event loop did nothing else for {max(late, default=0):.0f} ms at "
        "most."
    )
    section.parts += [
        about,
        Table(heads=["", "written ms", "served ms", "requests", "failed", "reloads"], rows=rows),
    ]
    section.raw["late"] = max(late, default=0.0)
    return section


def _register(consul: Consul, ports: Sequence[int]) -> None:
    operations = []
    for port in ports:
        service = {
            "ID": f"{lines.SERVICE}-{port}",
            "Service": lines.SERVICE,
            "Address": "127.0.0.1",
            "Port": port,
        }
        operations.append({"Service": {"Verb": "set", "Node": "burst", "Service": service}})
    consul.catalog_register("burst", address="127.0.0.1")
    for begin in range(0, len(operations), OPERATIONS):
        consul.raw("PUT", "/v1/txn", operations[begin : begin + OPERATIONS])
