"""What discovery saw, complete or not at all. Nothing in here has been typed: it is all hostile."""

from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """The aggregate of an instance's service and node checks; without checks it is passing."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"


Meta = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One registration.

    `address`: as registered, or the node's where the registration has none. `weight`: the registry's
    own for this status. `meta`: pairs sorted by key. `modify_index`: the newer registration has the
    higher one; it takes no part in comparisons, since a re-registration without change raises it.
    """

    id: str
    address: str
    port: int
    status: Status = Status.PASSING
    tags: tuple[str, ...] = ()
    meta: Meta = ()
    weight: int = 1
    node: str = ""
    datacenter: str = ""
    modify_index: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service with all its instances, whatever their status, sorted by address, port, node, id.

    `denied`: the registry lists the name but shows no instance of it: a token that may not read it.
    `seen`: unix time of the answer that this stands on, in seconds.
    """

    name: str
    instances: tuple[Instance, ...] = ()
    denied: bool = False
    seen: float = field(default=0.0, compare=False)

    def repeats(self, other: "Service") -> bool:
        """Tell whether nothing but `seen` differs: the same registrations, none registered anew."""
        return self is other or (
            self == other
            and all(
                one.modify_index == another.modify_index  # which takes no part in comparisons
                for one, another in zip(self.instances, other.instances, strict=True)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All services that the settings select, sorted by name.

    `index_fell`: the registry's index is lower than in the catalog before (it was reset or restored).
    """

    services: tuple[Service, ...] = ()
    index_fell: bool = field(default=False, compare=False)

    def get(self, name: str) -> Service | None:
        """Find a service by name."""
        return next((s for s in self.services if s.name == name), None)

    def fresh(self, before: "Catalog") -> int:
        """Count the instances of services that are not the very objects of another catalog.

        By identity, so that it costs next to nothing: an equal copy counts.
        """
        known = {s.name: s for s in before.services}
        return sum(len(s.instances) for s in self.services if known.get(s.name) is not s)
