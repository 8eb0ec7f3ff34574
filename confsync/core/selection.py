"""Which services and instances of a registry the settings ask for.

Both sources use it, so that `services`, `exclude` and `tags` mean the same for each. What is done with
an instance's status is the model's (core.desired), not this module's.
"""

import dataclasses
from fnmatch import fnmatchcase

from confsync.domain.catalog import Catalog, Instance

OWN = "consul"
"""Consul's own service: its servers' RPC port, never something to balance."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Names or globs (case-sensitive) of services, and the tags that an instance must all carry."""

    services: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Tell whether a service of this name is asked for; `exclude` beats `services`."""
        return (
            name != OWN
            and any(fnmatchcase(name, pattern) for pattern in self.services)
            and not any(fnmatchcase(name, pattern) for pattern in self.exclude)
        )

    def keep(self, instance: Instance) -> bool:
        """Tell whether an instance carries all the tags."""
        return all(tag in instance.tags for tag in self.tags)

    def select(self, catalog: Catalog) -> Catalog:
        """Return the catalog with only what is asked for, in the order that it had.

        A service that is left without an instance stays, empty: its name is known.
        """
        services = (
            dataclasses.replace(
                service, instances=tuple(i for i in service.instances if self.keep(i))
            )
            for service in catalog.services
            if self.wants(service.name)
        )
        return dataclasses.replace(catalog, services=tuple(services))
