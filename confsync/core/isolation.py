"""Find which few of many make a computation fail, so that the others go on without them.

For failures that data causes and nobody can foresee: a division by a meta value, a look-up in a table
that lacks it. Knows nothing of templates. When too many fail it is not the data, and nobody is blamed.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

Unit = TypeVar("Unit")
Fault = TypeVar("Fault")

BUDGET = 64
"""Attempts: enough to find four of a thousand."""


class _Spent(Exception):
    pass


def culprits(
    units: Sequence[Unit],
    attempt: Callable[[Sequence[Unit]], Fault | None],
    *,
    budget: int = BUDGET,
) -> list[tuple[Unit, Fault]]:
    """Find the units that fail by themselves, by halving.

    `attempt`: gives the fault of some of the units in their order, None when they are fine. Returns
    nothing when it cannot tell: with more than half to blame, no more attempts, or only combinations
    that fail.
    """
    left = budget
    found: list[tuple[Unit, Fault]] = []

    def search(some: Sequence[Unit]) -> None:
        nonlocal left
        if not some:
            return
        if left == 0:
            raise _Spent
        left -= 1
        fault = attempt(some)
        if fault is None:
            return
        if len(some) == 1:
            found.append((some[0], fault))
            return
        middle = len(some) // 2
        search(some[:middle])
        search(some[middle:])

    try:
        search(units)
    except _Spent:
        return []
    return found if 2 * len(found) <= len(units) else []
