"""Which instances stand on a port where HAProxy itself listens: each of them may be a loop.

Whether an address is this host's is not known in here; what a loop costs its instance is
registrations.py's.
"""

from collections.abc import Iterable, Sequence

from confsync.domain.catalog import Service

Place = tuple[str, int]
"""An address as registered, and a port."""
_NONE: frozenset[Place] = frozenset()


class Suspects:
    """The suspects of a catalog, remembered service by service.

    It makes no difference to the outcome: a service that is the very object of the call before is
    not looked at again.
    """

    def __init__(self) -> None:
        self._ports: frozenset[int] = frozenset()
        self._seen: dict[str, Service] = {}
        self._found: dict[str, frozenset[Place]] = {}
        self._all = _NONE

    def of(self, services: Sequence[Service], ports: frozenset[int]) -> frozenset[Place]:
        """Give the addresses, as registered, and the ports of all instances on one of `ports`."""
        if ports != self._ports:
            self._ports = ports
            self._seen, self._found, self._all = {}, {}, _NONE
        before = self._seen
        self._seen = {s.name: s for s in services}
        changed = {
            name: _on(s, ports) for name, s in self._seen.items() if before.get(name) is not s
        }
        changed |= dict.fromkeys(before.keys() - self._seen.keys(), _NONE)
        if any(self._found.get(name, _NONE) != found for name, found in changed.items()):
            self._found |= changed
            self._found = {name: found for name, found in self._found.items() if found}
            self._all = _NONE.union(*self._found.values())
        return self._all


def _on(service: Service, ports: Iterable[int]) -> frozenset[Place]:
    return frozenset((i.address, i.port) for i in service.instances if i.port in ports)
