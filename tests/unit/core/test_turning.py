"""One comparison: what the registry's words, maps and files beside it do to a plan."""

from dataclasses import replace

import pytest

from confsync.core import planning
from confsync.core.planning import Surroundings
from confsync.domain.catalog import Status
from confsync.domain.change import (
    Admin,
    NoChange,
    ReplaceMap,
    RetireServer,
    RuntimePlan,
    WritePlan,
)
from confsync.domain.running import Leftover
from tests.fakes.runtime import MAIN, MAP, NEW, between, files, loaded, reload_reasons, steps

HEAD = "defaults\n    timeout connect 1s\n"
MAPPED = f"""{HEAD}frontend f
    use_backend %[req.hdr(host),map_str({MAP},b)]
backend b
"""
A = "    server a 10.0.0.1:80 id 1\n"
C = "    server c 10.0.0.3:80 id 3\n"
DRAINED = Leftover(
    backend="b",
    server="y",
    address="10.0.0.2",
    port=80,
    state=Admin.DRAIN,
    cause="maintenance",
    delete=True,
)


@pytest.mark.parametrize("named", ["y", "10.0.0.2:80"])
def test_a_drained_server_leaves_with_the_registrys_last_word(named: str) -> None:
    text = f"{HEAD}backend b\n{A}"
    words = {"b": {named: Status.CRITICAL}}
    assert steps(between(text, text, leftovers=(DRAINED,), absent=words)) == (
        RetireServer(backend="b", server="y", cause="critical", delete=True),
    )


def test_without_the_registrys_words_a_drained_server_stays() -> None:
    config = files(f"{HEAD}backend b\n{A}")
    disk = {f.destination: f.text for f in config.files}
    runs = loaded(config, leftovers=(DRAINED,))
    assert planning.plan(config, disk, runs, main=MAIN, capabilities=NEW) == NoChange()


def test_a_map_alone_is_told_by_its_name() -> None:
    plan = between(MAPPED, MAPPED, maps=("a b\n", "c b\n"))
    assert plan == RuntimePlan(
        destinations=(MAP,),
        steps=(ReplaceMap(destination=MAP, name=MAP, entries=(("c", "b"),), text="c b\n"),),
        reasons=(f"{MAP} changed",),
    )
    # It is as it should be already, put there while a reload waited.
    done = (ReplaceMap(destination=MAP, name=MAP, entries=(("c", "b"),), text="c b\n"),)
    plan = between(MAPPED, MAPPED, maps=("a b\n", "c b\n"), steps=done)
    assert plan == WritePlan(
        destinations=(MAP,), reasons=(f"{MAP} on disk is not what HAProxy runs",)
    )


def test_before_a_reload_servers_change_and_new_map_entries_wait() -> None:
    before, after = MAPPED + A, f"{MAPPED}    retries 2\n{A}"
    plan = between(
        f"{before}backend c\n{A}", f"{after}backend c\n{A}{C}", maps=("a b\n", "a b\nn c\n")
    )
    assert isinstance(plan, RuntimePlan)
    assert plan.reasons == ("backend c: server c added",)
    assert [type(step).__name__ for step in plan.steps] == ["AddServer"]
    assert plan.then is not None
    assert plan.then.reasons == ("backend b: `retries 2` added", f"{MAP} changed")


def test_what_is_loaded_beside_counts_and_has_to_be_known() -> None:
    own = f"backend b\n{A}"
    around = Surroundings(configs=("/x.cfg", MAIN), texts={"/x.cfg": HEAD})
    plan = between(own, own + C, around=around)
    assert [type(step).__name__ for step in steps(plan)] == ["AddServer"]
    assert reload_reasons(between(own, own + C, around=replace(around, texts={}))) == (
        "what HAProxy has loaded is not known as a text",
    )
