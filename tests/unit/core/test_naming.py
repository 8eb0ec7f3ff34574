import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import naming

LEGAL = "ABCZabcz0189_.:-"


@pytest.mark.parametrize("name", ["web", "my_app", "app.v2", "a:b", "_x", "9", "A-", "x" * 100])
def test_a_legal_name_is_its_own_slug(name: Any) -> None:
    assert naming.slug(name) == name
    assert naming.slugs([name]) == {name: name}


@pytest.mark.parametrize(
    "name",
    ["", "a b", "-f", ".hidden", "..", ":x", "sh@256", "café", "a\nb", "x" * 101, "٣", "a/../b"],
)
def test_an_illegal_name_becomes_a_legal_slug_with_a_hash(name: Any) -> None:
    slug = naming.slug(name)
    assert naming.is_legal(slug)
    assert slug != name
    assert len(slug) <= 50
    assert slug == naming.slug(name)


def test_the_readable_part_stays_readable() -> None:
    assert naming.slug("X app v2 :").startswith("X-app-v2-")
    assert naming.slug("x" * 101)[:-8] == "x" * 40 + "-"
    assert naming.slug("x" * 39 + " y")[:-8] == "x" * 39 + "-"
    assert naming.slug("x" * 39 + "X y")[:-8] == "x" * 39 + "X-"
    assert naming.slug("\n\n").startswith("service-")


def test_slugs_are_the_same_in_every_release() -> None:
    # Another one would be another backend: its counters begin anew.
    first, second, third = "my-app-v2-03d571b4", "my-app-v2-3faa89b4", "my-app-v2-3837542f"
    assert naming.slug("my app/v2") == first
    assert naming.slug("my app/v2", {first}) == second
    assert naming.slug("my app/v2", {first, second}) == third


def test_half_a_character_has_a_slug_too() -> None:
    assert naming.is_legal(naming.slug("\ud800"))  # what JSON may hold and UTF-8 may not


def test_a_slug_does_not_move_when_other_services_come_and_go() -> None:
    alone = naming.slugs(["a b"])["a b"]
    assert naming.slugs(["zzz", "a b", "a  b", "web"])["a b"] == alone


def test_reserved_names_are_never_given() -> None:
    found = naming.slugs(["stats", "web"], reserved={"stats", naming.slug("stats", {"stats"})})
    assert found["web"] == "web"
    assert found["stats"] not in {"stats", naming.slug("stats", {"stats"})}
    assert found["stats"].startswith("stats-")


def test_a_name_made_up_to_look_like_a_hash_takes_nothing_from_a_legal_one() -> None:
    forged = naming.slug("a b")
    found = naming.slugs(["a b", forged])
    assert found[forged] == forged
    assert found["a b"] != forged


def test_names_with_one_hash_have_slugs_of_their_own() -> None:
    one, other = "a !   !!  !  !  ! ", "a ! !!!   !!!  !  "  # found by trying 80,000
    assert naming.slug(one) == naming.slug(other)
    found = naming.slugs([one, other])
    assert found[one] == naming.slug(one)
    assert found[other] == naming.slug(other, {found[one]})


@given(st.lists(st.text(max_size=8) | st.text(LEGAL, max_size=8)), st.randoms())
def test_slugs_are_legal_distinct_and_do_not_depend_on_the_order(names: Any, random: Any) -> None:
    found = naming.slugs(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    assert all(naming.is_legal(slug) for slug in found.values())
    random.shuffle(names)
    assert naming.slugs(names) == found


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("Web-1.Example.com", "web-1.example.com"),
        ("localhost", "localhost"),
        ("web.service.consul.", "web.service.consul."),
        ("3com.example", "3com.example"),
        ("a.1X", "a.1x"),
    ],
)
def test_addresses_are_canonical(text: Any, typed: Any) -> None:
    assert naming.address(text) == typed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "fe80::1%eth0",
        "127.0.0.1:80",
        "[::1]",
        "10.0.0.01",
        "10.0.0",
        "127.1",
        "127.1.",
        "0x7f000001",
        "2130706433",
        "not a host!",
        "-web",
        "web-",
        "a..b",
        "my_app",
        "unix@/tmp/x",
        "/tmp/x",
        "fd@3",
        "web\n",
        "web\nserver x 1.2.3.4",
        "wéb",
        "٣.1.1.1",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "%[src]",
        "${HOME}",
    ],
)
def test_what_is_no_address_is_refused(text: Any) -> None:
    with pytest.raises(naming.Untypable) as error:
        naming.address(text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("has ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no address"),
        ("fe80::1%eth0", "has an address with a zone, which is no address on another machine"),
        ("0.0.0.0", "has an address that means every address of a machine"),
        ("224.0.0.1", "has the address of a group of machines"),
        ("a b", "has an address that is neither an IP address nor a host name"),
        ("127.1", "has an address that is a number, not an IP address"),
    ],
)
def test_a_refused_address_says_why(text: Any, why: Any) -> None:
    with pytest.raises(naming.Untypable) as error:
        naming.address(text)
    assert str(error.value) == why


@given(st.text())
def test_an_address_is_refused_or_one_plain_word(text: Any) -> None:
    try:
        typed = naming.address(text)
    except naming.Untypable:
        return
    assert typed == naming.address(typed)
    assert set(typed) <= set("abcdefghijklmnopqrstuvwxyz0123456789.:-")


@given(st.ip_addresses(), st.integers(1, 65535), st.ip_addresses(), st.integers(1, 65535))
def test_a_server_is_named_after_its_address_and_port_and_nothing_else(
    a: Any, p: Any, b: Any, q: Any
) -> None:
    one = naming.server(str(a), p)
    assert (one == naming.server(str(b), q)) == ((a, p) == (b, q))
    address, _, port = one.rpartition(":")
    assert ipaddress.ip_address(address) == a
    assert int(port) == p
    assert naming.is_legal(one) or one.startswith(":")


@given(st.ip_addresses(), st.integers(1, 65535), st.integers(0, 9))
def test_ids_are_above_haproxys_own_and_fit_31_bits(address: Any, port: Any, salt: Any) -> None:
    found = naming.server_id(str(address), port, salt)
    assert 65_535 < found < 2**31
    assert found == naming.server_id(str(address), port, salt)


def test_ids_are_the_same_in_every_release() -> None:
    # Another number here would move every client of consistent hashing at the upgrade.
    assert naming.server_id("10.0.0.1", 80) == 1346964291
    assert naming.server_id("::1", 80) == 933190870


def test_servers_sort_by_number_then_by_name() -> None:
    places = [("b.example", 1), ("10.0.0.10", 80), ("10.0.0.9", 81), ("10.0.0.9", 9), ("::1", 1)]
    assert sorted(places, key=lambda p: naming.order(*p)) == [
        ("10.0.0.9", 9),
        ("10.0.0.9", 81),
        ("10.0.0.10", 80),
        ("::1", 1),
        ("b.example", 1),
    ]


@pytest.mark.parametrize("text", ["web", "my_app", "a", "a-b", "9", "x" * 63])
def test_host_labels(text: Any) -> None:
    assert naming.is_host_label(text)


@pytest.mark.parametrize("text", ["", "a.b", "a:b", "-a", "a-", "a b", "é", "x" * 64, "web\n"])
def test_what_is_no_host_label(text: Any) -> None:
    assert not naming.is_host_label(text)
