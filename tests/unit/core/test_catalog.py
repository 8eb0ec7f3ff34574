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
