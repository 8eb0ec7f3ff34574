"""What a proxy's lines forbid, verdict by verdict; text_vs_state has what follows from it."""

import pytest

from confsync.core.haproxy import configuration
from confsync.core.haproxy.weighing import Verdict, weigh
from tests.fakes.runtime import NEW, OLD

UNKNOWN = "`unheard-of` is not known to leave its servers alone"


def verdict(*lines: str, defaults: str = "", release: tuple[int, int] = (3, 2)) -> Verdict:
    text = f"defaults\n    {defaults}\nbackend b\n" + "".join(f"    {line}\n" for line in lines)
    found = configuration.read((text,))
    capabilities = OLD if release < (3, 0) else NEW
    return weigh(found.proxies["backend", "b", 0], capabilities, release)


def all_of(why: str) -> Verdict:
    """A proxy that is not understood: nothing at all, and the order of servers counts."""
    return Verdict(add=why, change=why, retire=why, move=why, ordered=True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), Verdict()),
        (("balance roundrobin", "mode http"), Verdict()),
        (("balance leastconn", '"mode" tcp', "option redispatch 1"), Verdict()),
        (("option allbackups",), Verdict(all_backups=True)),
        (("option allbackups", "no option allbackups"), Verdict()),
        (("unheard-of",), all_of(UNKNOWN)),
        (("no unheard-of",), all_of(UNKNOWN)),
        (("unheard-of", "other"), all_of(UNKNOWN)),
        (("no",), all_of("`no` is not known to leave its servers alone")),
        (
            ("option unheard-of 1",),
            all_of("`option unheard-of` is not known to leave its servers alone"),
        ),
        (("mode a b",), all_of("`mode a b` is not known to leave its servers alone")),
        (("mode",), all_of("`mode ` is not known to leave its servers alone")),
        (("option",), all_of("`option` is not known to leave its servers alone")),
        (("disabled",), all_of("it is disabled")),
        (
            ("balance unheard-of",),
            all_of("`balance unheard-of` is not known to leave its servers alone"),
        ),
        (('balance "$X"',), all_of('`balance "$X"` is not known to leave its servers alone')),
        (("balance", "hash-type"), Verdict()),
        (("balance first",), Verdict(numbers="`balance first` goes by the servers' numbers")),
        (("balance random(2)",), Verdict(numbers="`balance random` goes by the servers' numbers")),
        (
            ("balance source", "hash-type consistent sdbm"),
            Verdict(numbers="consistent hashing goes by the servers' numbers"),
        ),
        (("stick on src",), Verdict(numbers="stick tables hold the servers' numbers")),
        (("email-alert to x@y",), Verdict(add="`email-alert` would not know an added server")),
        (
            ("option external-check",),
            Verdict(add="with `option external-check` an added server would end HAProxy"),
        ),
    ],
)
def test_what_lines_forbid(lines: tuple[str, ...], expected: Verdict) -> None:
    assert verdict(*lines) == expected
    # Inherited, they mean the same.
    if len(lines) == 1:
        assert verdict(defaults=lines[0]) == expected


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("balance static-rr",), "`balance static-rr`"),
        (("balance source",), "`balance source` without `hash-type consistent`"),
        (
            ("balance uri whole", "hash-type map-based"),
            "`balance uri` without `hash-type consistent`",
        ),
        (("hash-type", "balance uri"), "`balance uri` without `hash-type consistent`"),
    ],
)
def test_static_algorithms_take_no_change_but_a_move(lines: tuple[str, ...], told: str) -> None:
    why = f"{told} takes no change of servers at runtime"
    assert verdict(*lines) == Verdict(add=why, change=why, retire=why, ordered=True)
    # What is worse is told first.
    both = verdict("email-alert to x@y", *lines)
    assert both.add == "`email-alert` would not know an added server"
    assert both.change == both.retire == why


def test_a_dynamic_cookie_counts_where_the_build_forgets_it() -> None:
    why = "with `cookie ... dynamic` clients would lose their server"
    assert verdict("cookie S insert dynamic", release=(2, 6)) == Verdict(add=why, move=why)
    assert verdict("cookie S insert") == Verdict()
    assert verdict("cookie S insert dynamic", release=(2, 6)).change == ""


def test_the_algorithm_that_is_not_said_is_the_releases_own() -> None:
    assert verdict(release=(3, 2)) == Verdict()
    assert verdict(release=(3, 3)).numbers == "`balance random` goes by the servers' numbers"


def test_a_line_in_a_block_may_count_or_not() -> None:
    block = (".if 1", "balance leastconn", ".endif")
    assert verdict(*block) == all_of("`balance` stands in an `.if` block")
    harmless = (".if 1", "timeout server 5s", "option redispatch", ".endif")
    assert verdict(*harmless) == Verdict()
