import pytest

from confsync.core.selection import Selection
from confsync.domain.catalog import Catalog, Instance, Service


@pytest.mark.parametrize(
    ("services", "exclude", "name", "wanted"),
    [
        (("*",), (), "web", True),
        (("*",), (), "consul", False),
        (("consul",), (), "consul", False),
        (("*",), (), "consul-ui", True),
        (("web",), (), "web", True),
        (("web",), (), "Web", False),
        (("web",), (), "web-2", False),
        (("web-*", "api"), (), "api", True),
        (("web-?",), (), "web-2", True),
        (("web-[ab]",), (), "web-c", False),
        (("*",), ("web",), "web", False),
        (("web",), ("w*",), "web", False),
        ((), (), "web", False),
        (("*",), (), "a\nb", True),
        (("a*",), (), "a\nb", True),
    ],
)
def test_wants(
    services: tuple[str, ...], exclude: tuple[str, ...], name: str, *, wanted: bool
) -> None:
    assert Selection(services=services, exclude=exclude).wants(name) is wanted


@pytest.mark.parametrize(
    ("asked", "carried", "kept"),
    [
        ((), (), True),
        ((), ("a",), True),
        (("a",), ("b", "a"), True),
        (("a", "b"), ("a",), False),
        (("a",), (), False),
        (("a",), ("A",), False),
    ],
)
def test_keep(asked: tuple[str, ...], carried: tuple[str, ...], *, kept: bool) -> None:
    instance = Instance(id="i", address="127.0.0.1", port=1, tags=carried)
    assert Selection(tags=asked).keep(instance) is kept


def test_select_leaves_only_what_is_wanted_and_keeps_an_emptied_service() -> None:
    tagged = Instance(id="i", address="127.0.0.1", port=1, tags=("x",))
    plain = Instance(id="j", address="127.0.0.1", port=2)
    catalog = Catalog(
        services=(
            Service(name="api", instances=(plain,)),
            Service(name="consul", instances=(tagged,)),
            Service(name="web", instances=(tagged, plain), denied=True),
        ),
        index_fell=True,
    )
    selected = Selection(tags=("x",)).select(catalog)
    assert selected.services == (
        Service(name="api"),
        Service(name="web", instances=(tagged,), denied=True),
    )
    assert selected.index_fell
