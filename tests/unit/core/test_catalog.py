"""The catalog: what tells how much of it is new."""

from dataclasses import replace

from confsync.domain.catalog import Catalog, Instance, Service


def service(name: str, instances: int) -> Service:
    return Service(
        name=name,
        instances=tuple(Instance(id=f"{n}", address="10.0.0.1", port=n) for n in range(instances)),
    )


A, B = service("a", 2), service("b", 3)


def test_nothing_of_the_very_services_is_fresh() -> None:
    assert Catalog(services=(A, B)).fresh(Catalog(services=(A, B))) == 0


def test_of_an_empty_catalog_all_is_fresh() -> None:
    assert Catalog(services=(A, B)).fresh(Catalog()) == 5


def test_a_service_that_came_is_fresh_wherever_it_stands() -> None:
    assert Catalog(services=(A, B)).fresh(Catalog(services=(B,))) == 2
    assert Catalog(services=(A, B)).fresh(Catalog(services=(A,))) == 3


def test_a_service_that_went_is_not() -> None:
    assert Catalog(services=(B,)).fresh(Catalog(services=(A, B))) == 0


def test_an_equal_copy_is_fresh() -> None:
    assert Catalog(services=(A, replace(B))).fresh(Catalog(services=(A, B))) == 3


def test_a_service_repeats_one_seen_before_but_not_one_registered_anew() -> None:
    first, *others = A.instances
    anew = replace(A, instances=(replace(first, modify_index=7), *others))
    assert replace(A, seen=9.0).repeats(A)
    assert anew == A
    assert not anew.repeats(A)
    assert not B.repeats(A)
    assert not replace(A, denied=True).repeats(A)
