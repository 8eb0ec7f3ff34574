import pytest

from confsync.adapters.consul.following import BURST, RATE, Cursor, Pace


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
