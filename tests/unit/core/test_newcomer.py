from confsync.core.newcomer import Newcomer
from confsync.domain.running import Observed


def worker(pid: int, place: str = "") -> Observed:
    return Observed(running=True, worker_pid=pid, worker_started=5.0, place=place)


def test_only_another_one_has_an_age_and_a_third_begins_anew() -> None:
    newcomer = Newcomer(worker(7))
    looks = [(7, 1.0), (0, 2.0), (8, 3.0), (8, 3.5), (9, 4.0), (9, 4.2), (7, 5.0), (9, 6.0)]
    ages = [newcomer.age(worker(pid), now) for pid, now in looks]
    assert ages[:5] == [None, None, 0.0, 0.5, 0.0]
    assert ages[5:] == [4.2 - 4.0, None, 0.0]


def test_that_number_in_another_place_is_another_one() -> None:
    assert Newcomer(worker(7, "one")).age(worker(7, "two"), 1.0) == 0.0
