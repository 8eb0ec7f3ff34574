"""What should be: the catalog after typing. Names, addresses, ports, weights and ids are safe here.

The texts `name`, `id`, `tags`, `meta`, `node` and `datacenter` are still the registry's: core.untrusted
wraps them before a template sees them.
"""

from dataclasses import dataclass

from confsync.domain.catalog import Meta, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that confsync did not take, and why; it cost only what it names.

    `service`, `instance`: the registry's names, shown escaped. `dropped`: the instance (or, without
    one, the service) was left out; else it is a remark. `template`, `line`: where a text was refused.
    """

    what: str
    service: str = ""
    instance: str = ""
    dropped: bool = True
    template: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One instance that can be a server line. `server`: its legal name, bound to address and port."""

    server: str
    server_id: int
    address: str
    port: int
    status: Status
    weight: int
    id: str
    tags: tuple[str, ...] = ()
    meta: Meta = ()
    node: str = ""
    datacenter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A service as templates see it: `instances` are those to serve, sorted by address and port.

    `absent`: the others, by server name, with the status that keeps them out: the planner's reasons.
    """

    name: str
    slug: str
    tags: tuple[str, ...] = ()
    instances: tuple[Server, ...] = ()
    absent: tuple[tuple[str, Status], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """All backends, sorted by slug, and what was not taken."""

    backends: tuple[Backend, ...] = ()
    problems: tuple[Problem, ...] = ()
