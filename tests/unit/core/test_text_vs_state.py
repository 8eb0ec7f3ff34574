"""Where equal or nearly equal texts of HAProxy are not equal states: each was met on a real one.

The numbers in the names are those of the list that the project began with.
"""

from dataclasses import replace

import pytest

from confsync.core import planning
from confsync.core.planning import Loaded, Surroundings
from confsync.domain.catalog import Status
from confsync.domain.change import (
    AddServer,
    Admin,
    NoChange,
    Plan,
    ReloadPlan,
    ReplaceMap,
    RetireServer,
    RuntimePlan,
    SetAddress,
    SetState,
    WritePlan,
)
from confsync.domain.rendered import RenderedConfig, RenderedFile, digest
from confsync.domain.running import Capabilities, Leftover, Record
from tests.fakes.runtime import (
    MAIN,
    MAP,
    NEW,
    OLD,
    again,
    between,
    files,
    loaded,
    reload_reasons,
    steps,
)

HEAD = """global
    maxconn 100
defaults
    mode http
    timeout connect 1s
frontend f
    bind :80
    use_backend %[req.hdr(host),map_str(/etc/haproxy/hosts.map,b)]
"""
X = "    server x 10.0.0.1:80 id 70001\n"
Y = "    server y 10.0.0.2:80 id 70002\n"


def backend(*lines: str, head: str = HEAD) -> str:
    return f"{head}backend b\n{''.join(lines)}"


def kinds(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in steps(plan)]


def test_a_server_that_comes_is_added_and_one_that_goes_is_retired() -> None:
    plan = between(backend(X), backend(Y))
    assert plan == RuntimePlan(
        destinations=(MAIN,),
        steps=(
            AddServer(
                backend="b",
                server="y",
                address="10.0.0.2",
                port=80,
                server_id=70002,
                words=("id", "70002"),
            ),
            RetireServer(backend="b", server="x", delete=True),
        ),
        reasons=("backend b: server y added", "backend b: server x removed (deregistered)"),
    )


def test_without_runtime_all_is_a_reload() -> None:
    for capabilities in (None, Capabilities(version="2.4.22"), Capabilities(version="?")):
        plan = between(backend(X), backend(X, Y), capabilities=capabilities)
        assert plan == ReloadPlan(destinations=(MAIN,), reasons=("backend b: server y added",))


@pytest.mark.parametrize("where", ["defaults\n    option external-check\n", ""])
def test_01_external_checks_are_prepared_at_start_only(where: str) -> None:
    own = "" if where else "    option external-check\n"
    before = backend(own, X, head=HEAD + where)
    after = backend(own, X, Y, head=HEAD + where)
    plan = between(before, after)
    assert plan == ReloadPlan(
        destinations=(MAIN,),
        reasons=(
            (
                "backend b: server y added: "
                "with `option external-check` an added server would end HAProxy"
            ),
        ),
    )
    assert kinds(between(after, before)) == ["RetireServer"]


@pytest.mark.parametrize("section", ["peers p", "ring r"])
def test_02_servers_of_peers_and_rings_are_no_backends(section: str) -> None:
    before = f"{HEAD}{section}\n{X}"
    for after in (before + Y, f"{HEAD}{section}\n", before.replace("10.0.0.1", "10.0.0.3")):
        plan = between(before, after)
        assert isinstance(plan, ReloadPlan)
        assert "server" in plan.reasons[0]


def test_03_backups_without_allbackups_go_by_their_order() -> None:
    first, second, third = (f"    server k{n} 10.0.1.{n}:80 backup id 7101{n}\n" for n in (1, 2, 3))
    last = between(backend(X, first, second), backend(X, first, second, third))
    assert kinds(last) == ["AddServer"]
    in_front = between(backend(X, second), backend(X, first, second))
    assert reload_reasons(in_front) == (
        "backend b: server k1 added: a backup server can only come last at runtime",
    )
    swapped = between(backend(X, first, second), backend(X, second, first))
    assert reload_reasons(swapped) == ("backend b: the order of servers changed",)
    every = "    option allbackups\n"
    assert kinds(between(backend(every, X, second), backend(every, X, first, second))) == [
        "AddServer"
    ]
    assert kinds(between(backend(X, first, second), backend(X, second))) == ["RetireServer"]


@pytest.mark.parametrize(
    "line",
    [
        "    balance source\n    hash-type consistent\n",
        "    balance hdr(host)\n    hash-type consistent djb2\n",
        "    balance first\n",
        "    balance random\n",
        "    balance random(3)\n",
        "    stick on src table t\n",
    ],
)
def test_04_what_goes_by_numbers_needs_an_id_on_all(line: str) -> None:
    assert kinds(between(backend(line, X), backend(line, X, Y))) == ["AddServer"]
    assert isinstance(between(backend(line, X, Y), backend(line, X)), RuntimePlan)
    bare = "    server z 10.0.0.3:80\n"
    for before, after in (
        (backend(line, X), backend(line, X, bare)),
        (backend(line, bare), backend(line, bare, X)),
        (backend(line, X, bare), backend(line, X)),
        (backend(line, X, bare), backend(line, bare)),
    ):
        (why,) = reload_reasons(between(before, after))
        assert "numbers, and not all have an `id`" in why
    assert isinstance(between(backend(line, X, Y), backend(line, Y, X)), WritePlan)
    other = bare.replace("z", "w").replace(".3:", ".4:")
    swapped = between(backend(line, bare, other), backend(line, other, bare))
    assert reload_reasons(swapped) == ("backend b: the order of servers changed",)


def test_04_without_balance_it_goes_by_turns_until_3_2_and_by_numbers_from_3_3_on() -> None:
    bare, other = "    server z 10.0.0.3:80\n", "    server w 10.0.0.4:80\n"
    before, after = backend(bare), backend(bare, other)
    assert kinds(between(before, after)) == ["AddServer"]
    plan = between(before, after, capabilities=Capabilities(version="3.3.1"))
    assert "balance random" in reload_reasons(plan)[0]


def test_05_default_server_acts_on_later_lines_only() -> None:
    check = "    default-server check inter 3s weight 7\n"
    plan = between(backend(X, check), backend(X, check, Y))
    (step,) = steps(plan)
    assert isinstance(step, AddServer)
    assert step.words == ("id", "70002", "weight", "7", "check", "inter", "3s")
    assert step.checked
    assert step.weight == 7
    (step,) = steps(between(backend(X, check), backend(X, Y, check)))
    assert isinstance(step, AddServer)
    assert step.words == ("id", "70002")
    assert not step.checked
    # The same line moved over it is another server.
    moved = between(backend(X, check, Y), backend(X, Y, check))
    assert "can't be changed at runtime" in reload_reasons(moved)[0]
    # Written otherwise, folded the same: nothing to do.
    spelt = between(backend(check, Y), backend(Y.replace("\n", " weight 7 inter 3s check\n")))
    assert isinstance(spelt, WritePlan)


def test_06_defaults_count_for_what_stands_behind_them() -> None:
    source = "defaults\n    balance source\n"
    before = backend(X, head=HEAD + source)
    (why,) = reload_reasons(between(before, backend(X, Y, head=HEAD + source)))
    assert why.endswith(
        "`balance source` without `hash-type consistent` takes no change of servers at runtime"
    )
    b, other = f"backend b\n{X}", "defaults\n    mode tcp\n"
    plan = between(f"{HEAD}{b}{other}backend c\n", f"{HEAD}{other}{b}backend c\n")
    assert reload_reasons(plan) == ("backend b: what it inherits from `defaults` changed",)
    assert steps(plan) == ()


def test_06_named_defaults_and_several_files() -> None:
    named = "defaults one\n    balance source\ndefaults two\n    balance roundrobin\n"
    for name, runtime in (("one", False), ("two", True)):
        text = f"{HEAD}{named}backend b from {name}\n{X}"
        plan = between(text, text + Y)
        assert isinstance(plan, RuntimePlan if runtime else ReloadPlan), name
    chained = f"{HEAD}{named}defaults three from one\n    mode http\nbackend b from three\n{X}"
    assert isinstance(between(chained, chained + Y), ReloadPlan)
    unknown = f"{HEAD}backend b from nowhere\n{X}"
    assert isinstance(between(unknown, unknown + Y), ReloadPlan)
    # Defaults carry over from the file before.
    around = Surroundings(
        configs=("/etc/haproxy/00.cfg", MAIN),
        texts={"/etc/haproxy/00.cfg": "defaults\n    balance static-rr\n"},
    )
    plain = f"backend b\n{X}"
    assert isinstance(between(plain, plain + Y), RuntimePlan)
    assert isinstance(between(plain, plain + Y, around=around), ReloadPlan)


def test_07_dynamic_cookies_of_an_added_server_lose_clients() -> None:
    cookie = "    cookie SRV insert dynamic\n    dynamic-cookie-key k\n"
    (why,) = reload_reasons(between(backend(cookie, X), backend(cookie, X, Y)))
    assert why.endswith("with `cookie ... dynamic` clients would lose their server")
    fixed = Capabilities(version="3.2.26", dynamic_cookies=True)
    assert isinstance(
        between(backend(cookie, X), backend(cookie, X, Y), capabilities=fixed), RuntimePlan
    )
    plain = "    cookie SRV insert indirect\n"
    line = Y.replace("\n", " cookie y\n")
    assert isinstance(between(backend(plain, X), backend(plain, X, line)), RuntimePlan)
    (why,) = reload_reasons(between(backend(plain, X), backend(plain, X, line), capabilities=OLD))
    assert why == "backend b: server y added: `cookie` can't be added at runtime"


def test_08_files_of_server_lines_must_be_loaded_already() -> None:
    def tls(server: str, ca: str) -> str:
        return server.replace("\n", f" ssl verify required ca-file {ca}\n")

    before = backend(tls(X, "/a.pem"))
    plan = between(before, backend(tls(X, "/a.pem"), tls(Y, "/a.pem")))
    assert kinds(plan) == ["AddServer"]
    (why,) = reload_reasons(between(before, backend(tls(X, "/a.pem"), tls(Y, "/b.pem"))))
    assert why == "backend b: server y added: `ca-file /b.pem` is not loaded yet"
    (why,) = reload_reasons(between(before, before + Y.replace("\n", " ssl\n")))
    assert why.endswith("`ssl` needs `verify none` or a `ca-file`")
    (step,) = steps(between(before, before + Y.replace("\n", " ssl verify none check\n")))
    assert isinstance(step, AddServer)
    assert "check-ssl" in step.words  # the file's parser would take it from the traffic


def test_09_agents_are_enabled_and_their_weight_is_theirs() -> None:
    agent = " agent-check agent-port 9 agent-inter 1s\n"
    plan = between(backend(X), backend(X, Y.replace("\n", agent)))
    (step,) = steps(plan)
    assert isinstance(step, AddServer)
    assert step.agent
    (gone,) = steps(between(backend(X, Y.replace("\n", agent)), backend(X)))
    assert isinstance(gone, RetireServer)
    assert gone.agent  # to be disabled before maintenance, or it brings the server back
    weighed = between(
        backend(Y.replace("\n", " weight 5" + agent)), backend(Y.replace("\n", " weight 6" + agent))
    )
    assert reload_reasons(weighed)[0].endswith("an agent sets its weight")


@pytest.mark.parametrize(
    "line",
    [
        "    use-server x if { path /x }\n",
        "    http-request deny unless { srv_is_up(b/x) }\n",
        "    http-request deny if { srv_conn(x) gt 5 }\n",
    ],
)
def test_10_a_server_that_other_lines_name_is_not_deleted(line: str) -> None:
    plan = between(backend(line, X, Y), backend(line, Y))
    assert steps(plan) == (RetireServer(backend="b", server="x", gone=False),)
    assert reload_reasons(plan)[0].endswith("another line of the configuration names it")
    assert kinds(between(backend(line, X), backend(line, X, Y))) == ["AddServer"]
    assert kinds(between(backend(line, X, Y), backend(line, X))) == ["RetireServer"]


def test_10_a_tracked_server_takes_its_trackers_along() -> None:
    tracker = f"backend c\n{X.replace('70001', '70009')[:-1]} track b/x\n"
    plan = between(backend(X, Y) + tracker, backend(Y) + tracker)
    assert isinstance(plan, ReloadPlan)
    (why,) = reload_reasons(between(backend(X), backend(X, Y.replace("\n", " track b/x\n"))))
    assert why.endswith("`track` can't be added at runtime")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((X,), ("    .if defined(V)\n", X, "    .endif\n")),
        (
            ("    .if defined(V)\n", X, "    .endif\n"),
            ("    .if defined(V)\n", X, Y, "    .endif\n"),
        ),
        (("    .if defined(V)\n", X, "    .endif\n"), ("    .if defined(W)\n", X, "    .endif\n")),
        (("    .if 1\n", X, "    .else\n", Y, "    .endif\n"), ("    .if 1\n", X, "    .endif\n")),
        (
            ("    .if 1\n    default-server check\n    .endif\n", X),
            ("    .if 1\n    default-server check\n    .endif\n", X, Y),
        ),
        (
            ("    .if 1\n    balance source\n    .endif\n", X),
            ("    .if 1\n    balance source\n    .endif\n", X, Y),
        ),
        (
            ("    .if 1\n    balance leastconn\n    .endif\n", X),
            ("    .if 1\n    balance leastconn\n    .endif\n", X, Y),
        ),
        ((X,), (X, '    server y "${ADDRESS}":80\n')),
        ((X,), (X, '    server y 10.0.0.2:80 weight "$W"\n')),
        ((X,), (X, '    server "${NAME}" 10.0.0.2:80\n')),
    ],
)
def test_11_conditions_and_variables_are_not_guessed(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert isinstance(between(backend(*before), backend(*after)), ReloadPlan)
    same = backend(*after)
    assert between(same, same) == NoChange()
    elsewhere = between(same + "backend c\n", same + "backend c\n" + X)
    assert kinds(elsewhere) == ["AddServer"]


def test_11_sections_in_a_block_are_doubtful_and_so_is_what_inherits_from_one() -> None:
    in_block = f"{HEAD}.if defined(V)\nbackend b\n{X}.endif\n"
    inherits = f"{HEAD}.if defined(V)\ndefaults\n    balance source\n.endif\nbackend b\n{X}"
    for text in (in_block, inherits):
        plan = between(text, text + Y)
        assert isinstance(plan, ReloadPlan)
        assert "`.if` block" in plan.reasons[0]
    after_it = f"{in_block}backend c\n{X}"
    assert isinstance(between(after_it, after_it + Y), RuntimePlan)


@pytest.mark.parametrize(
    "address",
    [
        "web.example:80",
        "unix@/run/x",
        "/x.sock",
        "10.0.0.2",
        "10.0.0.2:+80",
        ":80",
        "[fe80::1%lo]:80",
    ],
)
def test_12_only_ip_addresses_with_a_port_are_added(address: str) -> None:
    plan = between(backend(X), backend(X, f"    server y {address}\n"))
    assert isinstance(plan, ReloadPlan)
    assert kinds(between(backend(X, f"    server y {address}\n"), backend(X))) == ["RetireServer"]


@pytest.mark.parametrize(
    "words", ["sni 'a b'", "sni a;b", "sni <<", "sni 'a\"b'", "ciphers A:!B", "sni a\\ b"]
)
def test_13_what_the_socket_reads_otherwise_is_not_sent(words: str) -> None:
    line = Y.replace("\n", f" {words}\n")
    (why,) = reload_reasons(between(backend(X), backend(X, line)))
    assert why.endswith("can't be said over HAProxy's socket")


def test_13_quotes_that_mean_nothing_are_read_as_haproxy_does() -> None:
    line = "    server y '10.0.0.2:80' \"id\" 70002 wei\\x67ht '5'\n"
    (step,) = steps(between(backend(X), backend(X, line)))
    assert isinstance(step, AddServer)
    assert step.words == ("id", "70002", "weight", "5")


def test_14_a_checked_server_that_moves_is_down_until_its_check_passes() -> None:
    check = X.replace("\n", " check\n")
    moved = check.replace("10.0.0.1", "10.0.0.9")
    assert steps(between(backend(check, Y), backend(moved, Y))) == (
        SetAddress(backend="b", server="x", address="10.0.0.9", port=80, down=True),
    )
    (why,) = reload_reasons(between(backend(check), backend(moved)))
    assert why.endswith("no other server stays to serve until it is checked there")
    away = Y.replace("10.0.0.2", "10.0.0.8")
    assert isinstance(between(backend(check, Y), backend(moved, away)), RuntimePlan | ReloadPlan)
    assert reload_reasons(between(backend(check, Y), backend(moved, away)))
    unchecked = between(backend(X), backend(X.replace(".1:80", ".1:81")))
    assert steps(unchecked) == (SetAddress(backend="b", server="x", address="10.0.0.1", port=81),)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("inter 2s", "inter 3s", "inter 2s -> 3s can't be changed at runtime"),
        ("", "check", "`check` can't be changed at runtime"),
        ("ssl verify none", "", "`ssl`, `verify` can't be changed at runtime"),
        ("resolvers r", "resolvers s", "resolvers r -> s can't be changed at runtime"),
        ("", "id 70009", "id 70001 -> 70009"),
    ],
)
def test_15_another_option_of_a_server_is_a_reload(before: str, after: str, told: str) -> None:
    line = "    server x 10.0.0.1:80 id 70001 {}\n"
    plan = between(backend(line.format(before)), backend(line.format(after)))
    assert plan == ReloadPlan(destinations=(MAIN,), reasons=(f"backend b: server x: {told}",))


def test_15_a_number_that_is_none_is_left_to_haproxys_own_words() -> None:
    plan = between(backend(X), backend(X, Y.replace("70002", "0")))
    assert reload_reasons(plan) == ("backend b: server y added: `id 0` is no number of HAProxy's",)


def test_15_a_number_that_is_still_taken_is_not_given_again() -> None:
    other = Y.replace("70002", "70001")
    plan = between(backend(X), backend(other))
    assert reload_reasons(plan)[0].endswith("its id 70001 is still x's")
    assert steps(plan) == ()  # nobody would serve in between
    renamed = between(backend(X, Y), backend(X.replace("x ", "w "), Y))
    assert isinstance(renamed, ReloadPlan)  # until then x serves what w will
    elsewhere = X.replace("x ", "w ").replace(".1:80", ".3:80")
    assert kinds(between(backend(X, Y), backend(elsewhere, Y))) == ["RetireServer"]
    ours = Leftover(backend="b", server="old", address="1.1.1.1", port=1, server_id=70002)
    (why,) = reload_reasons(between(backend(X), backend(X, Y), leftovers=(ours,)))
    assert why.endswith("its id 70002 is still old's")
    low = "    server z 10.0.0.3:80\n", "    server w 10.0.0.4:80 id 2\n"
    (why,) = reload_reasons(between(backend(low[0]), backend(*low)))
    assert why.endswith("its id 2 may be one that HAProxy gave by itself")


def test_16_files_that_the_configuration_names_are_looked_at() -> None:
    around = Surroundings(named={"/etc/haproxy/acl": "2", "/unknown": "1"})
    plan = between(backend(X), backend(X), named={"/etc/haproxy/acl": "1"}, around=around)
    assert plan == ReloadPlan(
        destinations=(),
        reasons=("/etc/haproxy/acl changed, and HAProxy reads it only when it loads",),
    )
    same = Surroundings(named={"/etc/haproxy/acl": "1"})
    named = {"/etc/haproxy/acl": "1", "/untold": "1"}
    assert between(backend(X), backend(X), named=named, around=same) == NoChange()
    plan = between(backend(X), backend(X, Y), named={"/etc/haproxy/acl": "1"}, around=around)
    assert kinds(plan) == ["AddServer"]  # at once; the rest needs the reload
    assert len(reload_reasons(plan)) == 1


def test_16_a_configuration_beside_that_changed_is_not_loaded_yet() -> None:
    other, now = (
        "defaults\n    default-server inter 1s\n",
        "defaults\n    default-server inter 9s\n",
    )
    old, new = files("backend b\n" + X), files("backend b\n" + X + Y)
    runs = replace(loaded(old), texts={MAIN: old.files[0].text, "/a.cfg": other})

    def planned(text: str, target: RenderedConfig) -> Plan:
        disk = {f.destination: f.text for f in old.files}
        around = Surroundings(configs=("/a.cfg", MAIN), texts={"/a.cfg": text})
        return planning.plan(target, disk, runs, main=MAIN, capabilities=NEW, around=around)

    assert planned(other, old) == NoChange()
    assert planned(f"# said\n{other}", old) == NoChange()
    for target in (old, new):
        why = reload_reasons(planned(now, target))
        assert why == ("/a.cfg changed, and HAProxy reads it only when it loads",)
    for text in (other, now):
        (step,) = steps(planned(text, new))
        assert isinstance(step, AddServer)
        assert step.words == ("id", "70002", "inter", "1s")


def test_16_a_map_of_a_configuration_that_nobody_renders() -> None:
    text, old, new = backend(X), "a b\n", "a b\nc b\n"
    target = RenderedConfig(files=(RenderedFile(destination=MAP, text=new, template="t"),))
    runs = Loaded(files={MAP: digest(old)}, texts={MAIN: text, MAP: old})
    around = Surroundings(configs=(MAIN,), texts={MAIN: text})
    plan = planning.plan(target, {MAP: old}, runs, main=MAIN, capabilities=NEW, around=around)
    assert kinds(plan) == ["ReplaceMap"]
    known = Record(files={MAP: digest(old)}, text={MAIN: text, MAP: old})
    assert isinstance(plan, RuntimePlan)
    done = planning.done(known, plan, target, main=MAIN, now=1.0, around=around)
    assert done.text == {MAIN: text, MAP: new}


def test_18_a_leftover_is_taken_up_again_when_its_options_are_equal() -> None:
    kept = Leftover(
        backend="b",
        server="y",
        address="10.0.0.2",
        port=80,
        server_id=70002,
        weight=5,
        options=("check", "inter", "2s"),
    )
    line = Y.replace("\n", " check inter 2s\n")
    plan = between(backend(X), backend(X, line), leftovers=(kept,))
    (step,) = steps(plan)
    assert isinstance(step, AddServer)
    assert (step.again, step.weight, step.state) == (True, 1, Admin.READY)
    assert plan.reasons == ("backend b: server y is back",)
    for other in (line.replace("2s", "3s"), line.replace("70002", "70003")):
        (why,) = reload_reasons(between(backend(X), backend(X, other), leftovers=(kept,)))
        assert why.endswith("a retired server of that name with other options waits to be deleted")
    elsewhere = line.replace("10.0.0.2", "10.0.0.3").replace("\n", " maxconn 3 weight 5\n")
    (step,) = steps(between(backend(X), backend(X, elsewhere), leftovers=(kept,)))
    assert isinstance(step, AddServer)
    assert (step.again, step.address, step.weight, step.maxconn) == (True, "10.0.0.3", 5, 3)


def test_18_a_backup_comes_back_to_its_old_place_in_the_order() -> None:
    kept = Leftover(
        backend="b",
        server="y",
        address="10.0.0.2",
        port=80,
        server_id=70002,
        options=("backup",),
    )
    backup, other = (line.replace("\n", " backup\n") for line in (Y, X))
    alone = between(backend(), backend(backup), leftovers=(kept,))
    assert kinds(alone) == ["AddServer"]
    (why,) = reload_reasons(between(backend(other), backend(other, backup), leftovers=(kept,)))
    assert why.endswith("a backup server can only come last at runtime")
    every = "    option allbackups\n"
    plan = between(backend(every, other), backend(every, other, backup), leftovers=(kept,))
    assert kinds(plan) == ["AddServer"]


def test_18_leftovers_that_cannot_be_deleted_are_ended_by_a_reload() -> None:
    many = tuple(
        Leftover(backend="b", server=f"s{n}", address="1.1.1.1", port=n + 1) for n in range(3)
    )
    same = backend(X)
    assert between(same, same, leftovers=many, most_leftovers=3) == NoChange()
    in_use = tuple(replace(one, delete=True) for one in many)  # a reload would not end these
    assert between(same, same, leftovers=in_use, most_leftovers=2) == NoChange()
    plan = between(same, same, leftovers=many, most_leftovers=2)
    assert reload_reasons(plan) == ("3 retired servers that cannot be deleted: a reload ends them",)


def test_20_disabled_is_a_state_and_is_never_said_in_an_addition() -> None:
    off = Y.replace("\n", " disabled\n")
    (step,) = steps(between(backend(X), backend(X, off)))
    assert isinstance(step, AddServer)
    assert step.state is Admin.MAINT
    assert "disabled" not in step.words
    assert steps(between(backend(X, off), backend(X, Y))) == (
        SetState(backend="b", server="y", state=Admin.READY),
    )
    assert steps(between(backend(X, Y), backend(X, off))) == (
        SetState(backend="b", server="y", state=Admin.MAINT),
    )
    on = "    default-server disabled\n", Y.replace("\n", " enabled\n")
    (step,) = steps(between(backend(X), backend(X, *on)))
    assert isinstance(step, AddServer)
    assert step.state is Admin.READY
    assert step.words == ("id", "70002")


def test_21_a_map_is_replaced_as_a_whole_between_additions_and_removals() -> None:
    plan = between(backend(X), backend(Y), maps=("a b\n", "# new\nc b\na b\n"))
    assert kinds(plan) == ["AddServer", "ReplaceMap", "RetireServer"]
    assert steps(plan)[1] == ReplaceMap(
        destination=MAP,
        name=MAP,
        entries=(("c", "b"), ("a", "b")),
        text="# new\nc b\na b\n",
    )
    # An order is an order in prefix maps.
    assert kinds(between(backend(X), backend(X), maps=("a b\nc b\n", "c b\na b\n"))) == [
        "ReplaceMap"
    ]
    # Comments are not.
    assert isinstance(between(backend(X), backend(X), maps=("a b\n", "# c\na  b\n")), WritePlan)


def test_21_before_a_reload_a_map_loses_entries_and_gains_none() -> None:
    more = backend(X) + "backend new\n"
    plan = between(backend(X), more, maps=("a b\n", "a b\nn new\n"))
    assert plan == ReloadPlan(
        destinations=(MAIN, MAP), reasons=("backend new added", f"{MAP} changed")
    )
    plan = between(more, backend(X), maps=("a b\nn new\n", "a b\n"))
    assert kinds(plan) == ["ReplaceMap"]
    assert reload_reasons(plan) == ("backend new removed",)


@pytest.mark.parametrize(
    "use",
    [
        "acl a path -f /etc/haproxy/hosts.map",
        "acl a path,map_reg(/etc/haproxy/hosts.map) -m found",
        "acl a path,map_str(/etc/haproxy/hosts.map.old) -m found",
        "acl a path,map_str_int(/etc/haproxy/hosts.map) gt 1",
        "acl a path,map(/etc/haproxy/hosts.map) -f /etc/haproxy/hosts.map",
        "acl a path",
    ],
)
def test_21_a_file_that_is_not_surely_a_map_of_texts_is_a_reload(use: str) -> None:
    text = f"defaults\nfrontend f\n    {use}\nbackend b\n{X}"
    plan = between(text, text, maps=("a b\n", "b b\n"))
    assert plan == ReloadPlan(destinations=(MAP,), reasons=(f"{MAP} changed",))


def test_24_comments_and_blanks_send_nothing() -> None:
    plan = between(backend(X), "# hello\n" + backend("  # there\n", X.replace("  ", " ")))
    assert plan == WritePlan(destinations=(MAIN,), reasons=(f"{MAIN}: comments and blanks only",))


def test_24_what_only_looks_otherwise_sends_nothing() -> None:
    plan = between(backend(X, Y), backend(Y, X))
    assert plan == WritePlan(
        destinations=(MAIN,), reasons=(f"{MAIN}: nothing that HAProxy would run otherwise",)
    )


def test_registry_s_words_decide_how_a_server_leaves() -> None:
    for status, state in (
        (Status.CRITICAL, Admin.MAINT),
        (Status.WARNING, Admin.MAINT),
        (Status.MAINTENANCE, Admin.DRAIN),
    ):
        for name in ("x", "10.0.0.1:80"):
            plan = between(backend(X, Y), backend(Y), absent={"b": {name: status}})
            (step,) = steps(plan)
            assert isinstance(step, RetireServer)
            assert (step.state, step.cause) == (state, status.value)
        # A section of the template's own, with servers of several services.
        plan = between(backend(X, Y), backend(Y), absent={"web": {"10.0.0.1:80": status}})
        (step,) = steps(plan)
        assert isinstance(step, RetireServer)
        assert step.state is state
    unclear = {"v": {"10.0.0.1:80": Status.CRITICAL}, "w": {"10.0.0.1:80": Status.MAINTENANCE}}
    (step,) = steps(between(backend(X, Y), backend(Y), absent=unclear))
    assert isinstance(step, RetireServer)
    assert step.cause == "deregistered"
    # One that is out already is not brought back to drain: clients with its cookie would return.
    off = Y.replace("\n", " disabled\n")
    absent = {"b": {"y": Status.MAINTENANCE}}
    (step,) = steps(between(backend(X, off), backend(X), absent=absent))
    assert isinstance(step, RetireServer)
    assert step.state is Admin.MAINT
    # Maintenance would cut its running requests.
    cut = X.replace("\n", " on-marked-down shutdown-sessions\n")
    (step,) = steps(between(backend(cut, Y), backend(Y)))
    assert isinstance(step, RetireServer)
    assert step.state is Admin.DRAIN


def test_a_drained_server_that_the_registry_loses_is_taken_out_at_once() -> None:
    kept = Leftover(
        backend="b",
        server="y",
        address="10.0.0.2",
        port=80,
        state=Admin.DRAIN,
        cause="maintenance",
        delete=True,
    )
    maintained = {"b": {"10.0.0.2:80": Status.MAINTENANCE}}
    assert between(backend(X), backend(X), leftovers=(kept,), absent=maintained) == NoChange()
    plan = between(backend(X), backend(X), leftovers=(kept,))
    assert plan == RuntimePlan(
        destinations=(),
        steps=(RetireServer(backend="b", server="y", cause="deregistered", delete=True),),
        reasons=("backend b: server y (deregistered)",),
    )
    for other in (replace(kept, cause="critical"), replace(kept, state=Admin.MAINT)):
        assert between(backend(X), backend(X), leftovers=(other,)) == NoChange()


def test_what_is_kept_of_a_drained_server_is_enough_to_take_it_out_later() -> None:
    maintained = {"b": {"10.0.0.2:80": Status.MAINTENANCE}}
    plan = between(backend(X, Y), backend(X), absent=maintained)
    assert isinstance(plan, RuntimePlan)
    known, _ = again(backend(X, Y), backend(X), plan)
    (kept,) = known.leftovers
    assert (kept.state, kept.cause, kept.since) == (Admin.DRAIN, "maintenance", 1.0)
    (step,) = steps(between(backend(X), backend(X), leftovers=(kept,)))
    assert isinstance(step, RetireServer)
    assert (step.server, step.state, step.cause) == ("y", Admin.MAINT, "deregistered")


def test_a_drained_server_that_is_back_is_not_taken_out_again() -> None:
    """The registry has no word for its absence, like for that of one that it lost."""
    kept = Leftover(
        backend="b",
        server="y",
        address="10.0.0.2",
        port=80,
        server_id=70002,
        state=Admin.DRAIN,
        cause="maintenance",
        delete=True,
    )
    plan = between(backend(X), backend(X, Y), leftovers=(kept,))
    (step,) = steps(plan)
    assert isinstance(step, AddServer)
    assert step.again
    # Nor one that only a reload can bring back.
    plan = between(backend(X), backend(X, Y.replace("\n", " rise 9\n")), leftovers=(kept,))
    assert steps(plan) == ()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("    maxconn 5 minconn 2", "    maxconn 6 minconn 2", "`minconn` goes with its maxconn"),
        ("    weight 5", "    weight 6", ""),
        ("    maxconn 5", "    maxconn 6", ""),
    ],
)
def test_values_change_in_place(before: str, after: str, told: str) -> None:
    old, new = (X.replace("\n", f"{w}\n") for w in (before, after))
    plan = between(backend(old), backend(new))
    assert kinds(plan) == ([] if told else ["SetWeight" if "weight" in before else "SetMaxconn"])
    if told:
        assert reload_reasons(plan)[0].endswith(told)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("    email-alert to a@b\n", "`email-alert` would not know an added server"),
        ("    mode log\n", "`mode log` is not known to leave its servers alone"),
        ("    disabled\n", "it is disabled"),
        (
            "    balance unheard-of\n",
            "`balance unheard-of` is not known to leave its servers alone",
        ),
        ("    option unheard-of\n", "`option unheard-of` is not known to leave its servers alone"),
        ("    option\n", "`option` is not known to leave its servers alone"),
        ("    unheard-of 1\n", "`unheard-of` is not known to leave its servers alone"),
        ('    "$V" 1\n', '`"$V"` is not known to leave its servers alone'),
        (
            "    .if 1\n    option allbackups\n    .endif\n",
            "`option allbackups` stands in an `.if` block",
        ),
        ("    balance static-rr\n", "`balance static-rr` takes no change of servers at runtime"),
    ],
)
def test_lines_that_forbid_an_addition(line: str, told: str) -> None:
    assert reload_reasons(between(backend(line, X), backend(line, X, Y))) == (
        f"backend b: server y added: {told}",
    )
    plan = between(backend(line, X, Y), backend(line, X))
    assert kinds(plan) == ["RetireServer"]  # at once, in any section


@pytest.mark.parametrize(
    "line",
    [
        "    no option httpclose\n",
        "    default option redispatch\n",
        "    cookie S insert\n",
        "    .notice hello\n",
        "    hash-type consistent\n",
        "    balance leastconn\n    mode tcp\n",
        "    option tcp-check\n    tcp-check connect port 5\n",
        "    no log\n",
    ],
)
def test_lines_that_do_not(line: str) -> None:
    assert kinds(between(backend(line, X), backend(line, X, Y))) == ["AddServer"]


def test_sections_that_come_go_and_change_are_reloads_and_the_rest_is_done_at_once() -> None:
    other = "backend c\n    server o 10.0.0.7:80 id 70007\n"
    plan = between(backend(X), backend(X, Y) + other)
    assert kinds(plan) == ["AddServer"]
    assert reload_reasons(plan) == ("backend c added with 1 server",)
    assert isinstance(plan, RuntimePlan)
    assert plan.destinations == ()
    assert plan.then is not None
    assert plan.then.destinations == (MAIN,)
    # What the registry took away is not asked until the reload, unless it only has a new name.
    assert steps(between(backend(X) + other, backend(X))) == (
        RetireServer(backend="c", server="o", gone=False),
    )
    assert (
        steps(between(backend(X) + other, backend(X) + other.replace("backend c", "backend d")))
        == ()
    )
    changed = between(backend(X, Y), backend("    balance leastconn\n", X))
    assert steps(changed) == (RetireServer(backend="b", server="y", gone=False),)
    assert reload_reasons(changed) == ("backend b: `balance leastconn` added",)
    replaced = between(backend(X), backend("    balance leastconn\n", Y))
    assert steps(replaced) == ()  # y waits for the reload, so x serves until then
    for old, new in ((HEAD, HEAD.replace("100", "200")), (HEAD, HEAD + "frontend g\n")):
        found = between(backend(X, head=old), backend(X, Y, head=new))
        assert kinds(found) == ["AddServer"]
        assert len(reload_reasons(found)) == 1
    swapped = between(backend(X) + other, HEAD + other + f"backend b\n{X}")
    assert reload_reasons(swapped) == ("the order of sections changed",)
    defaults = between(backend(X), backend(X, head=HEAD.replace("connect 1s", "connect 2s")))
    assert reload_reasons(defaults) == (
        "defaults: `timeout connect 1s` removed",
        "defaults: `timeout connect 2s` added",
    )
    weighed = X.replace("\n", " weight 3\n")
    moved = between(backend(X), backend(weighed, head=HEAD + "defaults\n"))
    assert reload_reasons(moved)[0] == "defaults added"


def test_a_section_that_changed_otherwise_changes_no_server_at_runtime() -> None:
    old = f"{HEAD}defaults\n    mode tcp\nbackend b\n{X}"
    new = f"{HEAD}defaults\n    mode tcp\ndefaults\n    mode http\nbackend b\n"
    heavier = X.replace("\n", " weight 3\n")
    plan = between(old, new + heavier + Y)
    assert steps(plan) == ()
    assert reload_reasons(plan)[0] == "defaults added"


def test_two_servers_of_one_name_are_left_to_haproxys_own_words() -> None:
    plan = between(backend(X), backend(X, X))
    assert reload_reasons(plan) == ("backend b: two servers have one name",)


def test_templates_of_servers_change_by_a_reload_only() -> None:
    line = "    server-template t 1-{} 10.0.0.1:80\n"
    plan = between(backend(line.format(2)), backend(line.format(3)))
    assert isinstance(plan, ReloadPlan)
    same = backend(line.format(2), X)
    assert kinds(between(same, same + Y)) == ["AddServer"]
    check = "    default-server check\n"
    moved = between(backend(check, line.format(2)), backend(line.format(2), check))
    assert reload_reasons(moved) == ("backend b: what `server-template` lines make changed",)


def test_a_long_line_is_not_cut() -> None:
    small = Capabilities(version="3.2.1", line=60)
    long = Y.replace("\n", f" sni str({'a' * 30})\n")
    assert kinds(between(backend(X), backend(X, Y), capabilities=small)) == ["AddServer"]
    (why,) = reload_reasons(between(backend(X), backend(X, long), capabilities=small))
    assert why.endswith("its line is longer than HAProxy's socket takes")


def test_what_the_build_says_of_its_words_counts() -> None:
    line = Y.replace("\n", " check inter 2s\n")
    for words, runtime in (({"check", "inter"}, True), ({"check"}, False)):
        build = Capabilities(version="3.2.1", words=frozenset(words))
        plan = between(backend(X), backend(X, line), capabilities=build)
        assert isinstance(plan, RuntimePlan if runtime else ReloadPlan)


def test_new_files_and_maps_that_cannot_be_said_are_reloads() -> None:
    new = between(backend(X), backend(X), maps=("a b\n", "a \x01\n"))
    assert new == ReloadPlan(destinations=(MAP,), reasons=(f"{MAP} changed",))
    before, after = files(backend(X)), files(backend(X), "a b\n")
    plan = planning.plan(after, {MAIN: backend(X)}, loaded(before), main=MAIN, capabilities=NEW)
    assert plan == ReloadPlan(destinations=(MAP,), reasons=(f"{MAP} is new",))


def test_without_the_loaded_text_nothing_is_compared() -> None:
    config = files(backend(X))
    unknown = Loaded(files={MAIN: "other"}, texts={})
    plan = planning.plan(config, {MAIN: backend(X)}, unknown, main=MAIN, capabilities=NEW)
    assert reload_reasons(plan) == ("what HAProxy has loaded is not known as a text",)
    around = Surroundings(configs=("/x.cfg", MAIN))
    assert isinstance(between(backend(X), backend(Y), around=around), ReloadPlan)


def test_a_record_of_what_was_done_needs_nothing_more() -> None:
    before, after = backend(X), backend(Y)
    plan = between(before, after)
    assert isinstance(plan, RuntimePlan)
    known, later = again(before, after, plan)
    assert later == NoChange()
    assert known.steps == ()
    (left,) = known.leftovers
    assert (left.server, left.since, left.delete) == ("x", 1.0, True)
    assert planning.deleted(known, "b", "x").leftovers == ()
    assert planning.deleted(known, "b", "y").leftovers == (left,)
    # With a reload to come, what was loaded is kept, and the steps beside it.
    after += "backend c\n"
    plan = between(before, after)
    assert isinstance(plan, RuntimePlan)
    known, later = again(before, after, plan)
    assert known.steps == plan.steps
    assert later == plan.then
    back = between(before, before, steps=known.steps, leftovers=known.leftovers)
    assert kinds(back) == ["AddServer", "RetireServer"]
    assert [getattr(s, "again", None) for s in steps(back)] == [True, None]


def test_maps_that_were_replaced_while_a_reload_waits_are_not_again() -> None:
    done = ReplaceMap(destination=MAP, name=MAP, entries=(("c", "b"),), text="c b\n")
    text = backend(X)
    assert isinstance(
        between(text, text, maps=("a b\n", "c b\n"), steps=(done,)), WritePlan | NoChange
    )
    plan = between(text, text, maps=("a b\n", "a b\n"), steps=(done,))
    assert kinds(plan) == ["ReplaceMap"]
    emptied = replace(done, entries=(), text="")
    plan = between(text, text, maps=("a b\n", "a b\n"), steps=(emptied,))
    assert kinds(plan) == ["ReplaceMap"]


def test_what_was_changed_at_runtime_is_not_forgotten_where_nothing_more_can_be() -> None:
    done = SetState(backend="b", server="x", state=Admin.MAINT)
    plan = between(backend(X), backend(X), capabilities=None, steps=(done,))
    assert plan == ReloadPlan(
        destinations=(),
        reasons=("what was changed at runtime can't be now: only a reload brings it in step",),
    )
