"""Results that are kept for as long as their texts are in use, and not much longer.

A cache by last use forgets everything when it is a little too small for a configuration that is read
from front to back; one that is large enough for any would keep every text of a long life.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")
_LEAST = 512
_TEXTS = 4
OFTEN = 256
"""Pieces that are taken from the texts before, before all are looked up once: fewer than are kept, so
that those in use stay young."""


class Remembered(Generic[Given, Made]):
    """A function of hashable values, never None, with its results of two generations."""

    def __init__(self, make: Callable[Given, Made]) -> None:
        self._make = make
        self._young: dict[tuple[object, ...], Made] = {}
        self._old: dict[tuple[object, ...], Made] = {}
        self._most = _LEAST
        self.__doc__ = make.__doc__

    def __call__(self, *given: Given.args, **named: Given.kwargs) -> Made:
        """Give the result, made once."""
        assert not named
        found = self._young.get(given)
        if found is None:
            found = self._old.pop(given, None)
            if found is None:
                found = self._make(*given, **named)
            self._young[given] = found
            if len(self._young) > self._most:
                self._old, self._young = self._young, {}
        return found

    def expect(self, count: int) -> None:
        """Keep room for this many in use, and some that were."""
        self._most = max(self._most, _LEAST, count + count // 4)

    def __len__(self) -> int:
        """Count the results that are kept."""
        return len(self._young) + len(self._old)


class Each(Generic[Made]):
    """A remembered function of each piece of a text; of a text like one before only what differs.

    Two threads may call it at once: what one of them misses is made again.
    """

    def __init__(self, make: Remembered[[str], Made]) -> None:
        self._make = make
        self._recent: tuple[_Done[Made], ...] = ()

    def __call__(self, pieces: tuple[str, ...]) -> tuple[Made, ...]:
        """Give what is made of each piece, in their order."""
        recent = self._recent
        like = next((each for each in recent if each.pieces[:1] == pieces[:1]), None)
        other = differing(like.pieces, pieces) if like else None
        if like is None or other is None or like.taken + len(other) > OFTEN:
            self._make.expect(len(pieces))
            done = _Done(pieces, tuple(map(self._make, pieces)), 0)
        else:
            made = list(like.made)
            for place in other:
                made[place] = self._make(pieces[place])
            done = _Done(pieces, tuple(made), like.taken + len(other))
        self._recent = (done, *(each for each in recent if each is not like))[:_TEXTS]
        return done.made


@dataclass(frozen=True, slots=True)
class _Done(Generic[Made]):
    """What was made of a text's pieces. `taken`: how many since all were looked up."""

    pieces: tuple[str, ...]
    made: tuple[Made, ...]
    taken: int


def differing(before: Sequence[str], now: Sequence[str]) -> list[int] | None:
    """Give the places at which pieces are not the very same (None: there are fewer or more)."""
    if len(before) != len(now):
        return None
    return [at for at, (one, other) in enumerate(zip(before, now, strict=True)) if one is not other]
