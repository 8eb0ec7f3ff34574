"""Single reads that can be believed: stale answers judged by age, empty ones judged by the list.

`once` needs no more than this module; watching (blocking, retrying) stands in watch.py.
"""

import asyncio
import dataclasses
import urllib.parse
from collections.abc import Callable
from typing import Protocol

from confsync.adapters.consul import translate
from confsync.adapters.consul.answer import Answer
from confsync.adapters.consul.client import Mode
from confsync.adapters.consul.options import ConsulOptions
from confsync.domain.catalog import Instance, Service

SERVICES = "catalog/services"


class Asking(Protocol):
    """The part of the client that reads."""

    @property
    def generation(self) -> int:
        """Count the tokens taken so far."""

    async def get(self, path: str, *, index: int = 0, mode: Mode = Mode.STALE) -> Answer:
        """Ask once. Raises DiscoveryError."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The wanted names of catalog/services. `refused`: those that cannot stand in a path."""

    names: frozenset[str]
    refused: tuple[str, ...] = ()
    filtered: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One service as answered.

    `everything`: the instances before the selection by tags. `unreadable`: rows left out. `partial`:
    the token may not see all of it. `index`: of the answer.
    """

    service: Service
    everything: tuple[Instance, ...] = ()
    unreadable: int = 0
    partial: bool = False
    index: int = 0


def is_safe(name: str) -> bool:
    """Tell whether a name can stand in a path: some would leave the endpoint, whatever the encoding.

    Go's server decodes %2F and resolves dots: `a/../../agent/self` answers another question.
    """
    return (
        bool(name) and name.isprintable() and "/" not in name and ".." not in name and name != "."
    )


def service_path(name: str) -> str:
    """Return the path of a service's health; the name must be safe."""
    return f"health/service/{urllib.parse.quote(name, safe='')}"


class Reader:
    """Reads lists and services, each as one belief."""

    def __init__(self, client: Asking, options: ConsulOptions, *, now: Callable[[], float]) -> None:
        self._client = client
        self._options = options
        self._now = now
        self._relisting = asyncio.Lock()
        self._begun = 0
        self._relisted: tuple[int, frozenset[str]] = (0, frozenset())
        self._list = b""
        self._names: frozenset[str] = frozenset()
        self._listing = Listing(names=frozenset())

    @property
    def generation(self) -> int:
        """Count the tokens taken so far."""
        return self._client.generation

    async def ask(self, path: str, *, index: int = 0, mode: Mode = Mode.STALE) -> Answer:
        """Ask; a stale answer that is too old is asked again of the leader."""
        answer = await self._client.get(path, index=index, mode=mode)
        if mode is Mode.STALE and answer.last_contact > self._options.max_stale:
            answer = await self._client.get(path, mode=Mode.DEFAULT)
        return answer

    def listing(self, answer: Answer) -> Listing:
        """Read an answer of catalog/services. Raises Unavailable.

        Most answers bring no other names (one more instance, or only the tags in another order, as
        Consul gives them each time): those give the very Listing given last. Only names that are new
        are judged.
        """
        if answer.body == self._list and answer.filtered == self._listing.filtered:
            return self._listing
        names = frozenset(answer.table())
        wanted = [name for name in names - self._names if self._options.selection.wants(name)]
        gone = self._names - names
        last = self._listing
        refused = {*last.refused}.difference(map(ascii, gone))
        refused.update(ascii(name) for name in wanted if not is_safe(name))
        listing = Listing(
            names=(last.names - gone).union(filter(is_safe, wanted)),
            refused=tuple(sorted(refused)),
            filtered=answer.filtered,
        )
        self._list, self._names = answer.body, names
        self._listing = listing if listing != last else last
        return self._listing

    async def service(self, name: str, answer: Answer) -> Reading | None:
        """Read an answer of health/service; None when the service is gone from the list meanwhile.

        A token that may list a name but not read its nodes gets 200 and an empty list (Consul 1.8.7
        says no more). So an empty answer is judged: still listed, and still empty when read
        consistently, is denied. Raises DiscoveryError.
        """
        rows = answer.rows()
        denied = not rows and answer.filtered
        if not rows and not denied:
            if name not in await self._names_from_now():
                return None
            answer = await self._client.get(answer.asked, mode=Mode.CONSISTENT)
            rows = answer.rows()
            denied = not rows
        everything, unreadable = translate.instances(rows)
        keep = self._options.selection.keep
        return Reading(
            service=Service(
                name=name,
                instances=tuple(i for i in everything if keep(i)),
                denied=denied,
                seen=self._now(),
            ),
            everything=everything,
            unreadable=unreadable,
            partial=bool(rows) and answer.filtered,
            index=answer.index,
        )

    async def _names_from_now(self) -> frozenset[str]:
        """Read the list consistently, at a time after this call; calls that wait share one read."""
        asked = self._begun
        async with self._relisting:
            if self._relisted[0] <= asked:
                self._begun += 1
                number = self._begun
                answer = await self._client.get(SERVICES, mode=Mode.CONSISTENT)
                self._relisted = (number, self.listing(answer).names)
            return self._relisted[1]
