"""Suspects of being a loop: the same as those of all instances, looked at anew."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from confsync.core.loops import Suspects
from confsync.domain.catalog import Instance, Service

PORTS = frozenset({80, 443})


def service(name: str, *places: tuple[str, int]) -> Service:
    return Service(
        name=name,
        instances=tuple(
            Instance(id=f"{name}-{n}", address=address, port=port)
            for n, (address, port) in enumerate(places)
        ),
    )


def plain(services: list[Service], ports: frozenset[int]) -> frozenset[tuple[str, int]]:
    return frozenset((i.address, i.port) for s in services for i in s.instances if i.port in ports)


def test_only_instances_on_a_port_of_haproxys_are_suspects() -> None:
    web = service("web", ("10.0.0.1", 80), ("10.0.0.2", 81), ("fd00::1", 443))
    assert Suspects().of([web], PORTS) == {("10.0.0.1", 80), ("fd00::1", 443)}
    assert Suspects().of([web], frozenset()) == frozenset()


def test_an_address_that_two_services_have_stays_while_one_has_it() -> None:
    a, b = service("a", ("10.0.0.1", 80)), service("b", ("10.0.0.1", 80))
    suspects = Suspects()
    for services in ([a, b], [replace(a, instances=()), b], [b]):
        assert suspects.of(services, PORTS) == {("10.0.0.1", 80)}
    assert suspects.of([], PORTS) == frozenset()


def test_while_none_changed_it_is_the_very_set_of_before() -> None:
    a, b = service("a", ("10.0.0.1", 80)), service("b", ("10.0.0.2", 90))
    suspects = Suspects()
    first = suspects.of([a, b], PORTS)
    assert suspects.of([a, b], PORTS) is first
    more = replace(b, instances=service("b", ("10.0.0.2", 90), ("10.0.0.3", 90)).instances)
    assert suspects.of([replace(a), more], PORTS) is first
    assert suspects.of([a], PORTS) is first


def test_other_ports_have_other_suspects() -> None:
    web, suspects = service("web", ("10.0.0.1", 80), ("10.0.0.2", 81)), Suspects()
    for port, address in ((80, "10.0.0.1"), (81, "10.0.0.2")):
        assert suspects.of([web], frozenset({port})) == {(address, port)}


services = st.lists(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(
            st.tuples(st.sampled_from(["10.0.0.1", "::1"]), st.sampled_from([80, 81, 443])),
            max_size=3,
        ),
        max_size=4,
    ),
    max_size=6,
)


@given(services, st.randoms())
def test_what_is_remembered_makes_no_difference(
    catalogs: list[dict[str, list[tuple[str, int]]]], chance: random.Random
) -> None:
    suspects, known = Suspects(), dict[str, Service]()
    for catalog in catalogs:
        for name, places in catalog.items():
            if name not in known or chance.random() < 0.5:
                known[name] = service(name, *places)
        shown = [known[name] for name in catalog]
        ports = chance.choice((PORTS, PORTS, PORTS, frozenset({81})))
        assert suspects.of(shown, ports) == plain(shown, ports)
