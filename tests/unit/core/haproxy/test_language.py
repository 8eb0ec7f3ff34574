"""HAProxy's language: words, pieces of files, folding, what a configuration names."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.core.haproxy import configuration, maps, named, proxies, servers, text
from confsync.core.haproxy.words import value, words

ROOT = Path(__file__).parents[4]
FILES = sorted(
    path
    for pattern in ("**/*.cfg", "**/*.cfg.j2", "**/*.map", "**/*.map.j2", "docs/**/*.md")
    for path in ROOT.glob(pattern)
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
LINES = (
    "global",
    "defaults",
    "defaults d from e",
    "backend b",
    '"backend" b',
    "back\\x65nd b",
    "  listen l # x",
    "backend#",
    "backendx",
    "globa",
    "l",
    "    server s 10.0.0.1:80 id 5 weight 3 check",
    "    server-template t 3 x:80",
    "    default-server check inter 2s",
    "  .if defined(X)",
    "  .endif",
    ".else",
    "# comment",
    "",
    "\t",
    'an "open quote',
    "\r",
    "a \\",
    "\x00",
    "frontend f\r",
    "\u00a0backend b",
)
any_text = st.lists(st.sampled_from(LINES) | st.text(max_size=6), max_size=12).flatmap(
    lambda found: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join(found))
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a\u00a0b c", ("a\u00a0b", "c")),  # no blank in C
        ("a\x1cb", ("a\x1cb",)),
        ("a\vb\fc", ("a", "b", "c")),
        ("a b\rc", ("a", "b")),
        ('a "b\rc"', ('a "b',)),
        ("a \\", ("a \\",)),
        ("$a ${b}", ("$a", "${b}")),
        ("\x00 a", ("\x00", "a")),
    ],
)
def test_words_are_those_of_c(line: str, expected: tuple[str, ...]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("$X", "$X"),  # no variable outside double quotes
        ("'$X'", "$X"),
        ('"$X"', None),
        ('"\\$X"', "$X"),
        ("a\\ b", "a b"),
        ("a\\#b\\\\\\'\\\"", "a#b\\'\""),
        ("\\x41\\x62", "Ab"),
        ("\\n\\r\\t\\\t", "\n\r\t\t"),
        ("\\1", "\\1"),
        ("\\x4", None),
        ("\\xzz", None),
        ("a\\", None),
        ("'a\\'", "a\\"),
        ('"it\'s"', "it's"),
        ("'a'\"b\"c", "abc"),
        ('"open', None),
    ],
)
def test_values_are_what_haproxy_reads(word: str, expected: str | None) -> None:
    assert value(word) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_file_of_this_project_comes_back(path: Path) -> None:
    content = path.read_bytes().decode("utf-8", "surrogateescape")
    assert "".join(text.chunks(content)) == content
    configuration.read((content,))
    named.paths((content,))


def test_the_project_has_such_files() -> None:
    assert len(FILES) > 5


@given(any_text, any_text)
def test_no_text_crashes_and_all_come_back(one: str, other: str) -> None:
    pieces = text.chunks(one)
    assert "".join(pieces) == one
    for piece in pieces[1:]:
        assert text.section(piece).head
    both = text.chunks(one + other)
    for like in (pieces, text.chunks(other), both, text.chunks(other + one)):
        assert text.chunks(one + other, like) == both
        assert text.chunks(one, like) == pieces
    found = configuration.read((one, other))
    assert sum(map(len, found.pieces)) >= len(found.proxies)
    maps.entries(one)
    named.paths((one, other))


@settings(max_examples=200)
@given(st.lists(st.sampled_from(LINES), max_size=30), st.integers(0, 30), st.sampled_from(LINES))
def test_pieces_are_the_same_however_they_are_found(lines: list[str], at: int, extra: str) -> None:
    before = "\n".join(lines) + "\n"
    for after in (
        [*lines[:at], extra, *lines[at:]],
        [*lines[:at], *lines[at + 1 :]],
        [*lines[:at], extra, *lines[at + 1 :]],
    ):
        for end in ("\n", ""):
            changed = "\n".join(after) + end
            assert text.chunks(changed, text.chunks(before)) == text.chunks(changed)
            assert text.chunks(before, text.chunks(changed)) == text.chunks(before)
            assert text.pieces(changed) == tuple(text.chunks(changed))
            assert text.pieces(before) == tuple(text.chunks(before))


@given(st.lists(st.sampled_from(LINES), max_size=30), st.sampled_from(LINES))
def test_what_was_read_before_makes_no_difference_to_a_section(
    lines: list[str], extra: str
) -> None:
    """Whether a section is read at one look or with all that may stand around it."""
    content = "\n".join([*lines, extra, ""])
    blocked = ".if true\n.endif\n" + content  # so that the first lines are no section's
    whole = configuration.read((content,))
    for key, proxy in configuration.read((blocked,)).proxies.items():
        if key[0]:
            assert whole.proxies[key] == proxy
    alone = configuration.read((content, ".if true\n.endif\n"))
    assert all(alone.proxies[key] == proxy for key, proxy in whole.proxies.items() if key[0])


@pytest.mark.parametrize(
    ("head", "inherits"),
    [
        ("backend b from one", "1s"),
        ("backend b", "2s"),
    ],
)
def test_a_section_read_at_one_look_inherits_what_it_names(head: str, inherits: str) -> None:
    content = (
        "defaults one\n    timeout server 1s\ndefaults two\n    timeout server 2s\n"
        f"{head}\n    server a 10.0.0.1:80\n"
    )
    for _ in range(2):
        proxy = configuration.read((content,)).proxies["backend", "b", 0]
        assert [line.words for line in proxy.defaults.others] == [("timeout", "server", inherits)]
        content = f"# again\n{content}"


@pytest.mark.parametrize(
    ("content", "doubt"),
    [
        ("backend b\n    server a 10.0.0.1:80\n", ""),
        (".if true\nbackend b\n    server a 10.0.0.1:80\nbackend c\n.endif\n", proxies.IN_A_BLOCK),
        (
            "backend b\n    server a 10.0.0.1:80\n    .if true\nbackend c\n.endif\n",
            "ends in an `.if` block",
        ),
    ],
)
def test_a_section_in_a_block_is_not_read_at_one_look(content: str, doubt: str) -> None:
    # The same section has stood outside of blocks before.
    configuration.read(("backend b\n    server a 10.0.0.1:80\n",))
    assert configuration.read((content,)).proxies["backend", "b", 0].doubt == doubt


def test_only_the_section_that_changed_is_read_again() -> None:
    def content(extra: str) -> str:
        return "defaults\n    mode http\n" + "".join(
            f"backend only{n}\n    server a 10.0.0.{n}:80{extra if n == 30 else ''}\n"
            for n in range(60)
        )

    first = configuration.read((content(""),))
    second = configuration.read((content(" weight 3"),))
    anew = [key for key, proxy in second.proxies.items() if proxy is not first.proxies[key]]
    assert anew == [("backend", "only30", 0)]
    shared = {id(piece) for piece in first.pieces[0]}
    # The one before it as well: what follows may be more of it.
    assert sum(id(piece) not in shared for piece in second.pieces[0]) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("backend a\nglobal", "backend a\nglobalx\n"),
        ("backend a\nglobal", "backend a\nglobalx\nbackend b\n"),
        ("a\nbackend b\n", "xbackend b\n"),
        ("backend a\nbackend b\n", "backend a backend b\n"),
        ("backend a\n", "x\nbackend a\n"),
        ("", "backend a\n"),
    ],
)
def test_pieces_that_fit_by_chance_are_not_taken(before: str, after: str) -> None:
    assert text.chunks(after, text.chunks(before)) == text.chunks(after)


def test_quoted_and_escaped_keywords_begin_sections() -> None:
    found = text.sections('"backend" a\n mode tcp\nback\\x65nd b\n"x" y\n"$V" z\n')
    assert [(s.keyword, s.name) for s in found] == [("backend", "a"), ("backend", "b")]
    assert found[1].lines == (('"x"', "y"), ('"$V"', "z"))


@given(
    st.lists(st.sampled_from(sorted(set(string.printable))), max_size=12).map("".join),
    st.lists(st.sampled_from(["check", "no-check", "weight", "5", '"', "$X", "x"]), max_size=5),
)
def test_no_server_line_crashes_and_what_is_understood_can_be_said(
    address: str, rest: list[str]
) -> None:
    line = words(f"server s {address} {' '.join(rest)}")
    found = servers.read(line, (("inter", "2s"),))
    if not found.odd:
        assert found.address
        again = servers.read(("server", "s", f"[{found.address}]:{found.port}", *found.words), ())
        assert again == found or found.state != again.state


@pytest.mark.parametrize(
    ("line", "odd"),
    [
        ("server", "its name is no plain word"),
        ("server 'a b' 1.1.1.1:1", "its name is no plain word"),
        ("server a", "`` is no IP address with a port"),
        ("server a 1.1.1.1:0", "`1.1.1.1:0` is no IP address with a port"),
        ("server a 1.1.1.1:65536", "`1.1.1.1:65536` is no IP address with a port"),
        ("server a h:80", "`h:80` is no IP address with a port: only a reload resolves it"),
        ('server a "$A:80"', "its address is a variable"),
        ("server a 1.1.1.1:1 weight", "`weight` has no plain value"),
        ('server a 1.1.1.1:1 weight "$W"', "`weight` has no plain value"),
        ("server a 1.1.1.1:1 weight 257", "`weight 257` is no number of HAProxy's"),
        ("server a 1.1.1.1:1 weight $X", "`weight $X` is no number of HAProxy's"),
        ("server a 1.1.1.1:1 id 2147483648", "`id 2147483648` is no number of HAProxy's"),
        ("server a 1.1.1.1:1 chekc", "`chekc` is not known"),
        ('server a 1.1.1.1:1 "$W"', '`"$W"` is not known'),
    ],
)
def test_what_cannot_be_read_is_odd(line: str, odd: str) -> None:
    found = servers.read(words(line), ())
    assert found.odd == odd
    assert not found.serves
    assert found.may_be_backup
    assert found != servers.read((*words(line), "x"), ())


@pytest.mark.parametrize(
    ("folded", "line", "expected"),
    [
        ("check inter 1s", "inter 2s", "check inter 2s"),
        ("check", "no-check", ""),
        ("backup", "no-backup backup", "backup"),
        ("ssl verify none check", "", "check check-ssl ssl verify none"),
        ("ssl verify none check", "port 9", "check port 9 ssl verify none"),
        ("ssl verify none check", "addr 1.1.1.1", "addr 1.1.1.1 check ssl verify none"),
        ("ssl verify none check", "no-check-ssl", "check ssl verify none"),
        ("ssl verify none check no-check-ssl", "check-ssl", "check check-ssl ssl verify none"),
        ("send-proxy-v2 check", "", "check check-send-proxy send-proxy-v2"),
        ("tls-tickets", "no-tls-tickets", "no-tls-tickets"),
        ("no-tls-tickets", "tls-tickets", "tls-tickets"),
        ("no-ssl-reuse", "ssl-reuse", ""),
        ("non-stick", "stick", ""),
        ("init-addr none", "init-addr last", ""),
        ("weight 3 maxconn 5", "id 7", "id 7 weight 3 maxconn 5"),
        ("disabled", "", ""),
    ],
)
def test_default_server_is_folded_in(folded: str, line: str, expected: str) -> None:
    found = servers.read(words(f"server a ipv4@1.1.1.1:1 {line}"), (words(folded),))
    assert found.odd == ""
    assert " ".join(found.words) == expected


def test_addresses_are_spelt_alike() -> None:
    assert servers.read(words("server a 2001:DB8::0:1:80"), ()).place == ("2001:db8::1", 80)
    assert servers.read(words("server a ipv6@[2001:db8::1]:80"), ()).place == ("2001:db8::1", 80)


def test_map_entries() -> None:
    content = "# c\n a  b c \n\n\td\te\t\n#x y\nf g#h\r\n"
    assert maps.entries(content) == (("a", "b c"), ("d", "e"), ("f", "g#h"))
    assert maps.entries("") == ()
    for bad in ("a\n", "a b\x00c\n", "a\x1b b\n", "a \x7f\n"):
        assert maps.entries(bad) is None
    entries = (("a", "1"), ("b", "2"), ("c", "3"))
    assert maps.fewer(entries, entries[1:])
    assert maps.fewer(entries, (entries[0], entries[2]))
    assert not maps.fewer(entries, (entries[2], entries[0]))
    assert not maps.fewer(entries, (("a", "2"),))


def test_files_that_a_configuration_names() -> None:
    config = """global
    chroot /var/lib/haproxy
    log /dev/log local0
    stats socket /run/h.sock
    server-state-file /var/state
    shm-stats-file /dev/shm/haproxy
    lua-load /etc/haproxy/x.lua
defaults
    errorfile 503 errors/503.http
frontend f
    bind :443 ssl crt /etc/certs/ alpn h2
    bind "fd@${FD}"
    acl a src -f /etc/haproxy/blocked
    acl b path_beg /healthz http://example.com/x
    use_backend %[req.hdr(host),lower,map_str(/etc/haproxy/hosts.map,b)]
    http-request deny if { path,map(rel.map) -m found } or { path,map(opt@/etc/opt.map) -m str x }
backend b
    server x 10.0.0.1:80 ssl ca-file ca.pem # /etc/comment
ring log
    backing-file /var/lib/haproxy/log.ring
"""
    assert named.paths((config,)) == (
        "/etc/certs",
        "/etc/haproxy/blocked",
        "/etc/haproxy/hosts.map",
        "/etc/haproxy/x.lua",
        "/etc/opt.map",
        "/healthz",
        "ca.pem",
        "errors/503.http",
        "rel.map",
    )
    assert named.paths(("global\n    maxconn 1\n",)) == ()
    assert named.paths(("backend b\n    errorfile\n    errorfile 503\n",)) == ()


@pytest.mark.parametrize("other", ["hosts.map", "./hosts.map", "/etc/x/../haproxy/hosts.map"])
def test_a_map_that_has_two_names_is_two_maps(other: str) -> None:
    known = "frontend f\n    use_backend %[path,map_str(/etc/haproxy/hosts.map,b)]\n"
    for same in ("myhosts.map", "sites/hosts.map", "x/../old-hosts.map"):
        assert maps.named("/etc/haproxy/hosts.map", (known + known.replace("hosts.map", same),))
    more = known.replace("/etc/haproxy/hosts.map", other)
    assert not maps.named("/etc/haproxy/hosts.map", (known, more))
    assert not maps.named("/etc/haproxy/hosts.map", (more,))
