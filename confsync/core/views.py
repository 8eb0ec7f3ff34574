"""The template context: what a template sees of services, instances, meta and variables.

Plain holders of values. A template reaches only the fields listed in each view's FIELDS, through
sandbox.py; typed values pass as they are, the registry's texts wrapped (untrusted.py).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn, Self

from confsync.core import naming, untrusted
from confsync.core.untrusted import Missing, Opaque, Origin, Refusals
from confsync.domain.loadbalancer import Backend, Server
from confsync.domain.rendered import VarValue


def article(kind: str) -> str:
    """Put a or an before a noun."""
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


class View:
    """Something with fields. It cannot be printed as a whole."""

    __slots__ = ()
    FIELDS: ClassVar[frozenset[str]] = frozenset()
    KIND: ClassVar[str] = ""

    def unknown(self, name: object) -> str:
        """Say that there is no such field, and which there are."""
        return f"{article(self.KIND)} has no {name!r}; it has {', '.join(sorted(self.FIELDS))}"

    def _whole(self, *_args: object) -> NoReturn:
        raise TypeError(
            f"{article(self.KIND)} cannot be printed as a whole: name one of its fields"
        )

    __str__ = __repr__ = __format__ = __html__ = _whole


class Words(tuple[Any, ...]):
    """Tags. They cannot be printed as a whole."""

    __slots__ = ()

    def _whole(self, *_args: object) -> NoReturn:
        raise TypeError("a list cannot be printed as a whole: loop over it, or use |join")

    __str__ = __repr__ = __format__ = _whole


class MetaView(Mapping[Any, Any]):
    """An instance's meta. `.x` of a missing key is a refusal, `get("x")` gives none."""

    __slots__ = ("_pairs", "_refusals", "_server", "_service")

    def __init__(
        self, pairs: Mapping[str, str], service: str, server: str, refusals: Refusals
    ) -> None:
        self._pairs = pairs
        self._service = service
        self._server = server
        self._refusals = refusals

    def _origin(self, key: str) -> Origin:
        field = f"meta {untrusted.shown(key)}"
        return Origin(self._refusals, self._service, self._server, field)

    def field(self, key: object) -> Any:
        """Give the value of `.key`, or what refuses to be used."""
        try:
            return self[key]
        except KeyError:
            return Missing(self._origin(untrusted.reveal(key)))

    def __getitem__(self, key: object) -> str | Opaque:
        if not isinstance(key, str | Opaque):
            raise KeyError(key)
        name = untrusted.reveal(key)
        return untrusted.wrap(self._pairs[name], self._origin(name))

    def __iter__(self) -> Iterator[str | Opaque]:
        return iter([untrusted.wrap(key, self._origin(key)) for key in self._pairs])

    def __len__(self) -> int:
        return len(self._pairs)

    def _whole(self, *_args: object) -> NoReturn:
        raise TypeError("meta cannot be printed as a whole: name a key")

    __str__ = __repr__ = __format__ = _whole


class InstanceView(View):
    """A server to be. Values are made when they are asked for: most templates ask for few."""

    __slots__ = ("_refusals", "_service", "source")
    KIND = "instance"
    TYPED: ClassVar[frozenset[str]] = frozenset(
        {"server", "server_id", "address", "port", "weight"}
    )
    FIELDS = TYPED | {"id", "tags", "meta", "status", "node", "datacenter"}

    def __init__(self, source: Server, service: str, refusals: Refusals) -> None:
        self.source = source
        self._service = service
        self._refusals = refusals

    def field(self, name: str) -> Any:
        """Give one of FIELDS."""
        source = self.source
        if name in self.TYPED:
            return getattr(source, name)
        if name == "status":
            return source.status.value
        if name == "tags":
            origin = self._origin("tag")
            return Words(untrusted.wrap(tag, origin) for tag in source.tags)
        if name == "meta":
            return MetaView(dict(source.meta), self._service, source.server, self._refusals)
        return untrusted.wrap(getattr(source, name), self._origin(name))

    def _origin(self, field: str) -> Origin:
        return Origin(self._refusals, self._service, self.source.server, field)


class ServiceView(View):
    """A backend to be. Two views of one service are equal.

    `source`: what it shows, None where a template gave it a name of its own.
    """

    __slots__ = ("_refusals", "_source", "_values", "slug", "source")
    KIND = "service"
    FIELDS = frozenset({"name", "slug", "tags", "instances"})

    def __init__(self, source: Backend, refusals: Refusals) -> None:
        self.slug = source.slug
        self.source: Backend | None = source
        self._source = source
        self._refusals = refusals
        self._values: dict[str, Any] = {}

    def field(self, name: str) -> Any:
        """Give one of FIELDS, the same each time."""
        if name not in self._values:
            self._values[name] = self._made(name)
        return self._values[name]

    def _made(self, name: str) -> Any:
        source, refusals = self._source, self._refusals
        match name:
            case "slug":
                return source.slug
            case "name":
                return untrusted.wrap(source.name, Origin(refusals, source.slug, "", "name"))
            case "tags":
                origin = Origin(refusals, source.slug, "", "tag")
                return Words(untrusted.wrap(tag, origin) for tag in source.tags)
            case _:
                return Words(
                    InstanceView(server, source.slug, refusals) for server in source.instances
                )

    def named(self, name: str | Opaque) -> Self:
        """Take a name that a template holds already."""
        self._values["name"] = name
        self.source = None
        return self


class Services:
    """All services of one render. Their views are made when asked for: most loops need few of them.

    No template holds this: where one names `services` it gets `all` (sandbox.py).
    """

    __slots__ = ("_all", "_named", "_views", "backends", "refusals")

    def __init__(self, backends: tuple[Backend, ...], refusals: Refusals) -> None:
        self.backends = backends
        self.refusals = refusals
        self._views: dict[int, ServiceView] = {}
        self._named: dict[str, int] | None = None
        self._all: Words | None = None

    def __len__(self) -> int:
        return len(self.backends)

    def __iter__(self) -> Iterator[ServiceView]:
        return iter(self.all())

    def all(self) -> Words:
        """Give the views of all."""
        if self._all is None:
            self._all = Words(self.view(place) for place in range(len(self.backends)))
        return self._all

    def view(self, place: int) -> ServiceView:
        """Give the view of one, the same each time."""
        if (found := self._views.get(place)) is None:
            found = self._views[place] = ServiceView(self.backends[place], self.refusals)
        return found

    def named(self, name: str) -> ServiceView | None:
        """Find a service by its name."""
        if self._named is None:
            self._named = {backend.name: at for at, backend in enumerate(self.backends)}
        place = self._named.get(name)
        return None if place is None else self.view(place)


class Facts(View):
    """A few fixed facts: `confsync`, `target`."""

    __slots__ = ("FIELDS", "KIND", "_values")

    def __init__(self, kind: str, values: dict[str, str]) -> None:
        self.KIND = kind  # type: ignore[misc]
        self.FIELDS = frozenset(values)  # type: ignore[misc]
        self._values = values

    def field(self, name: str) -> str:
        """Give one of FIELDS."""
        return self._values[name]


class Variables(Mapping[str, VarValue]):
    """The operator's own values, trusted."""

    __slots__ = ("_template", "_values")

    def __init__(self, values: Mapping[str, VarValue], template: str) -> None:
        self._values = values
        self._template = template

    def __getitem__(self, key: str) -> VarValue:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def unknown(self, key: object) -> str:
        """Say that there is no such variable, and which there are."""
        known = ", ".join(sorted(self._values)) or "none"
        return (
            f"vars has no {key!r}: set it under [template.vars] of {self._template} (set: {known})"
        )

    def _whole(self, *_args: object) -> NoReturn:
        # A secret may be among them.
        raise TypeError("vars cannot be printed as a whole: name one of them")

    __str__ = __repr__ = __format__ = _whole


def finder(services: Services) -> Callable[[object], ServiceView]:
    """Make `service("name")`, which gives an empty service when there is none of the name."""

    def service(name: object) -> ServiceView:
        if not isinstance(name, str | Opaque):
            raise TypeError("service() takes a service's name")
        text = untrusted.reveal(name)
        if (found := services.named(text)) is not None:
            return found
        empty = ServiceView(Backend(name=text, slug=naming.slug(text)), services.refusals)
        # A refusal is then about where the name came from: there is no service to leave out.
        return empty.named(name)

    return service
