"""How much work one template may be: steps of its loops and calls, characters of its text.

A loop in a loop in a loop, or a macro that calls itself twice, would keep a render busy for years and
fill the memory of the load balancer. Steps are counted, not seconds: the same catalog has the same
outcome on a slow machine. What counts a step is in sandbox.py.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from confsync.core.filters import Forbidden

MOST_STEPS = 5_000_000
"""Some seconds of Python; a loop over 1,000 services in a loop over 1,000 is a million."""

MOST_CHARACTERS = 64 * 1024 * 1024
"""Of one file: HAProxy itself has trouble long before."""

_left: ContextVar[list[int] | None] = ContextVar("_left", default=None)
"""One number, in a list so that it can change: how many steps are left."""


@contextmanager
def bounded(steps: int = MOST_STEPS) -> Iterator[None]:
    """Allow so many steps within; nothing is counted outside."""
    token = _left.set([steps])
    try:
        yield
    finally:
        _left.reset(token)


def spend(steps: int = 1) -> None:
    """Count steps. Raises Forbidden when there are no more."""
    left = _left.get()
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise Forbidden("its loops and calls take too many steps: does one never end?")


def left() -> int:
    """Tell how many steps are left; 0 where none are counted."""
    counted = _left.get()
    return counted[0] if counted is not None else 0


def gathered(parts: Iterable[str], most: int = MOST_CHARACTERS) -> str:
    """Join a file's parts. Raises Forbidden when it becomes too long."""
    found, length = [], 0
    for part in parts:
        length += len(part)
        if length > most:
            error = Forbidden(
                f"its file would be longer than {most:,} characters: does a loop print too much?"
            )
            if isinstance(parts, Generator):
                parts.throw(error)  # so that the error has the template's line
            raise error
        found.append(part)
    return "".join(found)
