import dataclasses
import random

import pytest

from confsync.adapters.consul.reading import Listing, Reading
from confsync.adapters.consul.roster import Roster
from confsync.domain.catalog import Catalog, Instance, Service
from confsync.domain.status import SourceState
from confsync.errors import Unavailable

ONE, TWO = Unavailable("one"), Unavailable("two")


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def roster(clock: Clock) -> Roster:
    return Roster(now=clock)


def reading(
    name: str, *ports: int, seen: float = 100.0, denied: bool = False, version: int = 0
) -> Reading:
    instances = tuple(
        Instance(id=str(port), address="a", port=port, modify_index=version) for port in ports
    )
    service = Service(name=name, instances=instances, seen=seen, denied=denied)
    return Reading(service=service, everything=instances)


def fill(roster: Roster, *names: str) -> Catalog:
    roster.relist(Listing(names=frozenset(names)), fell=False)
    for name in names:
        roster.put(reading(name, 1), fell=False)
    catalog = roster.take_catalog()
    assert catalog is not None
    return catalog


def test_nothing_is_told_before_anything_happens(roster: Roster) -> None:
    assert roster.take_state() is None
    assert roster.take_catalog() is None


def test_catalog_is_taken_once(roster: Roster) -> None:
    assert [s.name for s in fill(roster, "b", "a").services] == ["a", "b"]
    assert roster.take_catalog() is None
    roster.put(reading("a", 1, seen=999), fell=False)
    assert roster.take_catalog() is None
    roster.put(reading("a", 2), fell=False)
    assert roster.take_catalog() is not None


def test_service_that_did_not_change_stays_the_very_same_object(roster: Roster) -> None:
    before = fill(roster, "a", "b")
    roster.put(reading("a", 1, seen=200), fell=False)
    assert roster.take_catalog() is None
    roster.put(reading("b", 2), fell=False)
    catalog = roster.take_catalog()
    assert catalog is not None
    assert catalog.services[0] is before.services[0]


def test_registration_anew_is_no_news_but_the_next_catalog_has_it(roster: Roster) -> None:
    fill(roster, "a", "b")
    roster.put(reading("a", 1, version=7), fell=False)
    assert roster.take_catalog() is None
    roster.put(reading("b", 2), fell=False)
    catalog = roster.take_catalog()
    assert catalog is not None
    assert catalog.services[0].instances[0].modify_index == 7


def test_listing_that_was_taken_already_wakes_nobody_unless_the_index_fell(roster: Roster) -> None:
    listing = Listing(names=frozenset({"a"}))
    roster.relist(listing, fell=False)
    roster.put(reading("a", 1), fell=False)
    assert roster.take_catalog() is not None
    roster.changed.clear()
    roster.relist(listing, fell=False)
    assert not roster.changed.is_set()
    roster.relist(listing, fell=True)
    assert roster.changed.is_set()


def test_service_that_changed_and_changed_back_is_no_news(roster: Roster) -> None:
    fill(roster, "a", "b")
    roster.put(reading("a", 2), fell=False)
    roster.put(reading("a", 1), fell=False)
    roster.relist(Listing(names=frozenset({"a"})), fell=False)
    roster.relist(Listing(names=frozenset({"a", "b"})), fell=False)
    roster.put(reading("b", 1), fell=True)
    assert roster.take_catalog() is None


class Anew:
    """The same as a roster, computed from all readings each time."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.readings: dict[str, Reading] = {}
        self.taken: Catalog | None = None
        self.fell = False

    def relist(self, names: frozenset[str], *, fell: bool) -> None:
        self.names, self.fell = names, self.fell or fell
        self.readings = {name: one for name, one in self.readings.items() if name in names}

    def put(self, one: Reading, *, fell: bool) -> None:
        name = one.service.name
        if name in self.names:
            before = self.readings.get(name)
            if one.service.denied and before is not None:
                instances = before.service.instances
                service = dataclasses.replace(one.service, instances=instances)
                one = dataclasses.replace(one, service=service)
            self.readings[name], self.fell = one, self.fell or fell

    def take(self) -> tuple[Catalog, bool] | None:
        if self.taken is None and self.names - self.readings.keys():
            return None
        services = tuple(self.readings[name].service for name in sorted(self.readings))
        catalog, fell, self.fell = Catalog(services=services), self.fell, False
        if catalog == self.taken:
            return None
        self.taken = catalog
        return catalog, fell

    def told(self) -> tuple[set[str], set[str], set[str]]:
        return (
            {name for name, one in self.readings.items() if one.service.denied},
            {name for name, one in self.readings.items() if one.partial},
            {name for name, one in self.readings.items() if one.unreadable},
        )


@pytest.mark.parametrize("seed", range(50))
def test_what_is_taken_is_what_all_readings_give_computed_anew(roster: Roster, seed: int) -> None:
    chance = random.Random(seed)
    anew = Anew()
    state = SourceState()
    for _ in range(200):
        fell = chance.random() < 0.1
        if chance.random() < 0.2:
            names = frozenset(name for name in "abcde" if chance.random() < 0.8)
            roster.relist(Listing(names=names), fell=fell)
            anew.relist(names, fell=fell)
        else:
            one = reading(
                chance.choice("abcde"),
                *range(chance.randrange(3)),
                version=chance.randrange(3),
                denied=chance.random() < 0.2,
            )
            one = dataclasses.replace(
                one, partial=chance.random() < 0.2, unreadable=chance.randrange(2)
            )
            roster.put(one, fell=fell)
            anew.put(one, fell=fell)
        if chance.random() < 0.5 or not anew.names:
            continue
        assert roster.unknown() == anew.names - anew.readings.keys()
        catalog, expected = roster.take_catalog(), anew.take()
        assert (catalog and (catalog, catalog.index_fell)) == expected
        if catalog is not None:
            versions = [[i.modify_index for i in s.instances] for s in catalog.services]
            assert anew.taken is not None
            assert versions == [[i.modify_index for i in s.instances] for s in anew.taken.services]
        state = roster.take_state() or state
        denied, partial, odd = anew.told()
        assert state.denied == tuple(sorted(denied))
        notes = {note.rpartition(": ")[2] for note in state.notes}
        assert notes == {", ".join(sorted(names)) for names in (partial, odd) if names}


def test_error_shown_stays_until_its_query_is_answered(roster: Roster, clock: Clock) -> None:
    fill(roster, "a")
    up = roster.take_state()
    assert up is not None
    assert (up.up, up.error, up.since) == (True, "", 100)
    clock.time = 200
    roster.failed("one", ONE)
    down = roster.take_state()
    assert down is not None
    assert (down.up, down.error, down.since) == (False, "one", 200)
    clock.time = 300
    roster.failed("two", TWO)
    roster.failed("one", ONE)
    assert roster.take_state() is None
    roster.answered("one")
    other = roster.take_state()
    assert other is not None
    assert (other.error, other.since) == ("two", 200)
    roster.answered("two")
    up = roster.take_state()
    assert up is not None
    assert (up.up, up.error, up.since) == (True, "", 300)


def test_denied_service_keeps_its_instances_over_many_answers(roster: Roster) -> None:
    fill(roster, "a")
    for _ in range(3):
        roster.put(reading("a", denied=True), fell=False)
    catalog = roster.take_catalog()
    assert catalog is not None
    assert catalog.services[0].denied
    assert len(catalog.services[0].instances) == 1
    state = roster.take_state()
    assert state is not None
    assert state.denied == ("a",)


def test_notes_count_what_is_too_much_to_name(roster: Roster) -> None:
    refused = tuple(f"'/{number}'" for number in range(8))
    listing = Listing(names=frozenset({"a"}), refused=refused, filtered=True)
    roster.relist(listing, fell=False)
    state = roster.take_state()
    assert state is not None
    assert state.notes == (
        "names that no query can hold are left out: '/0', '/1', '/2', '/3', '/4' and 3 more",
        "the token may not see all services",
    )


def test_notes_name_services_in_part_and_with_senseless_rows(roster: Roster) -> None:
    roster.relist(Listing(names=frozenset({"a"})), fell=False)
    roster.put(
        Reading(service=Service(name="a"), unreadable=2, partial=True),
        fell=False,
    )
    state = roster.take_state()
    assert state is not None
    assert state.notes == (
        "the token may not see all instances of: a",
        "registrations that make no sense are left out: a",
    )
