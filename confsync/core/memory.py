"""What templates printed for each service, kept for as long as the service stays as it is.

Which loops go through here is found in fragments.py. A remembered text costs as many steps
(effort.py) as rendering it did, so that no outcome hangs on what is remembered.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from confsync.core import effort, views
from confsync.domain.loadbalancer import Backend

PIECE = 64
"""Texts of which one is made at a time: what is much larger is memory that the system must give."""


@dataclass(frozen=True, slots=True)
class Known:
    """A text in place of values of a loop."""

    text: str


@dataclass(frozen=True, slots=True)
class Fragment(Known):
    """What a loop's body printed for a service. `steps`: that it took."""

    source: Backend
    steps: int


@dataclass(slots=True)
class Memory:
    """The fragments of the last whole render; `fresh` are those of the one that goes on.

    Both by the loop's number and the service's slug.
    """

    kept: dict[int, dict[str, Fragment]] = field(default_factory=dict)
    fresh: dict[int, dict[str, Fragment]] = field(default_factory=dict)
    made: int = 0

    def begun(self) -> "Memory":
        """Give the memory of a render that begins now."""
        return Memory(kept=self.kept)

    def ended(self) -> "Memory":
        """Give what is kept once a render has ended, and nothing was refused."""
        return Memory(kept=self.fresh, made=self.made)


_memory: ContextVar[Memory | None] = ContextVar("_memory", default=None)


@contextmanager
def remembering(memory: Memory | None) -> Iterator[None]:
    """Take fragments from a memory, and put them there."""
    token = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(token)


def remembered(values: Iterable[Any], number: int) -> Iterable[Any]:
    """Give, as a filter, a loop's values, Known in place of those whose text is remembered.

    Where a text took more steps than are left it is the value: its body tells where it is too much.
    """
    memory = _memory.get()
    if memory is None:
        return values
    kept, fresh = memory.kept.get(number, {}), memory.fresh.setdefault(number, {})
    if isinstance(values, views.Services):
        return _together(values, kept, fresh)
    return _one_by_one(values, kept, fresh)


def _together(
    services: views.Services, kept: dict[str, Fragment], fresh: dict[str, Fragment]
) -> Iterator[Any]:
    """Go over all services with little for each: nearly all are those of the last render."""
    texts: list[str] = []
    steps, left = 0, effort.left()
    for place, source in enumerate(services.backends):
        found = kept.get(source.slug)
        if found is not None and found.source is not source:
            found = _taken_over(found, source)
        if found is not None and steps + found.steps > left:
            found = None
        if found is not None:
            fresh[source.slug] = found
            texts.append(found.text)
            steps += found.steps
            if len(texts) < PIECE:
                continue
        # Before the next body runs, so that the file's length is told of before what that does.
        if texts:
            effort.spend(steps)
            yield Known("".join(texts))
        if found is None:
            yield services.view(place)
        texts, steps, left = [], 0, effort.left()
    if texts:
        effort.spend(steps)
        yield Known("".join(texts))


def _one_by_one(
    values: Iterable[Any], kept: dict[str, Fragment], fresh: dict[str, Fragment]
) -> Iterator[Any]:
    """Go over anything: what comes next may fail or take steps, so each text goes out before."""
    for value in values:
        source = value.source if isinstance(value, views.ServiceView) else None
        found = kept.get(source.slug) if source is not None else None
        if found is not None and source is not None:
            found = _taken_over(found, source)
        if found is None or found.steps > effort.left():
            yield value
            continue
        fresh[found.source.slug] = found
        effort.spend(found.steps)
        yield found


def _taken_over(found: Fragment, source: Backend) -> Fragment | None:
    """Take a text for an equal service, so that the next look is a short one."""
    if found.source is source:
        return found
    return replace(found, source=source) if found.source == source else None


def known(value: object) -> bool:
    """Tell, as a test, whether there is a text in place of a loop's value."""
    return isinstance(value, Known)


def taken(value: Known) -> str:
    """Give, as a filter, that text."""
    return value.text


def fragment(number: int, value: object, caller: Callable[[], str]) -> str:
    """Give what a loop's body prints for a value, and remember it."""
    memory = _memory.get()
    source = value.source if isinstance(value, views.ServiceView) else None
    if memory is None or source is None:
        return caller()
    before = effort.left()
    text = caller()
    steps = 1 + before - effort.left()  # with the call of this
    memory.fresh[number][source.slug] = Fragment(text, source, steps)
    memory.made += 1
    return text
