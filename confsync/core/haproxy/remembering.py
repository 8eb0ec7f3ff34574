"""Results that are kept for as long as their texts are in use, and not much longer.

A cache by last use forgets everything when it is a little too small for a configuration that is read
from front to back; one that is large enough for any would keep every text of a long life.
"""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")
_LEAST = 512


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
