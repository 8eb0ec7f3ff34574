import inspect
import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import naming
from confsync.core.desired import REMEMBERED, Memo, desired
from confsync.domain.catalog import Catalog, Instance, Service, Status

PASSING = frozenset({Status.PASSING})


def instance(name: Any = "web-1", address: Any = "10.0.0.1", port: Any = 80, **more: Any) -> Any:
    return Instance(id=name, address=address, port=port, **more)


def catalog(**services: Any) -> Any:
    return Catalog(
        services=tuple(
            service
            if isinstance(service, Service)
            else Service(name=name, instances=tuple(service))
            for name, service in services.items()
        )
    )


def one(*instances: Any, **more: Any) -> Any:
    """The backend `web` of these instances, and the problems."""
    lb, _ = desired(catalog(web=instances), **({"statuses": PASSING} | more))
    (backend,) = lb.backends
    return backend, lb.problems


def servers(backend: Any) -> Any:
    return [i.server for i in backend.instances]


def test_an_instance_becomes_a_typed_server() -> None:
    backend, problems = one(
        instance(
            address="2001:DB8::1",
            port=8080,
            tags=("b", "a b"),
            meta=(("k", "v"),),
            weight=3,
            node="n1",
            datacenter="dc1",
        )
    )
    (server,) = backend.instances
    assert (server.server, server.address, server.port) == ("2001:db8::1:8080", "2001:db8::1", 8080)
    assert server.server_id == naming.server_id("2001:db8::1", 8080)
    assert (server.weight, server.status, server.id) == (3, Status.PASSING, "web-1")
    assert (server.tags, server.meta) == (("b", "a b"), (("k", "v"),))
    assert (server.node, server.datacenter) == ("n1", "dc1")
    assert problems == ()


def test_backends_are_sorted_by_slug_and_keep_their_names() -> None:
    lb, _ = desired(catalog(web=[], api=[], **{"Z z": []}), statuses=PASSING)
    assert [(b.name, b.slug) for b in lb.backends] == [
        ("Z z", naming.slug("Z z")),
        ("api", "api"),
        ("web", "web"),
    ]
    (problem,) = lb.problems
    assert (problem.service, problem.instance, problem.dropped) == ("Z z", "", False)


def test_a_reserved_name_gets_a_hash() -> None:
    lb, _ = desired(catalog(stats=[]), statuses=PASSING, reserved=frozenset({"stats"}))
    assert lb.backends[0].slug.startswith("stats-")
    assert [p.what for p in lb.problems] == [
        f"a template has a proxy of that name itself, so it is {lb.backends[0].slug}"
    ]
    assert not lb.problems[0].dropped


def test_instances_are_sorted_by_number_and_other_statuses_are_absent() -> None:
    backend, _ = one(
        instance("a", "10.0.0.10"),
        instance("b", "10.0.0.9", 90),
        instance("c", "10.0.0.9", 9),
        instance("d", "10.0.0.8", status=Status.CRITICAL),
        instance("e", "10.0.0.7", status=Status.MAINTENANCE),
        instance("f", "10.0.0.6", status=Status.WARNING),
    )
    assert servers(backend) == ["10.0.0.9:9", "10.0.0.9:90", "10.0.0.10:80"]
    assert backend.absent == (
        ("10.0.0.6:80", Status.WARNING),
        ("10.0.0.7:80", Status.MAINTENANCE),
        ("10.0.0.8:80", Status.CRITICAL),
    )


def test_warning_is_served_when_the_settings_say_so() -> None:
    backend, _ = one(
        instance(status=Status.WARNING), statuses=frozenset({Status.PASSING, Status.WARNING})
    )
    assert servers(backend) == ["10.0.0.1:80"]
    assert backend.absent == ()


def test_tags_are_the_union_of_all_instances_served_or_not() -> None:
    backend, _ = one(
        instance("a", tags=("y", "x")),
        instance("b", "10.0.0.2", tags=("x", "z"), status=Status.CRITICAL),
        instance("c", "nonsense!", tags=("w",)),
    )
    assert backend.tags == ("x", "y", "z")


@pytest.mark.parametrize(
    ("port", "shown"),
    [
        *((n, str(n)) for n in (0, -1, 65_536, 70_000, 10**9 - 1)),
        *((n, "of many digits") for n in (10**9, 10**400, -(10**9))),
    ],
)
def test_a_port_that_is_none_costs_its_instance(port: Any, shown: Any) -> None:
    backend, (problem,) = one(instance(port=port), instance("web-2", "10.0.0.2"))
    assert servers(backend) == ["10.0.0.2:80"]
    assert (problem.instance, problem.dropped) == ("web-1", True)
    assert problem.what == f"has port {shown}, which is none"


def test_the_first_and_the_last_port() -> None:
    assert servers(one(instance(port=1), instance(port=65_535))[0]) == [
        "10.0.0.1:1",
        "10.0.0.1:65535",
    ]


def test_an_address_that_is_none_costs_its_instance() -> None:
    backend, (problem,) = one(instance("bad\nid", "127.0.0.1:80"), instance("web-2", "10.0.0.2"))
    assert servers(backend) == ["10.0.0.2:80"]
    assert problem.instance == r"'bad\nid'"
    assert problem.service == "web"


def test_registrators_udp_twin_is_left_out() -> None:
    backend, (problem,) = one(instance("h:c:53"), instance("h:c:53:udp"))
    assert servers(backend) == ["10.0.0.1:80"]
    assert (problem.instance, problem.dropped) == ("h:c:53:udp", True)
    assert problem.what == "is registrator's entry of a UDP port"


@pytest.mark.parametrize(
    ("address", "loop"),
    [
        ("10.0.0.1", ("10.0.0.1", 80)),
        ("::ffff:10.0.0.1", ("10.0.0.1", 80)),
        ("127.0.0.1", ("*", 80)),
        ("127.0.0.1", ("", 80)),
        ("127.0.0.9", ("0.0.0.0", 80)),
        ("::1", ("::", 80)),
        ("LOCALHOST", ("*", 80)),
    ],
)
def test_haproxys_own_listeners_are_loops(address: Any, loop: Any) -> None:
    backend, (problem,) = one(instance(address=address), loops=frozenset({loop}))
    assert backend.instances == ()
    assert problem.dropped
    there = naming.server(naming.address(address), 80)
    assert problem.what == f"is {there}, where HAProxy itself listens (a loop)"


@pytest.mark.parametrize(
    ("address", "loop"),
    [
        ("10.0.0.1", ("10.0.0.1", 81)),
        ("10.0.0.1", ("*", 80)),
        ("127.0.0.1", ("10.0.0.1", 80)),
        ("127.example", ("*", 80)),
    ],
)
def test_what_is_no_loop(address: Any, loop: Any) -> None:
    backend, problems = one(instance(address=address), loops=frozenset({loop}))
    assert len(backend.instances) == 1
    assert problems == ()


@pytest.mark.parametrize(
    ("registry", "meta", "weight", "remarks"),
    [
        (1, None, 1, 0),
        (0, None, 0, 0),
        (256, None, 256, 0),
        (257, None, 256, 1),
        (-3, None, 0, 1),
        (1, "7", 7, 0),
        (9, "0", 0, 0),
        (1, "-5", 0, 1),
        (1, "9999999999", 256, 1),
        (2, "heavy", 2, 1),
        (2, "1.5", 2, 1),
        (2, "", 2, 1),
        (2, "٣", 2, 1),
        (2, "3\n", 2, 1),
        (300, "9" * 5000, 256, 2),
    ],
)
def test_meta_weight_wins_and_is_clamped(
    registry: Any, meta: Any, weight: Any, remarks: Any
) -> None:
    pairs = () if meta is None else (("weight", meta),)
    backend, problems = one(instance(weight=registry, meta=pairs))
    assert backend.instances[0].weight == weight
    assert len(problems) == remarks
    assert {(p.service, p.instance, p.dropped) for p in problems} <= {("web", "web-1", False)}
    assert all(len(p.what) < 200 and "\n" not in p.what for p in problems)


def test_a_remark_on_a_weight_shows_it() -> None:
    said = "its weight 300 is outside 0-256, so it is 256"
    assert [p.what for p in one(instance(weight=300))[1]] == [said]
    _, (problem,) = one(instance(meta=(("weight", "a lot"),)))
    assert problem.what == "its meta weight a lot is no number, so the registry's counts"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"status": Status.PASSING}, {"status": Status.CRITICAL, "modify_index": 9}),
        ({"status": Status.WARNING}, {"status": Status.MAINTENANCE}),
        ({"modify_index": 9}, {"modify_index": 3}),
        ({"name": "a"}, {"name": "b"}),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_registrations_of_one_server_the_likelier_is_kept(
    first: Any, second: Any, swapped: Any
) -> None:
    better, worse = instance(**{"name": "x"} | first), instance(**{"name": "y"} | second)
    backend, (problem,) = one(
        *((worse, better) if swapped else (better, worse)), statuses=frozenset(Status)
    )
    assert [i.id for i in backend.instances] == [better.id]
    assert (problem.instance, problem.dropped) == (worse.id, False)
    assert better.id in problem.what


def test_one_server_under_two_services_is_kept_in_both_with_a_remark() -> None:
    lb, _ = desired(
        catalog(
            alone=[instance("q", port=82)],
            new=[instance("n", modify_index=9)],
            old=[instance("o", modify_index=3)],
            other=[instance("p", port=81)],
        ),
        statuses=PASSING,
    )
    assert [len(b.instances) for b in lb.backends] == [1, 1, 1, 1]
    (problem,) = lb.problems
    assert (problem.service, problem.instance, problem.dropped) == ("old", "o", False)
    assert problem.what == (
        "10.0.0.1:80 is registered under 2 services (new, old); new registered last"
    )


def test_without_an_index_both_get_the_remark() -> None:
    lb, _ = desired(catalog(a=[instance()], b=[instance()]), statuses=PASSING)
    assert [p.service for p in lb.problems] == ["a", "b"]
    assert {p.what for p in lb.problems} == {"10.0.0.1:80 is registered under 2 services (a, b)"}


def test_a_remark_names_five_services_at_most() -> None:
    lb, _ = desired(catalog(**{name: [instance()] for name in "abcdef"}), statuses=PASSING)
    assert lb.problems[0].what == "10.0.0.1:80 is registered under 6 services (a, b, c, d, e)"


def test_a_denied_service_keeps_its_instances() -> None:
    lb, _ = desired(
        catalog(web=Service(name="web", instances=(instance(),), denied=True)), statuses=PASSING
    )
    assert len(lb.backends[0].instances) == 1
    (problem,) = lb.problems
    assert (problem.service, problem.instance, problem.dropped) == ("web", "", False)
    assert problem.what == "the registry's token may not read it: kept as it was"


def test_names_that_differ_by_case_are_remarked_on() -> None:
    lb, _ = desired(catalog(WEB=[], web=[], Web=[]), statuses=PASSING)
    assert [(p.service, p.dropped) for p in lb.problems] == [("WEB", False), ("Web", False)]
    assert {p.what for p in lb.problems} == {
        "differs from web only by case, which a Host header does not tell"
    }


@pytest.fixture(scope="module")
def collision() -> Any:
    """Two servers whose hashes are equal: among 300,000 there are about 20 such pairs."""
    seen: dict[int, tuple[str, int]] = {}
    server_id = inspect.unwrap(naming.server_id)  # its cache is for fewer
    for host, port in product(range(1, 101), range(1, 3001)):
        address = f"10.0.0.{host}"
        number = server_id(address, port)
        if number in seen:
            return seen[number], (address, port)
        seen[number] = (address, port)
    raise AssertionError


def test_equal_ids_are_settled_once(collision: Any) -> Any:
    (a, p), (b, q) = collision
    first, second = instance("1", a, p), instance("2", b, q)

    def ids(recorded: Any, *instances: Any) -> Any:
        lb, after = desired(catalog(web=instances), statuses=PASSING, ids=recorded)
        return {i.id: i.server_id for i in lb.backends[0].instances}, after

    alone, nothing = ids({}, first)
    assert nothing == {}
    both, recorded = ids({}, first, second)
    assert both["1"] != both["2"]
    assert set(recorded) == {f"web/{a}:{p}", f"web/{b}:{q}"}
    # Another number here would move clients of consistent hashing at the upgrade.
    assert set(both.values()) in (
        {alone["1"], naming.server_id(a, p, 1)},
        {alone["1"], naming.server_id(b, q, 1)},
    )
    assert ids(recorded, second, first) == (both, recorded)
    # Either may go and come back, whatever it would be given if it were new.
    for left in (first, second):
        found, after = ids(recorded, left)
        assert found == {left.id: both[left.id]}
        assert set(after) == set(recorded)
        assert ids(after, first, second)[0] == both
    # In another backend there is nothing to settle.
    lb, none = desired(catalog(x=[first], y=[second]), statuses=PASSING)
    assert none == {}
    assert len({i.server_id for b in lb.backends for i in b.instances}) == 1
    assert alone["1"] in both.values()


def test_a_record_that_gives_two_servers_one_id_is_not_followed() -> None:
    recorded = {"web/10.0.0.1:80": 70_000, "web/10.0.0.2:80": 70_000}
    lb, after = desired(
        catalog(web=[instance("a"), instance("b", "10.0.0.2")]), statuses=PASSING, ids=recorded
    )
    numbers = [i.server_id for i in lb.backends[0].instances]
    assert numbers == [70_000, naming.server_id("10.0.0.2", 80)]
    assert after == {"web/10.0.0.1:80": 70_000}


def test_what_was_settled_is_kept_from_newcomers() -> None:
    b = ("10.0.0.2", 80)
    recorded = {
        "web/10.0.0.1:80": naming.server_id(*b),
        "web/10.0.0.1:81": naming.server_id(*b, 1),
        "web/10.0.0.1:82": naming.FIRST_ID,
    }
    olds = [instance(str(port), port=port) for port in (80, 81, 82)]
    lb, after = desired(catalog(web=[*olds, instance("new", *b)]), statuses=PASSING, ids=recorded)
    found = {f"web/{i.server}": i.server_id for i in lb.backends[0].instances}
    assert found == recorded | {"web/10.0.0.2:80": naming.server_id(*b, 2)}
    assert after == found


@pytest.mark.parametrize("number", [0, 65_535, 2**31, -1])
def test_a_record_with_an_id_out_of_range_is_not_followed(number: Any) -> None:
    lb, after = desired(
        catalog(web=[instance()]), statuses=PASSING, ids={"web/10.0.0.1:80": number}
    )
    assert lb.backends[0].instances[0].server_id == naming.server_id("10.0.0.1", 80)
    assert after == {}


def test_the_record_forgets_what_is_long_gone() -> None:
    recorded = {f"gone/10.0.0.1:{n}": 70_000 + n for n in range(REMEMBERED + 5)}
    _, after = desired(catalog(web=[]), statuses=PASSING, ids=recorded)
    assert len(after) == REMEMBERED
    assert next(iter(after)) == "gone/10.0.0.1:5"


TEXT = st.text(max_size=6)
INSTANCES = st.builds(
    Instance,
    id=TEXT,
    address=st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "host", "0.0.0.0"]) | TEXT,
    port=st.integers(-1, 70_000) | st.sampled_from([80, 81]),
    status=st.sampled_from(Status),
    tags=st.lists(TEXT, max_size=2).map(tuple),
    meta=st.dictionaries(st.just("weight") | TEXT, TEXT, max_size=2).map(
        lambda d: tuple(sorted(d.items()))
    ),
    weight=st.integers(-9, 999),
    modify_index=st.integers(0, 5),
)
CATALOGS = st.dictionaries(TEXT, st.lists(INSTANCES, max_size=4), max_size=4).map(
    lambda d: Catalog(
        services=tuple(Service(name=n, instances=tuple(i)) for n, i in sorted(d.items()))
    )
)


@given(CATALOGS, st.integers())
def test_whatever_is_registered_what_comes_out_is_typed(found: Any, seed: Any) -> None:
    lb, ids = desired(found, statuses=PASSING)
    assert len({b.slug for b in lb.backends}) == len(found.services)
    assert [b.slug for b in lb.backends] == sorted(b.slug for b in lb.backends)
    for backend in lb.backends:
        assert naming.is_legal(backend.slug)
        assert len({i.server for i in backend.instances}) == len(backend.instances)
        assert len({i.server_id for i in backend.instances}) == len(backend.instances)
        for i in backend.instances:
            assert i.server == f"{naming.address(i.address)}:{i.port}"
            assert 0 < i.port < 65_536
            assert 0 <= i.weight <= 256
            assert i.status is Status.PASSING
    for problem in lb.problems:
        shown = problem.what + problem.service + problem.instance
        assert shown.isprintable()
        assert shown.isascii()
        assert len(shown) < 2_000
    # Nothing depends on the order of registrations.
    mixed = random.Random(seed)
    services = [
        Service(name=s.name, instances=tuple(mixed.sample(s.instances, len(s.instances))))
        for s in found.services
    ]
    mixed.shuffle(services)
    again, ids_again = desired(Catalog(services=tuple(services)), statuses=PASSING)
    if all(len({(i.id, i.node) for i in s.instances}) == len(s.instances) for s in services):
        assert (again, ids_again) == (lb, ids)


@given(st.lists(CATALOGS, min_size=2, max_size=4), st.integers())
def test_what_is_typed_anew_is_all_that_changed_and_nothing_comes_out_otherwise(
    catalogs: Any, seed: Any
) -> None:
    memo, chance = Memo(), random.Random(seed)
    kept: dict[str, Service] = {}
    ids: dict[str, int] = {}
    for found in catalogs:
        # Some services stay as they were, so that there is something to remember.
        for service in found.services:
            if service.name not in kept or chance.random() < 0.5:
                kept[service.name] = service
        shown = Catalog(services=tuple(s for _, s in sorted(kept.items())))
        plain = desired(shown, statuses=PASSING, ids=ids)
        assert desired(shown, statuses=PASSING, ids=ids, memo=memo) == plain
        ids = plain[1]


def test_one_changed_service_of_many_is_typed_alone() -> None:
    memo = Memo()
    services = [
        Service(name=f"s{n}", instances=(instance(f"i{n}", f"10.0.0.{n}"),)) for n in range(9)
    ]
    desired(Catalog(services=tuple(services)), statuses=PASSING, memo=memo)
    assert memo.typed == 9
    services[4] = replace(services[4], instances=(instance("new", "10.0.1.1"),))
    equal = [replace(s) for s in services]  # the registry was read anew
    desired(Catalog(services=tuple(equal)), statuses=PASSING, memo=memo)
    assert memo.typed == 1
    # A newer index alone may tell which of two registrations counts.
    newer = replace(services[0], instances=(replace(services[0].instances[0], modify_index=99),))
    desired(Catalog(services=(newer, *services[1:])), statuses=PASSING, memo=memo)
    assert memo.typed == 1
    desired(Catalog(services=(newer, *services[1:])), statuses=frozenset(), memo=memo)
    assert memo.typed == 9


def test_a_service_that_comes_beside_a_remembered_one_is_a_ghost_of_it_all_the_same() -> None:
    memo = Memo()
    first = Service(name="a", instances=(instance("i"),))
    desired(Catalog(services=(first,)), statuses=PASSING, memo=memo)
    both = Catalog(services=(first, replace(first, name="b")))
    assert desired(both, statuses=PASSING, memo=memo) == desired(both, statuses=PASSING)
    assert memo.typed == 1
    assert len(desired(both, statuses=PASSING, memo=memo)[0].problems) == 2


def test_of_two_ghosts_that_go_at_once_nothing_is_told() -> None:
    memo = Memo()
    other = Service(name="c", instances=(instance("i", port=81),))
    first = Service(name="a", instances=(instance("i"),))
    both = Catalog(services=(first, replace(first, name="b"), other))
    assert len(desired(both, statuses=PASSING, memo=memo)[0].problems) == 2
    assert desired(Catalog(services=(other,)), statuses=PASSING, memo=memo)[0].problems == ()


def test_a_slug_that_another_service_takes_is_not_remembered() -> None:
    memo = Memo()
    odd = Service(name="a b", instances=(instance(),))
    (first,) = desired(Catalog(services=(odd,)), statuses=PASSING, memo=memo)[0].backends
    legal = Service(name=first.slug, instances=(instance("other", "10.0.0.9"),))
    both = Catalog(services=(odd, legal))
    assert desired(both, statuses=PASSING, memo=memo) == desired(both, statuses=PASSING)
    # Nor is one that it gets back, though both changed places only.
    only = Catalog(services=(odd, replace(legal, name="other")))
    for found in (both, only, both):
        assert desired(found, statuses=PASSING, memo=memo) == desired(found, statuses=PASSING)


ODD = "a b"
NAMES = st.sampled_from(["a", "A", "b", "c", ODD, naming.slug(ODD)])
PLACES = st.builds(
    Instance,
    id=st.sampled_from(["x", "y"]),
    address=st.sampled_from(["10.0.0.1", "10.0.0.2", "none!"]),
    port=st.sampled_from([80, 81]),
    status=st.sampled_from([Status.PASSING, Status.PASSING, Status.CRITICAL]),
    meta=st.sampled_from([(), (("weight", "999"),)]),
    modify_index=st.integers(0, 3),
)
STEPS = st.lists(
    st.tuples(
        st.dictionaries(NAMES, st.lists(PLACES, max_size=3), max_size=5),
        st.sampled_from([frozenset(), frozenset(), frozenset({"c"})]),
    ),
    min_size=2,
    max_size=6,
)
SETTLED = st.dictionaries(
    st.sampled_from(["a/10.0.0.1:80", "a/10.0.0.2:80", "b/10.0.0.1:81", "gone/10.0.0.1:80"]),
    st.sampled_from([0, 70_000, 70_001]),
)


@given(STEPS, SETTLED, st.randoms())
def test_services_that_come_change_share_and_go_are_typed_as_if_for_the_first_time(
    steps: Any, ids: Any, chance: Any
) -> None:
    memo = Memo()
    kept: dict[str, Service] = {}
    for places, reserved in steps:
        for name, found in places.items():
            if name not in kept or chance.random() < 0.5:
                kept[name] = Service(name=name, instances=tuple(found))
            elif chance.random() < 0.5:
                kept[name] = replace(kept[name])
        for name in kept.keys() - places.keys():
            if chance.random() < 0.3:
                del kept[name]
        shown = Catalog(services=tuple(s for _, s in sorted(kept.items())))
        given = {"statuses": PASSING, "reserved": reserved, "ids": ids}
        plain = desired(shown, **given)
        assert desired(shown, **given, memo=memo) == plain
        assert desired(shown, **given, memo=memo) == plain
        if chance.random() < 0.5:
            ids = plain[1]


def test_what_no_change_reaches_is_the_very_object_of_before() -> None:
    memo = Memo()
    bad, good = instance("i", port=0), instance("i", "10.0.0.2")
    services = [
        Service(name=name, instances=(at,))
        for name, at in (("bad", bad), ("good", good), ("twin", replace(good, port=81)))
    ]
    before, _ = desired(Catalog(services=tuple(services)), statuses=PASSING, memo=memo)
    services[1] = replace(services[1], instances=(replace(good, port=82),))
    after, _ = desired(Catalog(services=tuple(services)), statuses=PASSING, memo=memo)
    assert [a is b for a, b in zip(before.backends, after.backends, strict=True)] == [
        True,
        False,
        True,
    ]
    assert after.problems is before.problems
    services[1] = replace(services[1], instances=(replace(good, port=81),))
    shared, _ = desired(Catalog(services=tuple(services)), statuses=PASSING, memo=memo)
    assert len(shared.problems) == 3
    again = [replace(services[0], seen=9.0), *services[1:]]
    equal, _ = desired(Catalog(services=tuple(again)), statuses=PASSING, memo=memo)
    assert equal.problems is shared.problems
    assert memo.typed == 0
    desired(Catalog(services=tuple(again)), statuses=PASSING, memo=memo)
    assert memo.typed == 0


def test_a_remark_comes_and_goes_with_what_it_is_about() -> None:
    memo = Memo()
    for weight, told in ((1, 0), (999, 1), (998, 1), (2, 0)):
        last = instance("z", "10.0.0.9", port=1 + weight)  # changes without a remark
        found = catalog(other=[], web=[instance(weight=weight)], z=[last])
        lb, _ = desired(found, statuses=PASSING, memo=memo)
        assert len(lb.problems) == told
        assert lb == desired(found, statuses=PASSING)[0]


def test_of_a_server_that_three_share_a_change_of_one_tells_anew_which_is_newest() -> None:
    memo = Memo()
    services = [
        Service(name=name, instances=(instance(name, modify_index=n),))
        for n, name in enumerate("abc")
    ]
    for index, newest, told in ((5, "a", "bc"), (2, "", "abc"), (1, "c", "ab")):
        services[0] = replace(services[0], instances=(instance("a", modify_index=index),))
        lb, _ = desired(Catalog(services=tuple(services)), statuses=PASSING, memo=memo)
        assert [p.service for p in lb.problems] == list(told)
        likely = f"; {newest} registered last" if newest else ""
        assert {p.what for p in lb.problems} == {
            f"10.0.0.1:80 is registered under 3 services (a, b, c){likely}"
        }
    del services[0], services[0]
    assert desired(Catalog(services=tuple(services)), statuses=PASSING, memo=memo)[0].problems == ()
