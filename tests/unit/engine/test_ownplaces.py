"""HAProxy's own listeners among the instances, without asking for each of them each time."""

from dataclasses import replace

from confsync.domain.catalog import Instance, Service
from confsync.engine.ownplaces import BELIEVED, OwnPlaces

BINDS = frozenset({("", 80), ("10.0.0.9", 81)})


def service(name: str, *places: tuple[str, int]) -> Service:
    return Service(
        name=name, instances=tuple(Instance(id="i", address=a, port=p) for a, p in places)
    )


class Host:
    """A host with addresses, which counts how often it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = set(addresses)
        self.now = 50.0
        self.asked: list[str] = []
        self.places = OwnPlaces(BINDS, self.is_local, clock=lambda: self.now)

    def is_local(self, address: str) -> bool:
        self.asked.append(address)
        return address in self.addresses

    def count(self) -> list[str]:
        """Tell what was asked since the last time."""
        asked, self.asked = sorted(self.asked), []
        return asked


async def test_only_what_listens_there_is_one() -> None:
    host = Host("10.0.0.1", "10.0.0.9")
    web = service("web", ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.1", 82), ("10.0.0.1", 81))
    other = service("other", ("10.0.0.9", 81))
    assert await host.places.among((web, other)) == {("10.0.0.1", 80), ("10.0.0.9", 81)}
    assert host.count() == ["10.0.0.1", "10.0.0.2"]


async def test_an_address_is_asked_about_once_in_a_while() -> None:
    host = Host("10.0.0.1")
    web = service("web", ("10.0.0.1", 80), ("10.0.0.2", 80))
    await host.places.among((web,))
    assert await host.places.among((web,)) == {("10.0.0.1", 80)}
    assert host.count() == ["10.0.0.1", "10.0.0.2"]

    more = replace(web, instances=(*web.instances, Instance(id="j", address="10.0.0.3", port=80)))
    assert await host.places.among((more,)) == {("10.0.0.1", 80)}
    assert host.count() == ["10.0.0.3"]

    host.addresses = {"10.0.0.2"}  # a shared address that came
    host.now += BELIEVED - 1
    assert await host.places.among((more,)) == {("10.0.0.1", 80)}
    host.now += 1
    assert await host.places.among((more,)) == {("10.0.0.2", 80)}
    assert host.count() == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert await host.places.among(()) == frozenset()
