"""Runs turns of confsync in this process, and says what each cost: `python -m benchmarks.turns`.

A program of its own, so that it starts as the agent does. A heartbeat in the same event loop tells
for how long the loop did nothing else; turns in which nothing changes take turns with changes.
"""

import asyncio
import dataclasses
import json
import os
import sys
import time
from typing import Any

from confsync.domain.catalog import Catalog
from confsync.engine.cycle import Turn
from confsync.settings.load import load
from confsync.wiring import assembly

BEAT = 0.001


class Heart:
    """Beats in the event loop; `late` is the longest that a beat came late, in milliseconds."""

    def __init__(self) -> None:
        self.late = 0.0

    async def beat(self) -> None:
        while True:
            due = time.perf_counter() + BEAT
            await asyncio.sleep(BEAT)
            self.late = max(self.late, (time.perf_counter() - due) * 1000)


def changed(catalog: Catalog, number: int) -> Catalog:
    """Give one instance of one service another port."""
    services = list(catalog.services)
    at = number % len(services)
    first, *others = services[at].instances
    moved = dataclasses.replace(first, port=20_000 + number)
    services[at] = dataclasses.replace(services[at], instances=(moved, *others))
    return dataclasses.replace(catalog, services=tuple(services))


async def work(settings: str, rounds: int) -> dict[str, Any]:
    made = assembly.parts(load(settings, environ=os.environ))
    heart = Heart()
    found: dict[str, Any] = {"fetch": [], "in step": [], "a change": []}
    with assembly.claimed(made):
        made.cycle.restore()
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(heart.beat())
            catalog = await made.discoverer.fetch()
            await made.cycle.turn(Turn(catalog=catalog, why="first", adopt=True))
            for number in range(rounds):
                begin = time.perf_counter()
                heart.late = 0.0
                await made.discoverer.fetch()
                took = (time.perf_counter() - begin) * 1000
                found["fetch"].append({"all": took, "late": heart.late, "stages": {}})
                catalog = changed(catalog, number)
                for name in ("a change", "in step"):
                    heart.late = 0.0
                    begin, cpu = time.perf_counter(), time.process_time()
                    report = await made.cycle.turn(Turn(catalog=catalog, why=name))
                    found[name].append(
                        {
                            "all": (time.perf_counter() - begin) * 1000,
                            "cpu": (time.process_time() - cpu) * 1000,
                            "late": heart.late,
                            "outcome": report.outcome.value,
                            "error": report.error,
                            "servers": report.servers,
                            "stages": {s.value: ms for s, ms in report.stages.items()},
                        }
                    )
            beating.cancel()
        await made.discoverer.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], int(sys.argv[2])))))
