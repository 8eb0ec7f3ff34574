"""What happens in the demo, in its order, and how much of it fits into the time that there is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from confsync.demo import ledger, stage, view

SHORTEST = 0.3  # seconds between two steps
LONGEST = 6.0
LEAST = 8.0  # seconds below which nothing worth seeing fits
MOST = 240.0

Play = Callable[[stage.Stage], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `cost`: seconds that it takes, roughly; `rank`: the lower, the less dispensable."""

    title: str
    play: Play
    cost: float
    rank: int


def steps(mishap: tuple[str, str]) -> tuple[Step, ...]:
    """Return the whole scenario; `mishap`: how the registry breaks and comes back, in words.

    No service of more than two instances loses more than one at a time: the guard would hold that,
    as it should.
    """
    burst = [f"{service}-{n}" for n in range(11, 16) for service in ("web", "api")]
    broken, back = mishap
    return (
        Step(
            title="web and api appear, three instances each",
            play=lambda s: s.appear(web=3, api=3),
            cost=1.5,
            rank=0,
        ),
        Step(title="web-4 joins", play=lambda s: s.join("web-4"), cost=1, rank=1),
        Step(
            title="web-1 leaves: deregistered, drained, stopped",
            play=lambda s: s.leave("web-1"),
            cost=2,
            rank=2,
        ),
        Step(
            title="api-2 crashes; the registry learns of it later",
            play=lambda s: s.crash("api-2"),
            cost=3,
            rank=3,
        ),
        Step(
            title="search appears, two instances",
            play=lambda s: s.appear(search=2),
            cost=1.5,
            rank=5,
        ),
        Step(
            title="hostile texts are registered, and api-4",
            play=lambda s: s.attack("api-4"),
            cost=1.5,
            rank=6,
        ),
        Step(title=f"{broken}. {back}", play=lambda s: s.outage("web-5"), cost=6, rank=8),
        Step(
            title="ten instances join at once",
            play=lambda s: s.join(*burst),
            cost=2,
            rank=4,
        ),
        Step(
            title="search goes, after its clients",
            play=lambda s: s.vanish("search"),
            cost=2,
            rank=7,
        ),
    )


def fitting(whole: tuple[Step, ...], seconds: float) -> tuple[Step, ...]:
    """Choose what fits into `seconds`, the least dispensable first, and keep its order."""
    chosen: set[int] = set()
    left = seconds
    for index, step in sorted(enumerate(whole), key=lambda pair: pair[1].rank):
        if chosen and left < step.cost + SHORTEST:
            break
        chosen.add(index)
        left -= step.cost + SHORTEST
    return tuple(step for index, step in enumerate(whole) if index in chosen)


def pause(left: float, rest: tuple[Step, ...]) -> float:
    """Return the seconds to wait before the first of `rest`, when `left` seconds are left for it."""
    spare = left - sum(step.cost for step in rest)
    return min(LONGEST, max(SHORTEST, spare / (len(rest) + 1)))


async def perform(play: stage.Stage, seconds: float, show: view.View) -> None:
    """Play what fits into `seconds`; the ledger has the outcome."""
    begun = time.monotonic()
    rest = fitting(steps(play.registry.mishap), seconds)
    # An agent that finds its HAProxy freshly started may reload it once; the first step comes before.
    wait = SHORTEST
    while rest:
        await asyncio.sleep(wait)
        step, rest = rest[0], rest[1:]
        at = time.monotonic() - begun
        show.begin(step.title, at)
        play.faults.clear()
        outcome = await step.play(play)
        done = ledger.Step(title=step.title, at=at, outcome=outcome, faults=tuple(play.faults))
        play.ledger.steps.append(done)
        show.end(done)
        wait = pause(begun + seconds - time.monotonic(), rest)
    await asyncio.sleep(wait)
