import json
import random

import pytest

from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.options import ConsulOptions
from confsync.adapters.consul.reading import SERVICES, Reader
from confsync.core.selection import Selection
from confsync.errors import Unavailable
from tests.unit.adapters.consul.registry import Registry

OPTIONS = ConsulOptions(selection=Selection(exclude=("x*",)))


def reader() -> Reader:
    return Reader(Registry(), OPTIONS, now=lambda: 0)


def answer(table: object, *, filtered: bool = False) -> Answer:
    return Answer(body=json.dumps(table).encode(), asked=SERVICES, filtered=filtered)


def test_listing_of_the_same_names_is_the_very_same() -> None:
    one = reader()
    first = one.listing(answer({"a": [], "x": []}))
    assert one.listing(answer({"a": [], "x": []})) is first
    assert one.listing(answer({"x": ["tag"], "a": []})) is first
    assert one.listing(answer({"a": []})) is first  # none that is wanted is gone
    assert one.listing(answer({"a": []}, filtered=True)) is not first


def test_listing_that_makes_no_sense_is_not_kept() -> None:
    one = reader()
    first = one.listing(answer({"a": []}))
    for _ in range(2):
        with pytest.raises(Unavailable):
            one.listing(answer(["a"]))
    assert one.listing(answer({"a": []})) is first


@pytest.mark.parametrize("seed", range(20))
def test_listing_is_what_a_reader_without_a_memory_makes_of_it(seed: int) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "c", "x1", "x2", "consul", "a/b", "..", "", "x/y", "\N{SNOWMAN}/"]
    one = reader()
    for _ in range(100):
        table = {name: ["t"] * chance.randrange(2) for name in names if chance.random() < 0.7}
        said = answer(table, filtered=chance.random() < 0.2)
        assert one.listing(said) == reader().listing(said)
