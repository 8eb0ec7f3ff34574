"""When what is alive is frozen: seldom."""

from confsync.wiring.lasting import Lasting


def test_only_a_first_turn_and_growth_freeze() -> None:
    frozen: list[int] = []
    at = 0
    lasting = Lasting(lambda: frozen.append(at))
    for at in (0, 0, 100, 110, 100, 126, 20, 126, 1000, 1000):
        lasting.now(at)
    assert frozen == [0, 100, 126, 1000]
