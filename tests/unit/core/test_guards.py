"""The guard as a table of catalogs over time."""

import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import guards
from confsync.core.guards import Evidence, Memory, Thresholds, Verdict
from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.status import Hold

SERVED = frozenset({Status.PASSING})
LIMITS = Thresholds()


def instance(number: int, status: Status = Status.PASSING, port: int = 80) -> Instance:
    return Instance(
        id=f"i{number}", address=f"10.0.0.{number}", port=port, status=status, node=f"n{number}"
    )


def service(count: int, name: str = "web", *, first: int = 1) -> Service:
    return Service(name=name, instances=tuple(instance(n) for n in range(first, first + count)))


def catalog(*services: Service, fell: bool = False) -> Catalog:
    return Catalog(services=tuple(sorted(services, key=lambda s: s.name)), index_fell=fell)


def judge(memory: Memory, seen: Catalog, now: float, evidence: Evidence | None = None) -> Verdict:
    return guards.judge(memory, seen, now=now, served=SERVED, thresholds=LIMITS, evidence=evidence)


def begun(*services: Service, now: float = 0) -> Memory:
    return judge(Memory(), catalog(*services), now).memory


def addresses(verdict: Verdict, name: str = "web") -> list[str]:
    found = verdict.catalog.get(name)
    return [i.address for i in found.instances] if found else []


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (10, 10, False),
        (10, 5, False),  # half is not more than half
        (10, 4, True),
        (4, 2, False),  # fewer than `least`
        (5, 2, True),
        (4, 1, True),
        (3, 0, True),
        (2, 0, False),  # a service of two may go to none: meant
        (1, 0, False),
        (4, 9, False),
    ],
)
def test_a_service_is_held_when_it_lost_too_much(before: int, after: int, held: bool) -> None:
    verdict = judge(
        begun(service(before), service(1, "other")),
        catalog(service(after), service(1, "other")),
        1,
    )
    assert bool(verdict.holds) is held
    assert len(addresses(verdict)) == (max(before, after) if held else after)


def test_a_vanished_name_is_held_like_an_empty_service() -> None:
    verdict = judge(begun(service(5), service(1, "other")), catalog(service(1, "other")), 1)
    assert len(addresses(verdict)) == 5
    assert verdict.holds == (
        Hold(
            service="web",
            reason="lost 5 of 5 instances within 10 s",
            since=1,
            dropped=tuple(f"10.0.0.{n}:80" for n in range(1, 6)),
            until=61,
        ),
    )


def test_a_hold_names_what_is_lost_and_nothing_else() -> None:
    six = replace(instance(6), address="fd00::6")
    web = Service(name="web", instances=(*service(5).instances, six))
    (hold,) = judge(begun(web), catalog(service(1)), 1).holds
    assert hold.reason == "lost 5 of 6 instances within 10 s"
    assert hold.dropped == (*(f"10.0.0.{n}:80" for n in range(2, 6)), "[fd00::6]:80")


def test_a_vanished_small_service_leaves_nothing_behind() -> None:
    verdict = judge(begun(service(2), service(1, "other")), catalog(service(1, "other")), 1)
    assert not verdict.holds
    assert verdict.catalog.get("web") is None
    seen = [(when, len(one.instances)) for when, one in verdict.memory.seen["web"]]
    assert seen == [(0, 2), (1, 0)]
    assert "web" not in judge(verdict.memory, catalog(service(1, "other")), 12).memory.seen


def test_losses_add_up_within_the_window_only() -> None:
    memory = begun(service(10))
    for now, count in ((4, 8), (8, 6)):
        verdict = judge(memory, catalog(service(count)), now)
        assert not verdict.holds
        memory = verdict.memory
    assert judge(memory, catalog(service(4)), 9.9).holds
    # 10 s after it was last ten, ten no longer counts; eight and six still do
    for when in (14, 14.1):
        assert not judge(memory, catalog(service(4)), when).holds


def test_the_largest_count_is_the_one_in_effect_as_the_window_begins() -> None:
    """A service that was quiet for an hour still counts with what it had until just now."""
    assert judge(begun(service(10)), catalog(service(2)), 3600).holds


def test_replaced_instances_are_no_loss() -> None:
    verdict = judge(begun(service(6)), catalog(service(6, first=101)), 1)
    assert not verdict.holds
    assert addresses(verdict) == [f"10.0.0.{n}" for n in range(101, 107)]


def test_a_wave_of_critical_checks_is_a_loss_and_maintenance_is_not() -> None:
    memory = begun(service(6))
    critical = Service(
        name="web", instances=tuple(instance(n, Status.CRITICAL) for n in range(1, 7))
    )
    verdict = judge(memory, catalog(critical), 1)
    assert verdict.holds
    held = verdict.catalog.get("web")
    assert held is not None
    assert {i.status for i in held.instances} == {Status.PASSING}
    meant = Service(
        name="web", instances=tuple(instance(n, Status.MAINTENANCE) for n in range(1, 7))
    )
    verdict = judge(memory, catalog(meant), 1)
    assert not verdict.holds
    held = verdict.catalog.get("web")
    assert held is not None
    assert {i.status for i in held.instances} == {Status.MAINTENANCE}


def test_a_held_service_takes_what_is_new_and_keeps_what_it_lost() -> None:
    held = judge(begun(service(6)), catalog(service(1)), 1)
    new = Service(name="web", instances=(instance(1, port=81), instance(50)))
    verdict = judge(held.memory, catalog(new), 2)
    there = verdict.catalog.get("web")
    assert there is not None
    assert [(i.address, i.port) for i in there.instances if i.id in {"i1", "i50"}] == [
        ("10.0.0.1", 81),
        ("10.0.0.50", 80),
    ]
    assert len(there.instances) == 7


def test_a_hold_ends_when_the_service_comes_back() -> None:
    held = judge(begun(service(6)), catalog(service(1)), 1)
    verdict = judge(held.memory, catalog(service(6)), 2)
    assert not verdict.holds
    assert verdict.ended == ("web: it has come back",)
    assert len(addresses(verdict)) == 6


def test_a_service_that_comes_back_in_part_goes_on_when_no_more_comes() -> None:
    """While instances register one by one, those that are not there yet are not dropped."""
    memory = judge(begun(service(6)), catalog(service(1)), 1).memory
    for now, count in ((2.0, 3), (8.0, 4), (17.9, 4)):
        verdict = judge(memory, catalog(service(count)), now)
        assert [h.service for h in verdict.holds] == ["web"]
        assert len(addresses(verdict)) == 6
        memory = verdict.memory
    verdict = judge(memory, catalog(service(4)), 18)
    assert verdict.ended == ("web: it has come back",)
    assert len(addresses(verdict)) == 4
    # fewer than the share never count as back, however long they stay
    memory = judge(begun(service(6)), catalog(service(1)), 1).memory
    memory = judge(memory, catalog(service(2)), 2).memory
    assert judge(memory, catalog(service(2)), 50).holds


def test_a_consistent_read_releases_after_the_time_and_not_before() -> None:
    held = judge(begun(service(6)), catalog(service(1)), 1)
    early = judge(held.memory, catalog(service(1)), 60.9)
    assert early.holds
    assert not early.due
    assert early.wake == 61
    due = judge(held.memory, catalog(service(1)), 61)
    assert due.holds
    assert due.due == ("web",)
    assert due.wake == 0  # not now, again and again
    contradicted = judge(
        held.memory, catalog(service(1)), 61, Evidence(confirmed={"web": service(6)})
    )
    assert contradicted.holds
    assert not contradicted.due
    verdict = judge(held.memory, catalog(service(1)), 61, Evidence(confirmed={"web": service(1)}))
    assert not verdict.holds
    assert verdict.ended == ("web: a consistent read confirms it",)
    assert verdict.memory.seen["web"] == ((61, service(1)),)
    assert addresses(verdict) == ["10.0.0.1"]
    assert not judge(verdict.memory, catalog(service(1)), 62).holds


def test_haproxys_own_checks_release_only_when_all_lost_servers_are_down() -> None:
    held = judge(begun(service(6)), catalog(service(1)), 1)
    down = {(f"10.0.0.{n}", 80) for n in range(2, 7)}
    assert judge(
        held.memory, catalog(service(1)), 2, Evidence(down=frozenset(sorted(down)[1:]))
    ).holds
    verdict = judge(held.memory, catalog(service(1)), 2, Evidence(down=frozenset(down)))
    assert not verdict.holds
    assert verdict.ended == ("web: HAProxy's own checks say that they are down",)


def test_a_vanished_service_leaves_nothing_behind_once_released() -> None:
    other = service(1, "other")
    held = judge(begun(service(6), other), catalog(other), 1)
    down = frozenset({(f"10.0.0.{n}", 80) for n in range(1, 7)})
    for evidence in (Evidence(down=down), Evidence(released=frozenset({"web"}))):
        verdict = judge(held.memory, catalog(other), 2, evidence)
        assert not verdict.holds
        assert set(verdict.memory.seen) == {"other"}


def test_a_release_by_hand_lasts() -> None:
    held = judge(begun(service(6)), catalog(service(1)), 1)
    verdict = judge(held.memory, catalog(service(1)), 2, Evidence(released=frozenset({"web"})))
    assert not verdict.holds
    assert verdict.ended == ("web: released by hand",)
    assert verdict.memory.seen["web"] == ((2, service(1)),)
    assert not judge(verdict.memory, catalog(service(1)), 2.1).holds


@pytest.mark.parametrize("counts", [(5, 2), (1, 1)])
def test_an_empty_registry_is_held_whatever_its_size(counts: tuple[int, int]) -> None:
    memory = begun(service(counts[0]), service(counts[1], "api"))
    verdict = judge(memory, catalog(), 1)
    assert verdict.holds == (
        Hold(
            service="",
            reason="the registry is empty as a whole",
            since=1,
            dropped=(
                *(f"api 10.0.0.{n}:80" for n in range(1, counts[1] + 1)),
                *(f"web 10.0.0.{n}:80" for n in range(1, counts[0] + 1)),
            ),
        ),
    )
    assert verdict.wake == 0
    assert len(addresses(verdict)) == counts[0]
    later = judge(verdict.memory, catalog(), 100_000)
    assert [h.service for h in later.holds] == [""]
    assert not later.due


def test_names_without_instances_are_an_empty_registry_too() -> None:
    verdict = judge(begun(service(5)), catalog(service(0)), 1)
    assert [h.service for h in verdict.holds] == [""]


def test_the_registry_fills_service_by_service() -> None:
    memory = begun(service(4), service(2, "api"))
    memory = judge(memory, catalog(), 1).memory
    verdict = judge(memory, catalog(service(2, "api"), service(1)), 2)
    (hold,) = verdict.holds
    assert hold.dropped == ("web 10.0.0.2:80", "web 10.0.0.3:80", "web 10.0.0.4:80")
    assert len(addresses(verdict)) == 4  # one of four is not back
    assert len(addresses(verdict, "api")) == 2
    verdict = judge(verdict.memory, catalog(service(2, "api"), service(3)), 3)
    assert [h.service for h in verdict.holds] == [""]
    assert len(addresses(verdict)) == 4  # nor may the fourth go while others still come
    partly = judge(verdict.memory, catalog(service(2, "api"), service(3)), 13)
    assert partly.ended == ("registry: it has filled again",)
    assert len(addresses(partly)) == 3
    verdict = judge(verdict.memory, catalog(service(2, "api"), service(4)), 4)
    assert not verdict.holds
    assert verdict.ended == ("registry: it has filled again",)
    assert len(addresses(verdict)) == 4


def test_the_registry_is_released_by_hand_and_stays_so() -> None:
    memory = judge(begun(service(9)), catalog(), 1).memory
    verdict = judge(memory, catalog(), 2, Evidence(registry=True))
    assert not verdict.holds
    assert verdict.ended == ("registry: released by hand",)
    assert addresses(verdict) == []
    assert not judge(verdict.memory, catalog(), 2.1).holds


def test_registry_and_a_service_are_released_together() -> None:
    memory = judge(begun(service(9), service(9, "api")), catalog(), 1).memory
    memory = judge(memory, catalog(service(9, "api")), 2).memory
    verdict = judge(memory, catalog(service(1, "api")), 3)
    assert [h.service for h in verdict.holds] == ["", "api"]
    both = Evidence(registry=True, released=frozenset({"api"}))
    verdict = judge(verdict.memory, catalog(service(1, "api")), 4, both)
    assert not verdict.holds
    assert (addresses(verdict), addresses(verdict, "api")) == ([], ["10.0.0.1"])


def test_the_only_instance_coming_back_ends_the_hold_and_none_never_does() -> None:
    memory = judge(begun(service(1)), catalog(), 1).memory
    assert not judge(memory, catalog(service(1)), 2).holds
    anything_goes = Thresholds(share=1)
    verdict = guards.judge(memory, catalog(), now=2, served=SERVED, thresholds=anything_goes)
    assert verdict.holds


def test_one_service_of_a_held_registry_is_released_by_name() -> None:
    memory = judge(begun(service(9), service(2, "api")), catalog(), 1).memory
    verdict = judge(memory, catalog(), 2, Evidence(released=frozenset({"web"})))
    assert addresses(verdict) == []
    assert len(addresses(verdict, "api")) == 2


def test_a_fallen_index_holds_whatever_shrank() -> None:
    memory = begun(service(10), service(2, "api"))
    verdict = judge(memory, catalog(service(9), service(2, "api"), fell=True), 1)
    assert verdict.holds[0].dropped == ("web 10.0.0.10:80",)
    steady = judge(verdict.memory, catalog(service(9), service(2, "api")), 11)
    assert steady.ended == ("registry: it has filled again",)  # nine of ten, and no more come
    assert len(addresses(steady)) == 9
    verdict = judge(memory, catalog(service(10), fell=True), 1)
    (hold,) = verdict.holds
    assert (hold.service, hold.since, hold.until) == ("", 1, 0)
    assert hold.reason == "the registry's index fell while it shrank: it was reset or restored"
    assert hold.dropped == ("api 10.0.0.1:80", "api 10.0.0.2:80")
    assert len(addresses(verdict, "api")) == 2
    for more in (2, 3):
        grown = judge(memory, catalog(service(10), service(more, "api"), fell=True), 1)
        assert (grown.holds, grown.ended) == ((), ())


def test_without_a_last_good_catalog_an_empty_registry_is_taken() -> None:
    verdict = judge(Memory(), catalog(), 1)
    assert not verdict.holds
    assert verdict.catalog.services == ()


def test_a_start_remembers_the_last_good_catalog_as_just_seen() -> None:
    memory = guards.remember(catalog(service(10)), Memory(), 1000)
    assert judge(memory, catalog(service(2)), 1001).holds
    assert [h.service for h in judge(memory, catalog(), 1001).holds] == [""]


def test_a_clock_that_is_set_back_prolongs_neither_a_window_nor_a_hold() -> None:
    memory = begun(service(10), now=5000)
    memory = judge(memory, catalog(service(6)), 5001).memory
    memory = judge(memory, catalog(service(6)), 1000).memory
    verdict = judge(memory, catalog(service(4)), 1011)
    assert not verdict.holds  # four of ten, but two of six within the window
    memory = judge(begun(service(10), now=5000), catalog(service(1)), 5001).memory
    verdict = judge(memory, catalog(service(1)), 1000)
    assert (verdict.holds[0].since, verdict.wake) == (1000, 1060)
    assert judge(verdict.memory, catalog(service(1)), 1060).due == ("web",)


counts = st.dictionaries(st.sampled_from(string.ascii_lowercase[:4]), st.integers(0, 8))


@given(st.lists(st.tuples(counts, st.floats(0, 30), st.booleans()), min_size=1, max_size=8))
def test_no_history_loses_more_than_allowed_in_one_step(
    steps: list[tuple[dict[str, int], float, bool]],
) -> None:
    """Without evidence, no judgement drops more than share and least of what was passed before."""
    memory, now = Memory(), 0.0
    for sizes, wait, fell in steps:
        now += wait
        before = memory.passed
        seen = catalog(*(service(n, name) for name, n in sizes.items()), fell=fell)
        verdict = judge(memory, seen, now)
        memory = verdict.memory
        for old in before.services:
            new = verdict.catalog.get(old.name)
            lost = len(old.instances) - len(new.instances if new else ())
            ended = any(why.startswith((f"{old.name}:", "registry:")) for why in verdict.ended)
            assert lost < LIMITS.least or lost <= LIMITS.share * len(old.instances) or ended
        assert judge(memory, seen, now).catalog == verdict.catalog


names = st.frozensets(st.sampled_from(string.ascii_lowercase[:4]), max_size=2)
evidence = st.builds(
    Evidence,
    confirmed=counts.map(lambda sizes: {name: service(n, name) for name, n in sizes.items()}),
    down=st.sampled_from((frozenset(), frozenset((f"10.0.0.{n}", 80) for n in range(3, 9)))),
    released=st.just(frozenset()) | names,
    registry=st.sampled_from((False, False, False, True)),
)


@given(
    st.lists(
        st.tuples(counts, names, st.sampled_from((0, 1, 9, -5, 30, 70)), st.booleans(), evidence),
        min_size=1,
        max_size=8,
    ),
    st.randoms(),
)
def test_a_service_that_is_the_same_object_is_judged_like_an_equal_one(
    steps: list[tuple[dict[str, int], frozenset[str], float, bool, Evidence]],
    chance: random.Random,
) -> None:
    same, equal, now = Memory(), Memory(), 100.0
    known: dict[str, Service] = {}
    for sizes, denied, wait, fell, found in steps:
        now += wait
        for name, size in sizes.items():
            if name not in known or chance.random() < 0.5:
                known[name] = service(size, name)
                if name in denied:
                    known[name] = Service(name=name, denied=True)
        seen = catalog(*(known[name] for name in sizes), fell=fell)
        verdict = judge(same, seen, now, found)
        assert verdict == judge(equal, catalog(*map(replace, seen.services), fell=fell), now, found)
        assert verdict == judge(replace(same, quiet={}), seen, now, found)
        same = equal = verdict.memory
        equal = replace(
            equal,
            passed=catalog(*map(replace, equal.passed.services)),
            seen={n: tuple((at, replace(s)) for at, s in h) for n, h in equal.seen.items()},
        )
        if chance.random() < 0.1:
            same = guards.remember(verdict.catalog, same, now)
            equal = guards.remember(verdict.catalog, equal, now)


def test_only_what_is_not_the_very_object_of_before_is_judged_again() -> None:
    web, api = service(4), service(4, "api")
    first = judge(Memory(), catalog(web, api), 5).memory
    assert first.quiet == {"web": web, "api": api}
    for now in (5, 6):
        again = judge(first, catalog(web, service(3, "api")), now).memory
        assert again.seen["web"] is first.seen["web"]
        assert again.quiet == {"web": web}  # the other has two sizes within its window
        later = judge(again, catalog(web, again.seen["api"][-1][1]), now + 10).memory
        assert set(later.quiet) == {"web", "api"}
        assert set(judge(later, catalog(web), now + 11).memory.quiet) == {"web"}
    assert guards.remember(catalog(web), first, 7).quiet == {}


def test_a_service_that_is_released_begins_anew_though_it_is_the_very_object() -> None:
    web = service(4)
    memory = judge(begun(web), catalog(web), 1, Evidence(released=frozenset({"web", "x"}))).memory
    assert memory.seen == {"web": ((1, web),)}


def test_half_is_back_and_nothing_is_not() -> None:
    memory = judge(begun(service(6)), catalog(service(1)), 1).memory
    memory = judge(memory, catalog(service(3)), 2).memory
    assert judge(memory, catalog(service(3)), 12).ended == ("web: it has come back",)
    limits = Thresholds(share=1)
    memory = judge(begun(service(2)), catalog(), 1).memory
    for now in (2.0, 30.0):  # a name without instances, however long it stays
        verdict = guards.judge(
            memory, catalog(service(0)), now=now, served=SERVED, thresholds=limits
        )
        assert verdict.holds
        memory = verdict.memory


def test_new_settings_narrow_what_is_held() -> None:
    memory = judge(begun(service(9), service(9, "api")), catalog(service(1)), 1).memory
    assert set(memory.held) == {"web", "api"}
    assert set(guards.narrowed(memory, Selection(exclude=("web",))).held) == {"api"}
    assert guards.narrowed(memory, Selection()) == memory
    whole = judge(begun(service(9), service(9, "api")), catalog(), 1).memory
    registry = guards.narrowed(whole, Selection(services=("api",))).registry
    assert registry is not None
    assert [s.name for s in registry.missing] == ["api"]
    assert registry.reason == "the registry is empty as a whole"
    assert guards.narrowed(whole, Selection(services=("other",))).registry is None
    tagged = replace(
        service(9), instances=tuple(replace(i, tags=("on",)) for i in service(9).instances)
    )
    held = judge(begun(tagged), catalog(replace(tagged, instances=tagged.instances[:1])), 1).memory
    assert guards.narrowed(held, Selection(tags=("on",))) == held
    left = guards.narrowed(held, Selection(tags=("off",))).held
    assert all(not h.base.instances for h in left.values())


def test_a_service_that_is_denied_stays_as_it_was() -> None:
    """A token that may read less shows fewer rows: that says nothing about the service."""
    memory = begun(service(2), service(1, "other"))
    denied = Service(name="web", denied=True)
    verdict = judge(memory, catalog(denied, service(1, "other")), 1)
    assert addresses(verdict) == ["10.0.0.1", "10.0.0.2"]
    assert addresses(verdict, "other") == ["10.0.0.1"]
    assert not verdict.holds
    there = verdict.catalog.get("web")
    assert there is not None
    assert there.denied
    later = judge(verdict.memory, catalog(denied, service(1, "other")), 9999)
    assert addresses(later) == ["10.0.0.1", "10.0.0.2"]
    unknown = judge(memory, catalog(Service(name="new", denied=True), service(2)), 1)
    assert addresses(unknown, "new") == []


def test_what_is_shown_of_a_service_that_is_denied_counts() -> None:
    memory = begun(service(2), service(1, "other"))
    verdict = judge(memory, catalog(replace(service(1), denied=True), service(1, "other")), 1)
    assert addresses(verdict) == ["10.0.0.1"]


def test_a_denied_read_confirms_nothing() -> None:
    held = judge(begun(service(6)), catalog(service(1)), 1)
    read = Service(name="web", denied=True)
    assert judge(held.memory, catalog(service(1)), 61, Evidence(confirmed={"web": read})).holds


def test_an_equal_catalog_changes_nothing() -> None:
    memory = begun(service(3))
    verdict = judge(memory, catalog(replace(service(3), seen=99.0)), 5)
    assert verdict.memory.seen == memory.seen


def test_an_equal_catalog_forgets_nothing_within_the_window() -> None:
    memory = judge(begun(service(10)), catalog(service(8)), 1).memory
    memory = judge(memory, catalog(service(8)), 2).memory
    assert [(at, len(s.instances)) for at, s in memory.seen["web"]] == [(0, 10), (1, 8)]


def test_services_that_stay_are_not_compared_twice() -> None:
    """A registry that was read anew brings equal services: from then on these are known by sight."""
    memory = begun(*(service(2, f"s{n}") for n in range(9)))
    again = catalog(*(service(2, f"s{n}") for n in range(9)))
    memory = judge(memory, again, 1).memory
    assert all(memory.seen[s.name][-1] == (0, s) for s in again.services)
    assert all(memory.seen[s.name][-1][1] is s for s in again.services)


def test_a_clock_that_was_set_back_counts_for_services_that_stay_as_well() -> None:
    seen = catalog(service(4))
    memory = judge(judge(Memory(), seen, 5000).memory, seen, 1000).memory
    assert memory.seen["web"] == ((1000, seen.services[0]),)
