"""What is done without a reload: which steps, in what order and words; and what is kept of it."""

from dataclasses import replace

from confsync.core import planning, runtime
from confsync.core.haproxy import configuration, servers
from confsync.core.planning import Surroundings
from confsync.domain.change import (
    AddServer,
    Admin,
    NoChange,
    Plan,
    ReplaceMap,
    RetireServer,
    RuntimePlan,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
)
from confsync.domain.running import Leftover
from tests.fakes.runtime import MAIN, MAP, between, files, record, reload_reasons, steps

HEAD = "defaults\n    timeout connect 1s\n"
PREFIX = "backend b: server "
HOSTS = ReplaceMap(destination=MAP, name=MAP, entries=(("a", "b"),), text="a b\n")
LEFT = Leftover(backend="b", server="y", address="10.0.0.2", port=80, state=Admin.DRAIN)


def server(name: str, words: str = "", address: str = "") -> str:
    number = ord(name[0])
    return f"    server {name} {address or f'10.0.0.{number}:80'} id {number} {words}\n"


def backend(*lines: str, head: str = HEAD) -> str:
    return f"{head}backend b\n{''.join(lines)}"


def told(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the words for what is done at once, and those for the reload that follows."""
    assert isinstance(plan, RuntimePlan)
    later = plan.then.reasons if plan.then is not None else ()
    now, then = (tuple(w.removeprefix(PREFIX) for w in words) for words in (plan.reasons, later))
    return now, then


def test_what_gives_traffic_comes_before_what_takes_it_away() -> None:
    agent = "agent-check agent-port 90"
    before = (
        *(server("a", "weight 5"), server("c", "weight 5"), server("d", "weight 5 maxconn 5")),
        *(server("e", agent), server("f", "disabled"), server("g"), server("i", "maxconn 5")),
    )
    after = (
        *(server("c", "weight 4"), server("a", "weight 6"), server("d", "weight 4 maxconn 6")),
        *(server("e", f"disabled {agent}"), server("f"), server("h"), server("i", "maxconn 6")),
    )
    plan = between(backend(*before), backend(*after))
    assert [s for s in steps(plan) if not isinstance(s, AddServer)] == [
        SetWeight(backend="b", server="a", weight=6),
        SetMaxconn(backend="b", server="d", maxconn=6),
        SetState(backend="b", server="f", state=Admin.READY),
        SetMaxconn(backend="b", server="i", maxconn=6),
        SetWeight(backend="b", server="c", weight=4),
        SetWeight(backend="b", server="d", weight=4),
        SetState(backend="b", server="e", state=Admin.MAINT, agent=True),
        RetireServer(backend="b", server="g", delete=True),
    ]
    assert [type(s) for s in steps(plan)].index(AddServer) == 3
    words, _ = told(plan)
    assert words == (
        "a: weight 5 -> 6",
        "d: weight 5 -> 4, maxconn 5 -> 6",
        "f: enabled",
        "h added",
        "i: maxconn 5 -> 6",
        "c: weight 5 -> 4",
        "e: disabled",
        "g removed (deregistered)",
    )


def test_what_goes_goes_at_once_while_another_one_serves_until_the_reload() -> None:
    later = server("h", "resolvers r")  # only a reload adds it
    for kept, is_so in (
        (("weight 5", "weight 6"), SetWeight(backend="b", server="a", weight=6)),
        (("disabled", ""), SetState(backend="b", server="a", state=Admin.READY)),
    ):
        before, after = (server("a", words) for words in kept)
        plan = between(backend(before, server("g")), backend(after, later))
        assert steps(plan) == (is_so, RetireServer(backend="b", server="g", delete=True))
        assert told(plan)[1][0].startswith("h added: ")
    # One that is enabled now serves, though something else of it waits.
    off, on = server("a", "disabled maxconn 5 minconn 2"), server("a", "maxconn 6 minconn 2")
    enabled = SetState(backend="b", server="a", state=Admin.READY)
    assert steps(between(backend(off, server("g")), backend(on)))[:1] == (enabled,)
    assert len(steps(between(backend(off, server("g")), backend(on)))) == 2
    # Where nothing that should serve does, what served goes on.
    assert steps(between(backend(server("g")), backend(later))) == ()


def test_values_that_only_a_reload_changes_are_told_server_by_server() -> None:
    before = backend(server("a", "weight 5 maxconn 5"), server("c"), server("d"))
    other = HEAD.replace("1s", "2s")
    plan = between(before, backend(server("a", "weight 6 maxconn 6"), server("c"), head=other))
    assert isinstance(plan, RuntimePlan)
    assert told(plan)[1] == (
        "defaults: `timeout connect 1s` removed",
        "defaults: `timeout connect 2s` added",
        "a: weight 5 -> 6, maxconn 5 -> 6: its section changed",
    )
    checked = server("a", "check"), server("c", "check")
    moved = tuple(line.replace("10.0.0.", "10.0.1.") for line in checked)
    reasons = reload_reasons(between(backend(*checked), backend(*moved)))
    assert [why.split(": ")[1] for why in reasons] == ["server a", "server c"]
    assert {why.split(": ")[-1] for why in reasons} == {
        "no other server stays to serve until it is checked there"
    }


def test_a_number_that_comes_or_goes_is_a_reload() -> None:
    plain = "    server a 10.0.0.97:80\n"
    for before, after, why in (
        (plain, server("a"), "id none -> 97"),
        (server("a"), plain, "id 97 -> none"),
    ):
        assert reload_reasons(between(backend(before), backend(after))) == (f"{PREFIX}a: {why}",)


def test_a_server_that_is_in_a_block_before_or_after_is_not_guessed() -> None:
    begin, end = "    .if defined(V)\n", "    .endif\n"
    inside = (begin, server("c"), server("a"), end)
    outside = (begin, server("c"), end, server("a"))
    for before, after in ((inside, outside), (outside, inside)):
        plan = between(backend(*before), backend(*after))
        assert steps(plan) == ()
        assert reload_reasons(plan) == (f"{PREFIX}a: changed, and it stands in an `.if` block",)


def test_a_section_in_doubt_that_goes_keeps_its_servers_until_the_reload() -> None:
    doubtful = f"{HEAD}.if defined(V)\nbackend b\n{server('a')}.endif\nbackend c\n"
    assert steps(between(doubtful, f"{HEAD}backend c\n")) == ()


def test_a_server_that_was_added_disabled_is_known_to_be() -> None:
    plan = between(backend(server("a")), backend(server("a"), server("c", "disabled")))
    (step,) = steps(plan)
    assert isinstance(step, AddServer)
    assert servers.added(step).state is Admin.MAINT
    assert servers.added(step).get("nothing") == ""


def test_of_steps_that_a_reload_waits_for_only_the_last_of_a_kind_is_kept() -> None:
    old = configuration.read((backend(server("a"), server("c")),))
    light = SetWeight(backend="b", server="a", weight=1)
    heavy = SetWeight(backend="b", server="a", weight=9)
    off = SetState(backend="b", server="a", state=Admin.MAINT)
    drained = RetireServer(backend="b", server="a", state=Admin.DRAIN, gone=False)
    moved = SetAddress(backend="b", server="a", address="10.0.0.9", port=80)
    added = AddServer(backend="b", server="z", address="10.0.0.9", port=80)
    gone = RetireServer(backend="b", server="z")
    for said, kept in (
        ((light, heavy), (heavy,)),
        ((light, off, heavy), (off, heavy)),
        ((drained, off), (off,)),
        ((off, drained), (drained,)),
        ((moved, light), (moved, light)),
        ((HOSTS, replace(HOSTS, text="")), (replace(HOSTS, text=""),)),
        ((replace(light, server="z"), added), (added,)),
        ((added, replace(light, server="z")), (added, replace(light, server="z"))),
        ((added, gone), ()),
        ((light, replace(gone, server="a")), (replace(gone, server="a"),)),
        ((replace(gone, backend="unheard-of"),), ()),
    ):
        assert runtime.compacted(old, said) == kept, said


def test_a_retired_server_that_is_retired_again_keeps_the_last_word() -> None:
    old = configuration.read((backend(server("a")),))
    again = RetireServer(backend="b", server="y", state=Admin.MAINT, cause="critical")
    (left,) = runtime.leftovers(old, (), (again,), (LEFT,), 5.0)
    assert left == replace(LEFT, state=Admin.MAINT, cause="critical", since=5.0)
    unknown = RetireServer(backend="unheard-of", server="y")
    assert runtime.leftovers(old, (), (unknown,), (LEFT,), 5.0) == (LEFT,)


def test_the_record_of_what_was_done_knows_the_files_beside_it() -> None:
    beside = Surroundings(configs=("/x.cfg", MAIN), texts={"/x.cfg": backend(server("a"))})
    gone = RetireServer(backend="b", server="a")
    plan = RuntimePlan(destinations=(MAIN,), steps=(gone,), reasons=("a goes",))
    target = files("global\n    maxconn 9\n")
    known = planning.done(record("global\n"), plan, target, main=MAIN, now=1.0, around=beside)
    assert known.text == {MAIN: target.files[0].text, "/x.cfg": backend(server("a"))}
    assert known.promoted == known.files == target.digests()
    assert [one.server for one in known.leftovers] == ["a"]
    # What was loaded counts, not what somebody has written there since.
    later = replace(beside, texts={"/x.cfg": backend()})
    known = planning.done(known, plan, target, main=MAIN, now=2.0, around=later)
    assert known.text["/x.cfg"] == backend(server("a"))


def test_defaults_of_servers_are_told_where_they_fold_into_none() -> None:
    folded = f"{HEAD}    default-server maxconn 5\n"
    plan = between(
        backend(server("a"), head=folded), backend(server("a"), head=folded[:-2] + "6\n")
    )
    assert told(plan) == (("a: maxconn 5 -> 6",), ())
    peers = f"{HEAD}peers p\n    default-server ssl\n    bind :90\n"
    assert reload_reasons(between(peers, peers.replace("ssl", "check"))) == (
        "peers p: `default-server ssl` removed",
        "peers p: `default-server check` added",
    )


def test_a_section_in_doubt_is_told_as_a_whole() -> None:
    inside = f"{HEAD}.if defined(V)\nbackend b\n{server('a')}.endif\n"
    outside = f"{HEAD}backend b\n{server('a')}"
    why = "backend b changed, and it stands in an `.if` block"
    for before, after in (
        (inside, outside),
        (outside, inside),
        (inside, inside.replace("1s", "2s")),
        (inside, inside.replace("10.0.0", "10.0.1")),
    ):
        assert why in reload_reasons(between(before, after)), after
    # Its own text is the same where the block begins before it and ends behind it.
    whole = (
        f"{HEAD}backend a\n    retries 1\n    .if 1\n"
        f"backend b\n{server('a')}backend c\n    retries 1\n    .endif\n"
    )
    plain = whole.replace("    .if 1\n", "").replace("    .endif\n", "")
    assert why in reload_reasons(between(whole, plain))
    assert why in reload_reasons(between(plain, whole))
    done = (SetState(backend="b", server="a", state=Admin.MAINT),)
    assert between(inside, inside, steps=done) == NoChange()


def test_a_server_that_comes_where_the_defaults_changed_waits_for_the_reload() -> None:
    before, after = backend(server("a")), backend(server("a"), server("c"))
    assert reload_reasons(between(before, after.replace("1s", "2s"))) == (
        "defaults: `timeout connect 1s` removed",
        "defaults: `timeout connect 2s` added",
        "backend b: server c added: its section changed",
    )


def test_one_that_could_be_added_serves_until_the_reload_adds_the_others() -> None:
    plan = between(backend(server("g")), backend(server("h"), server("k", "resolvers r")))
    assert told(plan)[0] == ("h added", "g removed (deregistered)")


def test_a_tracked_server_stays_until_the_reload_since_its_maintenance_takes_others_along() -> None:
    tracker = "backend c\n    server y 10.0.1.1:80 id 7 "
    before = backend(server("a", "check"), server("g", "check")) + f"{tracker} track b/g\n"
    after = backend(server("a", "check")) + f"{tracker} check\n"
    assert steps(between(before, after)) == ()


def test_a_name_that_the_socket_cannot_be_told_waits_for_the_reload() -> None:
    odd = server("g\\'x")
    assert reload_reasons(between(backend(server("a"), odd), backend(server("a")))) == (
        f"{PREFIX}g\\'x removed (deregistered): its name can't be said over HAProxy's socket",
    )


def test_quotes_and_the_order_of_lines_are_read_as_haproxy_reads_them() -> None:
    line = '    balance "static-rr"\n'
    plan = between(backend(line, server("a")), backend(line, server("a"), server("c")))
    assert reload_reasons(plan) == (
        f"{PREFIX}c added: `balance static-rr` takes no change of servers at runtime",
    )
    lines = "    option redispatch\n", "    retries 3\n"
    plan = between(backend(*lines, server("a")), backend(*lines[::-1], server("a")))
    assert reload_reasons(plan) == ("backend b: the order of lines changed",)


def test_a_server_that_moves_is_known_to_be_there() -> None:
    moved = SetAddress(backend="b", server="a", address="10.0.0.9", port=81)
    old = configuration.read((backend(server("a")),)).bearing("b")
    assert old is not None
    (known,) = runtime.after(old, (moved,))
    assert known.place == ("10.0.0.9", 81)


def test_a_backend_that_comes_under_other_defaults_is_told_beside_what_changed() -> None:
    first, second = HEAD, HEAD.replace("1s", "2s")
    apart, own = "backend a\n    retries {}\n", f"backend b\n{server('a')}"
    plan = between(first + apart.format(1) + second + own, first + apart.format(2) + own + second)
    assert reload_reasons(plan) == (
        "backend a: retries changed from 1 to 2",
        "backend b: what it inherits from `defaults` changed",
    )


def test_defaults_that_inherit_are_followed() -> None:
    base = "defaults base\n    default-server maxconn 5\n"
    for more, name in (
        ("defaults from base\n", ""),
        ("defaults two from base\n", " from two"),
        ("defaults two from base\n", ""),
    ):
        text = f"{base}{more}backend b{name}\n{server('a')}"
        plan = between(text, text.replace("maxconn 5", "maxconn 6"))
        assert told(plan) == (("a: maxconn 5 -> 6",), ()), more
    text = f"defaults from nowhere\nbackend b\n{server('a')}"
    assert reload_reasons(between(text, text + server("c"))) == (
        (
            "backend b changed, and it inherits from a `defaults` that begins with `from nowhere`, "
            "which cannot be followed"
        ),
    )


def test_a_server_in_a_block_or_behind_one_of_defaults_is_told_apart() -> None:
    block = "    .if 1\n    default-server check\n    .endif\n"
    plan = between(backend(block, server("a")), backend(block, server("a"), server("c")))
    assert reload_reasons(plan) == (
        f"{PREFIX}c added: a `default-server` before it stands in an `.if` block",
    )
    begin, end = "    .if 1\n", "    .endif\n"
    plan = between(backend(begin, server("a"), end), backend(begin, server("a"), server("c"), end))
    assert reload_reasons(plan) == (f"{PREFIX}c added: it stands in an `.if` block",)
