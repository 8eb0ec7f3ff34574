"""What is on disk, what runs, what should be: the plan that follows."""

from dataclasses import replace

import pytest

from confsync.core import planning
from confsync.core.planning import Loaded
from confsync.domain.catalog import Status
from confsync.domain.change import NoChange, Plan, ReloadPlan, WritePlan
from confsync.domain.loadbalancer import Backend, LoadBalancer
from confsync.domain.rendered import RenderedConfig, RenderedFile, digest
from confsync.domain.running import Observed, Record, ServerState

MAIN, MAP = "/etc/haproxy/haproxy.cfg", "/etc/haproxy/hosts.map"
A = "backend a\n    server x 10.0.0.1:80\n"
B = "backend a\n    server x 10.0.0.1:80\n    server y 10.0.0.2:80\n"


def config(main: str = A, hosts: str = "a a\n") -> RenderedConfig:
    return RenderedConfig(
        files=(
            RenderedFile(destination=MAIN, text=main, template="t"),
            RenderedFile(destination=MAP, text=hosts, template="m"),
        )
    )


def on_disk(main: str | None = A, hosts: str | None = "a a\n") -> dict[str, str | None]:
    return {MAIN: main, MAP: hosts}


def runs(main: str = A, hosts: str = "a a\n") -> Loaded:
    texts = {MAIN: main, MAP: hosts}
    return Loaded(files={k: digest(v) for k, v in texts.items()}, texts=texts)


def test_all_equal_is_no_change() -> None:
    assert planning.plan(config(), on_disk(), runs(), main=MAIN) == NoChange()


@pytest.mark.parametrize(
    ("target", "disk", "loaded", "expected"),
    [
        (
            config(B),
            on_disk(A),
            runs(A),
            ReloadPlan(destinations=(MAIN,), reasons=("backend a: server y added",)),
        ),
        (  # written, then killed before the reload
            config(B),
            on_disk(B),
            runs(A),
            ReloadPlan(destinations=(), reasons=("backend a: server y added",)),
        ),
        (
            config("# new\n" + A),
            on_disk(A),
            runs(A),
            WritePlan(destinations=(MAIN,), reasons=(f"{MAIN}: comments and blanks only",)),
        ),
        (  # comments were written before: nothing to do
            config("# new\n" + A),
            on_disk("# new\n" + A),
            runs(A),
            NoChange(),
        ),
        (  # a foreign edit that nobody loaded
            config(A),
            on_disk(B),
            runs(A),
            WritePlan(destinations=(MAIN,), reasons=(f"{MAIN} on disk is not what HAProxy runs",)),
        ),
        (
            config(A),
            on_disk(None),
            runs(A),
            WritePlan(destinations=(MAIN,), reasons=(f"{MAIN} is missing",)),
        ),
        (
            config(A, "a b\n"),
            on_disk(A),
            runs(A),
            ReloadPlan(destinations=(MAP,), reasons=(f"{MAP} changed",)),
        ),
        (
            config(A),
            on_disk(A),
            Loaded(why="no record"),
            ReloadPlan(destinations=(), reasons=("no record",)),
        ),
        (
            config(B),
            on_disk(A),
            Loaded(why="no record"),
            ReloadPlan(destinations=(MAIN,), reasons=("no record", "backend a: server y added")),
        ),
        (
            config(A),
            on_disk(None, None),
            Loaded(running=False, why="no socket"),
            WritePlan(
                destinations=(MAIN, MAP),
                reasons=(
                    "HAProxy does not run (no socket): it will start with these files",
                    f"{MAIN} is new",
                    f"{MAP} is new",
                ),
            ),
        ),
        (
            config(A),
            on_disk(A),
            Loaded(running=False, why="no socket"),
            NoChange(reasons=("HAProxy does not run: no socket",)),
        ),
    ],
)
def test_plan(
    target: RenderedConfig, disk: dict[str, str | None], loaded: Loaded, expected: Plan
) -> None:
    assert planning.plan(target, disk, loaded, main=MAIN) == expected


def test_reasons_tell_why_a_server_left() -> None:
    balancer = LoadBalancer(
        backends=(Backend(name="a", slug="a", absent=(("y", Status.MAINTENANCE),)),)
    )
    plan = planning.plan(config(A), on_disk(B), runs(B), main=MAIN, balancer=balancer)
    assert plan == ReloadPlan(
        destinations=(MAIN,), reasons=("backend a: server y removed (maintenance)",)
    )


@pytest.mark.parametrize("loaded", [Loaded(running=False, why="w"), Loaded(why="w")])
def test_without_knowing_what_runs_the_disk_tells_the_reasons(loaded: Loaded) -> None:
    balancer = LoadBalancer(
        backends=(Backend(name="a", slug="a", absent=(("y", Status.MAINTENANCE),)),)
    )
    plan = planning.plan(config(A), on_disk(B), loaded, main=MAIN, balancer=balancer)
    assert plan.reasons[1:] == ("backend a: server y removed (maintenance)",)


def test_reasons_are_bounded() -> None:
    many = "".join(f"backend b{n}\n" for n in range(100))
    plan = planning.plan(config(A + many), on_disk(A), runs(A), main=MAIN)
    assert len(plan.reasons) == planning.MOST_REASONS + 1
    assert plan.reasons[-1] == "and 60 more"
    exactly = "".join(f"backend b{n}\n" for n in range(planning.MOST_REASONS))
    plan = planning.plan(config(A + exactly), on_disk(A), runs(A), main=MAIN)
    assert len(plan.reasons) == planning.MOST_REASONS


WORKER = Observed(running=True, worker_pid=7, worker_started=100.0)
RECORD = Record(files={MAIN: "d"}, text={MAIN: A}, worker_pid=7, worker_started=101.0)
X = ServerState(backend="a", server="x", address="10.0.0.1", port=80, up=True, checked=True)


def loaded(
    record: Record | None,
    observed: Observed = WORKER,
    *,
    older: bool = True,
    servers: tuple[ServerState, ...] | None = (X,),
    main: str | None = A,
) -> Loaded:
    return planning.loaded(record, observed, on_disk(main), older=older, servers=servers, main=MAIN)


def test_the_record_is_believed_while_its_worker_runs() -> None:
    assert loaded(RECORD, older=False, servers=None) == Loaded(files={MAIN: "d"}, texts={MAIN: A})


@pytest.mark.parametrize(
    "record",
    [
        None,
        Record(files={MAIN: "d"}, worker_pid=8, worker_started=100),
        Record(files={MAIN: "d"}, worker_pid=7, worker_started=103),
        Record(files={MAIN: "d"}, worker_pid=7, worker_started=100, place="another container"),
        Record(worker_pid=7, worker_started=100),
    ],
)
def test_else_old_files_that_agree_are_believed(record: Record | None) -> None:
    assert loaded(record) == runs()


@pytest.mark.parametrize(
    ("older", "servers", "why"),
    [
        (False, (X,), "and the files are not older than its worker"),
        (True, None, "and its servers cannot be read"),
        (True, (), "and server a/x of the file does not run"),
    ],
)
def test_doubt_is_not_knowing(
    older: bool, servers: tuple[ServerState, ...] | None, why: str
) -> None:
    found = loaded(None, older=older, servers=servers)
    assert found.files is None
    assert found.why == f"no record of what runs, {why}"
    found = loaded(Record(worker_pid=8), older=older, servers=servers)
    assert found.why == f"HAProxy was restarted or reloaded by others, {why}"


def test_a_server_on_another_address_is_doubt_and_a_host_name_is_not() -> None:
    wrong = ServerState(backend="a", server="x", address="10.0.0.9", port=80, up=True, checked=True)
    assert loaded(None, servers=(wrong,)).why.endswith("server a/x runs with 10.0.0.9:80")
    for name in ("web.example", "3com.example"):
        named = f"backend a\n    server x {name}:80\n"
        assert planning.disagreement(named, (wrong,)) == ""
    six = "backend a\n    server x [fe80::1]:80\n"
    assert planning.disagreement(six, (wrong,)) == "server a/x runs with 10.0.0.9:80"
    assert planning.disagreement(six, (replace(wrong, address="fe80::1"),)) == ""
    spelt = "backend a\n    server x [FE80:0::1]:80\n"
    assert planning.disagreement(spelt, (replace(wrong, address="fe80::1"),)) == ""
    one_digit = "backend a\n    server x 1.0.0.1:80\n"
    assert planning.disagreement(one_digit, (wrong,)) == "server a/x runs with 10.0.0.9:80"


def test_nothing_is_loaded_where_nothing_runs() -> None:
    found = loaded(RECORD, Observed(running=False, why="gone"))
    assert found == Loaded(running=False, why="gone")


def test_a_missing_main_file_is_no_disagreement() -> None:
    assert loaded(None, main=None, servers=()).files == {MAP: digest("a a\n")}


def test_a_server_without_an_address_runs_as_a_dash() -> None:
    """HAProxy shows `-` for a unix socket, and nothing for a name that it could not resolve."""
    for shown in ("-", ""):
        state = ServerState(backend="a", server="x", address=shown, port=80, up=True, checked=True)
        assert planning.disagreement("backend a\n server x web.example:80\n", (state,)) == ""
        assert "runs with" in planning.disagreement(A, (state,))
