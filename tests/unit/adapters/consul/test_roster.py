import pytest

from confsync.adapters.consul.reading import Listing, Reading
from confsync.adapters.consul.roster import Roster
from confsync.domain.catalog import Catalog, Instance, Service
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


def reading(name: str, *ports: int, seen: float = 100.0, denied: bool = False) -> Reading:
    instances = tuple(Instance(id=str(port), address="a", port=port) for port in ports)
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


def test_equal_answer_makes_the_service_younger(roster: Roster, clock: Clock) -> None:
    fill(roster, "a", "b")
    clock.time = 200
    assert roster.confirm("a")
    assert not roster.confirm("c")
    roster.put(reading("b", 2), fell=False)
    catalog = roster.take_catalog()
    assert catalog is not None
    assert catalog.services[0].seen == 200


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
