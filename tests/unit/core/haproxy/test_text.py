"""Sections, words and addresses of HAProxy's language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core.haproxy import difference, text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  balance   roundrobin ", ("balance", "roundrobin")),
        ("acl a path /x # comment", ("acl", "a", "path", "/x")),
        ("acl a path /x#y", ("acl", "a", "path", "/x")),
        (r"acl a path /x\#y", ("acl", "a", "path", r"/x\#y")),
        ('log-format "a # b"', ("log-format", '"a # b"')),
        ("log-format 'a # \\'", ("log-format", "'a # \\'")),
        (r'log-format "a \" b" c', ("log-format", r'"a \" b"', "c")),
        ("acl a hdr(x) one\\ word", ("acl", "a", "hdr(x)", "one\\ word")),
        ("acl a b'c d'e", ("acl", "a", "b'c d'e")),
        ("# all comment", ()),
        ("", ()),
        ('  an "open quote', ('an "open quote',)),
        ("ends with \\", ("ends with \\",)),
    ],
)
def test_words(line: str, expected: tuple[str, ...]) -> None:
    assert text.words(line) == expected


CONFIG = """
# top
global
    maxconn 10
frontend web
    bind :80,127.0.0.1:81 ssl
    bind ipv6@[::1]:82
    bind unix@/run/x.sock
    bind :8000-8010
    bind "${ADDR}:83"
    bind ipv4@10.0.0.2:84
    bind abns@name:85
    bind /run/y:86
    bind
    log 127.0.0.1:514 local0
    default_backend app
backend app # the app
    server a 10.0.0.1:80 weight 1
    server b [::1]:81
    server c example.com:82 check
    server d unix@/run/d.sock
    .if defined(X)
    server e 10.0.0.9:80
    .if defined(Y)
    server f 10.0.0.9:81
    .endif
    server g 10.0.0.9:82
    .endif
    server h X.example:83
    server lonely
peers mesh
defaults
    mode http
defaults named
listen both
    bind *:90
    server z 10.0.0.7:7
"""


def test_sections_carry_their_lines() -> None:
    found = text.sections(CONFIG)
    assert [(s.keyword, s.name) for s in found] == [
        ("global", ""),
        ("frontend", "web"),
        ("backend", "app"),
        ("peers", "mesh"),
        ("defaults", ""),
        ("defaults", "named"),
        ("listen", "both"),
    ]
    assert found[0].lines == (("maxconn", "10"),)
    assert text.sections("stray line\nglobal\n")[0].keyword == ""


def test_proxies_binds_and_servers() -> None:
    assert text.proxies(CONFIG) == {"web", "app", "named", "both"}
    assert text.binds(CONFIG) == {
        ("", 80),
        ("127.0.0.1", 81),
        ("::1", 82),
        ("*", 90),
        ("${ADDR}", 83),  # a variable's name is no address: it compares with none
        ("10.0.0.2", 84),
    }
    assert [(s.proxy, s.server, s.address, s.port) for s in text.server_lines(CONFIG)] == [
        ("app", "a", "10.0.0.1", 80),
        ("app", "b", "::1", 81),
        ("app", "c", "example.com", 82),
        ("app", "h", "X.example", 83),
        ("both", "z", "10.0.0.7", 7),
    ]


def test_servers_that_haproxy_may_not_have_or_names_otherwise_are_left_out() -> None:
    config = (
        "defaults\n"
        ".if defined(X)\nbackend a\n server s 1.1.1.1:1\n.endif\n server t 1.1.1.1:1\n"
        'backend b\n server "q" 1.1.1.1:1\n server ${X} 1.1.1.1:1\n server u 1.1.1.1:1\n'
        'backend "c"\n server v 1.1.1.1:1\n'
    )
    assert [(s.proxy, s.server) for s in text.server_lines(config)] == [("a", "t"), ("b", "u")]


def test_comments_and_blanks_are_no_difference() -> None:
    assert difference.equal_but_for_comments("global\n a b\n", "# x\nglobal # y\n\n  a  b\n")
    assert not difference.equal_but_for_comments("global\n a b\n", "global\n a c\n")
    assert not difference.equal_but_for_comments("global\n a 'b c'\n", "global\n a b c\n")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "backend a\n server x 1.1.1.1:1\n", ["backend a added with 1 server"]),
        ("", "backend a\n mode http\n", ["backend a added"]),
        ("", "listen a\n server x :1\n server y :2\n", ["listen a added with 2 servers"]),
        ("backend a\n mode http\n", "", ["backend a removed"]),
        (
            "backend a\n balance roundrobin\n",
            "backend a\n balance source\n",
            ["backend a: balance changed from roundrobin to source"],
        ),
        (
            "backend a\n server x 1.1.1.1:1 weight 1\n",
            "backend a\n server x 1.1.1.1:1 weight 2\n",
            ["backend a: server x: weight 1 -> 2"],
        ),
        (
            "backend a\n server x 1.1.1.1:1\n",
            "backend a\n server x 1.1.1.2:1\n",
            ["backend a: server x: address 1.1.1.1:1 -> 1.1.1.2:1"],
        ),
        (
            "backend a\n server x 1.1.1.1:1 check\n",
            "backend a\n server x 1.1.1.1:1\n",
            ["backend a: server x: `1.1.1.1:1 check` -> `1.1.1.1:1`"],
        ),
        (
            "backend a\n server x 1.1.1.1:1 check\n",
            "backend a\n server x 1.1.1.1:1 backup\n",
            ["backend a: server x: 1.1.1.1:1 check -> backup"],
        ),
        (
            "backend a\n server x 1.1.1.1:1 check\n",
            "backend a\n server x 1.1.1.2:1\n",
            ["backend a: server x: `1.1.1.1:1 check` -> `1.1.1.2:1`"],
        ),
        (
            "backend a\n server x 1.1.1.1:1 weight 1\n",
            "backend a\n server x 1.1.1.2:1 weight 2\n",
            ["backend a: server x: `1.1.1.1:1 weight 1` -> `1.1.1.2:1 weight 2`"],
        ),
        ("backend a\n", "backend a\n server\n", ["backend a: `server` added"]),
        ("backend a\n", "backend a\n server x\n", ["backend a: server x added"]),
        (
            "backend a\n server x 1.1.1.1:1\n server y 1.1.1.2:1\n",
            "backend a\n server y 1.1.1.2:1\n server z 1.1.1.3:1\n",
            [
                "backend a: server z added",
                "backend a: server x removed (critical)",
            ],
        ),
        (
            "backend a\n server y 1.1.1.2:1\n",
            "backend a\n",
            ["backend a: server y removed (deregistered)"],
        ),
        (
            "backend b\n server x 1.1.1.2:1\n",
            "backend b\n",
            ["backend b: server x removed (deregistered)"],
        ),
        (
            "backend a\n server x 1.1.1.1:1\n server y 1.1.1.2:1\n",
            "backend a\n server y 1.1.1.2:1\n server x 1.1.1.1:1\n",
            ["backend a: the order of servers changed"],
        ),
        (
            "backend a\n acl x path /\n acl y path /\n",
            "backend a\n acl y path /\n acl x path /\n",
            ["backend a: the order of lines changed"],
        ),
        (
            "backend a\n acl x path /\n",
            "backend a\n acl x path /y\n",
            ["backend a: `acl x path /` removed", "backend a: `acl x path /y` added"],
        ),
        (
            "backend a\nbackend b\n",
            "backend b\nbackend a\n",
            ["the order of sections changed"],
        ),
        (
            "backend a\n",
            "backend a from named\n",
            ["backend a: its first line changed to backend a from named"],
        ),
        ("defaults\n a b\ndefaults\n", "defaults\n a b\n", ["defaults removed"]),
        (
            "defaults\n a b\ndefaults\n c d\ndefaults\n e f\n",
            "defaults\n a b\ndefaults\n c d\n",
            ["defaults removed"],
        ),
        ("x y\n", "x z\n", None),
    ],
)
def test_reasons(old: str, new: str, expected: list[str] | None) -> None:
    found = list(difference.reasons(old, new, {"a": {"x": "critical"}}))
    if expected is None:
        assert all(r.startswith("the text before the first section") for r in found)
        assert found
    else:
        assert found == expected


def test_long_lines_are_shortened() -> None:
    (reason,) = difference.reasons("backend a\n", f"backend a\n acl {'x' * 116}\n")
    assert reason == f"backend a: `acl {'x' * 116}` added"
    (reason,) = difference.reasons("backend a\n", f"backend a\n acl {'x' * 117}\n")
    assert reason == f"backend a: `acl {'x' * 113}...` added"


any_text = st.text(st.sampled_from("ab \n\t'\"\\#$%é\x00backendserver:[]1"), max_size=80)


@given(any_text, any_text)
def test_no_text_crashes_and_every_difference_has_a_reason(old: str, new: str) -> None:
    assert bool(difference.reasons(old, new)) is not difference.equal_but_for_comments(old, new)
    text.binds(new)
    text.server_lines(new)


def test_sure_binds_are_those_that_anybody_would_bind() -> None:
    config = """
frontend f
    bind :1
    .if defined(X)
    bind :2
    .endif
    bind :3 transparent
    bind :4 namespace blue
    bind :5
"""
    assert text.binds(config) == {("", n) for n in range(1, 6)}
    assert text.binds(config, sure=True) == {("", 1), ("", 5)}


def test_blocks_open_and_close_and_only_servers_of_backends_count() -> None:
    config = """
backend a
    .if defined(X)
    .if defined(Y)
    server hidden 10.0.0.1:1
    .endif
    server hidden-too 10.0.0.2:2
    .endif
    server seen 10.0.0.3:3
peers p
    server peer 10.0.0.4:4
backend b
    use-server seen 10.0.0.5:5
"""
    assert [s.server for s in text.server_lines(config)] == ["seen"]
    closed_first = "backend a\n    .endif\n    server x 10.0.0.1:1\n    .if defined(X)\n"
    assert [s.server for s in text.server_lines(closed_first)] == []
