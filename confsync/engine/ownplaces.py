"""Which instances are HAProxy's own listeners on this host: each of them would be a loop."""

import time
from collections.abc import Callable, Sequence

from confsync.core import loops
from confsync.core.loops import Place
from confsync.domain.catalog import Service
from confsync.engine.offloop import Work

BELIEVED = 10.0
"""Seconds for which an address is this host's, or is not: a shared one comes and goes."""
_ANY = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


class OwnPlaces:
    """Looks for them; the system is asked about each address alone, so seldom more than once."""

    def __init__(
        self,
        binds: frozenset[Place],
        is_local: Callable[[str], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`binds`: where HAProxy listens. `clock`: seconds."""
        self._binds = binds
        self._ports = frozenset(port for _, port in binds)
        self._anywhere = frozenset(port for address, port in binds if address in _ANY)
        self._is_local = is_local
        self._clock = clock
        self._suspects = loops.Suspects()
        self._work = Work()
        self._local: dict[str, bool] = {}
        self._until = float("-inf")
        self._asked: frozenset[Place] = frozenset()
        self._found: frozenset[Place] = frozenset()

    async def among(self, services: Sequence[Service]) -> frozenset[Place]:
        """Give the addresses, as registered, and the ports of all instances that are."""
        asked = self._suspects.of(services, self._ports)
        if self._clock() >= self._until:
            self._local, self._until = {}, self._clock() + BELIEVED
        elif asked is self._asked:
            return self._found
        self._found = await self._work(len(asked), lambda: frozenset(filter(self._is_own, asked)))
        self._asked = asked
        return self._found

    def _is_own(self, place: Place) -> bool:
        address, port = place
        if place in self._binds:
            return True
        if port not in self._anywhere:
            return False
        if (known := self._local.get(address)) is None:
            known = self._local[address] = self._is_local(address)
        return known
