import asyncio

import pytest

from confsync.adapters.consul.following import BURST, RATE, Cursor, Follower, Pace
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import SERVICES, Reader
from confsync.adapters.consul.roster import Roster
from confsync.errors import Unavailable
from tests.unit.adapters.consul.registry import Registry


@pytest.mark.parametrize(
    ("answers", "sent", "fell"),
    [
        ([], 0, []),
        ([7], 7, [False]),
        ([7, 7], 7, [False, False]),
        ([7, 9], 9, [False, False]),
        ([7, 5], 0, [False, True]),
        ([7, 5, 5], 5, [False, True, False]),
        ([0], 0, [False]),
        ([7, 0], 0, [False, False]),
        ([7, 0, 6], 0, [False, False, True]),
        ([7, 0, 8], 8, [False, False, False]),
    ],
)
def test_index_rules(answers: list[int], sent: int, fell: list[bool]) -> None:
    cursor = Cursor()
    assert [cursor.answered(index) for index in answers] == fell
    assert cursor.send == sent


def test_fall_is_noticed_over_a_failure() -> None:
    cursor = Cursor()
    cursor.answered(7)
    cursor.failed()
    assert cursor.send == 0
    assert cursor.answered(5)


def test_pace_lets_a_burst_through_then_slows_and_recovers() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert [pace.pause() for _ in range(BURST)] == [0.0] * BURST
    assert pace.pause() == pytest.approx(1 / RATE)
    now += 1 / RATE
    assert pace.pause() == pytest.approx(1 / RATE)
    now += 3600
    assert [pace.pause() for _ in range(BURST)] == [0.0] * BURST
    assert pace.pause() > 0


@pytest.mark.parametrize(("retry_after", "woken"), [(0, True), (60, False)])
async def test_pauses_end_when_the_list_is_answered_again_but_not_those_told_by_consul(
    retry_after: float, *, woken: bool
) -> None:
    roster = Roster(now=lambda: 0)
    follower = Follower(Reader(Registry(), ConsulOptions(), now=lambda: 0), roster)
    down = Unavailable("down", retry_after=retry_after)
    tries: list[int] = []

    async def second_works() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise down
        return "fine"

    async def works() -> str:
        return "list"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follower.persist("other", second_works))
        while not tries:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        roster.failed(SERVICES, down)
        assert await follower.persist(SERVICES, works) == "list"
        for _ in range(20):
            await asyncio.sleep(0)
        assert task.done() is woken
        task.cancel()
