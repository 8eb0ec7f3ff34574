"""Which structures need no check before a change at runtime."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.engine.shapes import Shapes

HEAD = "global\n    maxconn 10\n"
WEB = "backend web\n    balance roundrobin\n"


def config(main: str, hosts: str = "a a\n") -> RenderedConfig:
    return RenderedConfig(
        files=(
            RenderedFile(destination="main", text=main, template="t"),
            RenderedFile(destination="hosts", text=hosts, template="h"),
        )
    )


def knows(passed: str, then: str, hosts: str = "a a\n") -> bool:
    shapes = Shapes()
    shapes.passed(config(passed), ("main",))
    return shapes.knows(config(then, hosts), ("main",))


ONE = HEAD + WEB + "    server a 10.0.0.1:80 id 7 weight 3 check\n"


@pytest.mark.parametrize(
    "then",
    [
        ONE,
        HEAD + WEB,
        HEAD + WEB + "    server b 10.0.0.2:81 id 8 check\n",
        HEAD + WEB + "    server b [::1]:81 weight 9 check\n    server c 10.0.0.2:81 check\n",
        ONE.replace("    server", "# by confsync\n    server"),
    ],
)
def test_values_and_numbers_of_servers_are_no_structure(then: str) -> None:
    assert knows(ONE, then)


@pytest.mark.parametrize(
    "then",
    [
        ONE.replace("check", "check inter 1s"),
        ONE.replace("weight 3", "weight x"),
        ONE.replace("10.0.0.1:80", "web.local:80"),
        ONE.replace("10.0.0.1:80", "10.0.0.1:99999"),
        ONE.replace("10.0.0.1:80", "[fe80::1%lo]:80"),
        ONE.replace("roundrobin", "source"),
        ONE.replace("backend web", "backend api"),
        ONE.replace("maxconn 10", "maxconn 11"),
        ONE.replace("    server", "    default-server inter 1s\n    server"),
        ONE + "    server b 10.0.0.2:80 id 7 check\n",
        ONE + "    server a 10.0.0.2:80 id 8 check\n",
        ONE + "backend api\n",
        ONE + "    .if defined(X)\n    server b 10.0.0.2:80 check\n    .endif\n",
    ],
)
def test_all_else_is(then: str) -> None:
    assert not knows(ONE, then)


def test_a_file_that_is_no_configuration_counts_with_its_text() -> None:
    assert knows(ONE, ONE)
    assert not knows(ONE, ONE, hosts="b b\n")


def test_a_file_may_turn_out_to_be_a_configuration() -> None:
    whole = config(ONE, hosts="global\n    maxconn 10\n")
    shapes = Shapes()
    shapes.passed(whole, ("main",))
    assert not shapes.knows(whole, ("main", "hosts"))
    shapes.passed(whole, ("main", "hosts"))
    assert shapes.knows(whole, ("main", "hosts"))
    assert shapes.knows(whole, ("main",))


def test_an_emptied_section_fills_again_with_what_it_had() -> None:
    shapes = Shapes()
    shapes.passed(config(ONE), ("main",))
    shapes.passed(config(HEAD + WEB), ("main",))
    assert shapes.knows(config(ONE), ("main",))
    shapes.forget()
    assert not shapes.knows(config(ONE), ("main",))


def test_a_shape_that_another_section_had_is_new_here() -> None:
    other = "backend api\n    server x 10.0.0.9:80\n"
    both = HEAD + WEB + "    server a 10.0.0.1:80 check\n" + other
    assert not knows(both, both.replace("10.0.0.9:80", "10.0.0.9:80 check"))


def test_old_structures_are_forgotten() -> None:
    shapes = Shapes()
    for number in range(40):
        shapes.passed(config(HEAD.replace("10", str(number))), ("main",))
    assert not shapes.knows(config(HEAD.replace("10", "1")), ("main",))
    assert shapes.knows(config(HEAD.replace("10", "39")), ("main",))


SERVERS = st.lists(
    st.sampled_from(
        ["a 10.0.0.1:80 id 7", "b 10.0.0.2:81 id 8 check", "c 10.0.0.3:82 weight 2", "d web:80"]
    ),
    max_size=3,
    unique=True,
)
SECTIONS = st.builds(
    lambda name, balance, servers: (
        f"backend {name}\n    balance {balance}\n" + "".join(f"    server {s}\n" for s in servers)
    ),
    st.sampled_from(["web", "api", "x"]),
    st.sampled_from(["roundrobin", "source"]),
    SERVERS,
)
TEXTS = st.lists(SECTIONS, max_size=4).map(lambda found: HEAD + "".join(found))


@given(st.lists(st.tuples(TEXTS, st.booleans()), min_size=2, max_size=6))
def test_what_was_cut_before_makes_no_difference(steps: list[tuple[str, bool]]) -> None:
    long_lived = Shapes()
    passed: list[str] = []
    for content, passes in steps:
        fresh = Shapes()
        for each in passed:
            fresh.passed(config(each), ("main",))
        assert long_lived.knows(config(content), ("main",)) == fresh.knows(
            config(content), ("main",)
        )
        if passes:
            long_lived.passed(config(content), ("main",))
            passed.append(content)
