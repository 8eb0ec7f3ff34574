import asyncio
import random

import pytest

from confsync.adapters.consul.client import Mode
from confsync.adapters.consul.options import ConsulOptions
from confsync.core.selection import Selection
from confsync.domain.catalog import Status
from confsync.errors import RegistryDenied, Unavailable
from tests.unit.adapters.consul.registry import NODES, SERVICES, Registry, Watching, held

DOWN = Unavailable("Consul is down")
BY_SERVICE = ConsulOptions()
BY_NODE = ConsulOptions(connections=12)
BY_SWEEP = ConsulOptions(connections=5, wait=0.05)
BY_POLL = ConsulOptions(connections=2, wait=0.05)
WAYS = [BY_SERVICE, BY_NODE, BY_SWEEP, BY_POLL]


async def filled(count: int = 3, nodes: int = 1) -> Registry:
    registry = Registry()
    for number in range(1, nodes + 1):
        registry.nodes[f"n{number}"] = f"10.0.0.{number}"
    for number in range(count):
        for node in list(registry.nodes):
            await registry.put(f"s{number}", one=f"s{number}-{node}", node=node)
    return registry


def names(watching: Watching) -> list[str]:
    return [service.name for service in watching.catalog.services]


# The first catalog


async def test_first_catalog_waits_for_every_service() -> None:
    registry = await filled(3)
    await registry.fail(DOWN, "health/service/s1")
    async with Watching(registry) as watching:
        await watching.until(lambda: len(watching.pauses) > 3, "some retries")
        assert watching.catalogs == []
        assert not watching.state.up
        assert watching.state.error == "Consul is down"
        await registry.mend()
        await watching.in_step()
        assert names(watching) == ["s0", "s1", "s2"]
        assert len(watching.catalogs) == 1
        assert watching.state.up
        assert watching.state.error == ""


async def test_registry_down_at_the_start_is_waited_for() -> None:
    registry = await filled(2)
    await registry.fail(DOWN)
    async with Watching(registry) as watching:
        await watching.until(lambda: len(watching.pauses) > 5, "some retries")
        assert watching.catalogs == []
        await registry.mend()
        await watching.in_step()


async def test_empty_registry_is_a_catalog() -> None:
    async with Watching(Registry()) as watching:
        await watching.until(lambda: watching.catalogs, "a catalog")
        assert watching.catalog.services == ()
        assert watching.state.up


# By service


async def test_each_service_has_a_query_of_its_own_and_no_other_path_is_asked() -> None:
    registry = await filled(3)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 4, "all blocking")
    services = {f"health/service/s{n}" for n in range(3)}
    assert {path for path, _, _ in registry.asked} == {SERVICES} | services
    assert len(registry.asked) == 8  # each once at once, and once blocking


async def test_answer_with_equal_content_publishes_nothing() -> None:
    registry = await filled(2)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 3)
        await registry.wake()
        await watching.until(lambda: len(registry.blocked) == 3)
        await registry.put("s0", one="s0-n1")  # its index moves, nothing else
        await watching.until(lambda: len(registry.asked) >= 6 + 3 + 2)
        await watching.quiet()
        assert len(watching.catalogs) == 1


async def test_equal_answer_leaves_the_service_the_very_same_object() -> None:
    registry = await filled(2)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 3)
        await registry.wake("health/service/s0")
        await watching.until(lambda: len(registry.blocked) == 3)
        await registry.put("s1", one="s1-n1", port=81)
        await watching.in_step()
    first, last = (catalog.services[0] for catalog in watching.catalogs)
    assert last is first


async def test_new_service_joins_when_it_is_answered_and_the_others_do_not_wait() -> None:
    registry = await filled(1)
    async with Watching(registry) as watching:
        await watching.in_step()
        await registry.fail(DOWN, "health/service/late")
        await registry.put("late")
        await registry.put("s0", one="s0-n1", port=81)
        await watching.until(lambda: watching.catalog.services[0].instances[0].port == 81)
        assert names(watching) == ["s0"]
        await registry.mend()
        await watching.in_step()


async def test_removed_service_leaves_and_its_query_ends() -> None:
    registry = await filled(2)
    async with Watching(registry) as watching:
        await watching.in_step()
        await registry.remove("s1-n1")
        await watching.in_step()
        await watching.until(lambda: set(registry.blocked) == {SERVICES, "health/service/s0"})
        assert watching.state.denied == ()
        assert all(not service.denied for c in watching.catalogs for service in c.services)


async def test_name_that_comes_back_before_its_query_ended_is_asked_anew() -> None:
    registry = await filled(2)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 3)
        gone = registry.rows.pop(("n1", "s1-n1"))  # from the list alone: s1's own index stays
        await registry.put("s2")
        await watching.until(lambda: names(watching) == ["s0", "s2"])
        assert "health/service/s1" in registry.blocked
        registry.rows["n1", "s1-n1"] = gone
        await registry.put("s3")
        await watching.in_step()
        assert names(watching) == ["s0", "s1", "s2", "s3"]


async def test_queries_of_gone_names_are_cut_when_they_take_the_room() -> None:
    registry = await filled(4)
    async with Watching(registry, ConsulOptions(connections=7)) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 5)
        registry.rows.clear()
        for number in range(4):
            await registry.put(f"t{number}")
        await watching.in_step()
        await watching.until(
            lambda: (
                sorted(registry.blocked) == [SERVICES, *(f"health/service/t{n}" for n in range(4))]
            )
        )


async def test_selection_is_kept_to() -> None:
    registry = await filled(3)
    options = ConsulOptions(selection=Selection(services=("s*",), exclude=("s1",)))
    async with Watching(registry, options) as watching:
        await watching.until(lambda: watching.catalogs)
        assert names(watching) == ["s0", "s2"]
    assert "health/service/s1" not in {path for path, _, _ in registry.asked}


async def test_instances_without_the_tags_are_left_out_and_the_service_is_not_denied() -> None:
    registry = await filled(1)
    options = ConsulOptions(selection=Selection(tags=("public",)))
    async with Watching(registry, options) as watching:
        await watching.until(lambda: watching.catalogs)
        assert watching.catalog.services[0].instances == ()
        assert not watching.catalog.services[0].denied


async def test_name_that_no_path_can_hold_is_told_and_costs_only_itself() -> None:
    registry = await filled(1)
    await registry.put("a/../../agent/self", one="evil")
    async with Watching(registry) as watching:
        await watching.until(lambda: watching.catalogs)
        assert names(watching) == ["s0"]
        assert any("'a/../../agent/self'" in note for note in watching.state.notes)
    assert not [path for path, _, _ in registry.asked if "agent" in path]


# Failures


async def test_error_never_publishes_less_and_pauses_grow() -> None:
    registry = await filled(3)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 4)
        await registry.fail(DOWN)
        await watching.until(lambda: len(watching.pauses) > 40)
        assert len(watching.catalogs) == 1
        assert not watching.state.up
        assert max(watching.pauses) > 3
        assert all(0.25 <= pause <= 30 for pause in watching.pauses)
        await registry.mend()
        await watching.until(lambda: watching.state.up)
        assert len(watching.catalogs) == 1


async def test_after_a_failure_the_index_is_not_sent() -> None:
    registry = await filled(1)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 2)
        await registry.fail(DOWN)
        await watching.until(lambda: len(watching.pauses) > 2)
        await registry.mend()
        registry.asked.clear()
        await watching.until(lambda: len(registry.blocked) == 2)
        first: dict[str, int] = {}
        for path, index, _ in registry.asked:
            first.setdefault(path, index)
        assert first == {SERVICES: 0, "health/service/s0": 0}


async def test_retry_after_is_kept_to() -> None:
    registry = await filled(1)
    await registry.fail(Unavailable("429", retry_after=123))
    async with Watching(registry) as watching:
        await watching.until(lambda: len(watching.pauses) > 2)
        assert min(watching.pauses) >= 123


async def test_denied_token_is_an_error_and_retried() -> None:
    registry = await filled(1)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 2)
        await registry.fail(RegistryDenied("ACL not found"))
        await watching.until(lambda: len(watching.pauses) > 3)
        assert watching.state.error == "ACL not found"
        assert names(watching) == ["s0"]
        await registry.mend()
        await watching.until(lambda: watching.state.up)


async def test_one_failing_query_is_one_piece_of_news() -> None:
    registry = await filled(5)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 6)
        told = len(watching.states)
        await registry.fail(DOWN)
        await watching.until(lambda: len(watching.pauses) > 60)
        assert len(watching.states) == told + 1


async def test_bug_ends_the_watch() -> None:
    registry = await filled(1)

    def broken(_path: str, _mode: Mode) -> None:
        raise ZeroDivisionError

    registry.before = broken
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Watching(registry):
            await asyncio.sleep(5)
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize("options", WAYS)
async def test_failing_query_of_a_name_that_is_gone_is_given_up(options: ConsulOptions) -> None:
    registry = await filled(10)
    async with Watching(registry, options) as watching:
        await watching.in_step()
        await registry.fail(DOWN, "health/service/s1")
        await registry.put("s1", one="s1-n1", port=81)
        await watching.until(lambda: not watching.state.up)
        await registry.remove("s1-n1")
        await watching.until(lambda: watching.state.up)
        await watching.in_step()


async def test_answer_of_a_name_that_is_gone_meanwhile_is_dropped() -> None:
    registry = await filled(2)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 3)
        path = "health/service/s1"
        registry.held[path] = asyncio.Event()
        registry.asked.clear()
        await registry.put("s1", one="s1-n1", port=81)
        await watching.until(lambda: path not in registry.blocked)
        await registry.remove("s1-n1")
        await watching.in_step()
        registry.held.pop(path).set()
        await watching.quiet(100)
        assert names(watching) == ["s0"]


# Reset


@pytest.mark.parametrize("options", WAYS)
async def test_registry_back_empty_is_published_with_the_fall(options: ConsulOptions) -> None:
    registry = await filled(10, nodes=2)
    async with Watching(registry, options) as watching:
        await watching.in_step()
        await registry.fail(DOWN)
        await watching.until(lambda: watching.pauses)
        await registry.restart()
        await registry.mend()
        await watching.until(lambda: watching.catalog.services == ())
        assert watching.catalog.index_fell
        await registry.put("s0")
        await watching.in_step()
        await registry.put("s0", port=81)
        await watching.in_step()
        assert not watching.catalog.index_fell


async def test_registry_back_with_half_a_service_is_published_with_the_fall() -> None:
    registry = await filled(1, nodes=3)
    async with Watching(registry) as watching:
        await watching.in_step()
        await registry.fail(DOWN)
        await watching.until(lambda: watching.pauses)
        await registry.restart()
        await registry.put("s0", one="s0-n1")
        await registry.mend()
        await watching.in_step()
        assert watching.catalog.index_fell


async def test_fall_without_a_change_says_nothing_about_a_later_change() -> None:
    registry = await filled(2)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 3)
        await registry.fail(DOWN)
        await watching.until(lambda: watching.pauses)
        registry.index = 50
        registry._moved = {}
        await registry.mend()
        await watching.until(lambda: watching.state.up and len(registry.blocked) == 3)
        await registry.remove("s1-n1")
        await watching.in_step()
        assert not watching.catalog.index_fell


async def test_fall_while_watching_is_asked_anew_at_once() -> None:
    registry = await filled(1)
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 2)
        registry._moved = {}
        registry.index = 40
        registry.asked.clear()
        await registry.wake()
        await watching.until(lambda: len(registry.blocked) == 2)
        assert (SERVICES, 0, Mode.STALE) in registry.asked
        assert watching.pauses == []


# Indexes


async def test_answers_without_an_index_are_polled() -> None:
    registry = await filled(1)
    registry.indexless = {SERVICES, "health/service/s0"}
    async with Watching(registry) as watching:
        await watching.in_step()
        await watching.until(lambda: len(watching.pauses) > 4)
        assert set(watching.pauses) == {5}
        assert any("without an index" in note for note in watching.state.notes)
        await registry.put("s0", one="s0-n1", port=99)
        await watching.in_step()
        registry.indexless = set()
        await watching.until(lambda: not any("index" in n for n in watching.state.notes))
    assert all(index == 0 for _, index, _ in registry.asked[:6])


async def test_query_that_is_answered_without_end_is_slowed() -> None:
    registry = await filled(1)

    def restless(path: str, _mode: Mode) -> None:
        if path == "health/service/s0":
            registry._released.add(path)

    registry.before = restless
    async with Watching(registry) as watching:
        await watching.until(lambda: len(watching.pauses) > 5)
        assert all(0 < pause < 1 for pause in watching.pauses)


async def test_new_token_is_asked_with_from_the_start() -> None:
    registry = await filled(2)
    registry.hidden.add("s1")
    async with Watching(registry) as watching:
        await watching.until(lambda: watching.state.denied == ("s1",))
        await watching.until(lambda: len(registry.blocked) == 3)
        registry.generation += 1
        registry.hidden.clear()
        await registry.wake()  # the old token's queries run out; no index has moved
        await watching.in_step()
        assert watching.state.denied == ()


# Stale answers


async def test_old_answer_is_asked_again_of_the_leader() -> None:
    registry = await filled(1)
    registry.last_contact = 11
    async with Watching(registry) as watching:
        await watching.in_step()
        assert ("health/service/s0", 0, Mode.DEFAULT) in registry.asked
        assert (SERVICES, 0, Mode.DEFAULT) in registry.asked


async def test_young_stale_answer_is_taken() -> None:
    registry = await filled(1)
    registry.last_contact = 9
    async with Watching(registry) as watching:
        await watching.in_step()
        assert {mode for _, _, mode in registry.asked} == {Mode.STALE}


# Denied


@pytest.mark.parametrize("options", WAYS)
async def test_service_that_turns_unreadable_is_denied_and_keeps_its_instances(
    options: ConsulOptions,
) -> None:
    registry = await filled(10)
    async with Watching(registry, options) as watching:
        await watching.in_step()
        before = watching.catalog.get("s1")
        assert before is not None
        await watching.until(lambda: registry.blocked)
        registry.hidden.add("s1")
        await registry.wake()
        await registry.put("s1", one="s1-n1", port=81)
        await watching.until(lambda: watching.state.denied == ("s1",))
        after = watching.catalog.get("s1")
        assert after is not None
        assert after.denied
        assert after.instances == before.instances
        assert ("health/service/s1", 0, Mode.CONSISTENT) in registry.asked
        registry.hidden.clear()
        await registry.wake()
        await registry.put("s1", one="s1-n1", port=82)
        await watching.in_step()
        assert watching.state.denied == ()


async def test_service_unreadable_from_the_start_does_not_hold_up_the_others() -> None:
    registry = await filled(2)
    registry.hidden.add("s1")
    async with Watching(registry) as watching:
        await watching.until(lambda: watching.catalogs)
        one = watching.catalog.get("s1")
        assert one is not None
        assert (one.denied, one.instances) == (True, ())
        assert watching.state.up


# More services than connections


@pytest.mark.parametrize(
    ("options", "words"),
    [(BY_NODE, "by node"), (BY_SWEEP, "all services anew"), (BY_POLL, "and every 0.05 s")],
)
async def test_way_is_said(options: ConsulOptions, words: str) -> None:
    registry = await filled(10, nodes=3)
    async with Watching(registry, options) as watching:
        await watching.in_step()
        assert any(words in note for note in watching.state.notes)


async def test_two_connections_are_enough() -> None:
    registry = await filled(10, nodes=3)
    async with Watching(registry, BY_POLL) as watching:
        await watching.in_step()
        await registry.check("s1-n1", "critical")
        await watching.in_step()
    assert not [path for path, _, _ in registry.asked if "state" in path]


async def test_by_node_asks_one_query_a_node() -> None:
    registry = await filled(10, nodes=3)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        small = [SERVICES, NODES, "health/state/critical", "health/state/warning"]
        nodes = [f"catalog/node-services/n{n}" for n in (1, 2, 3)]
        await watching.until(lambda: sorted(registry.blocked) == sorted([*small, *nodes]))
        registry.asked.clear()
        await registry.put("s3", one="s3-n2", node="n2", port=99)
        await watching.in_step()
        health = {path for path, _, _ in registry.asked if "health/service" in path}
        assert health == {"health/service/s3"}


async def test_by_node_nodes_come_and_go() -> None:
    registry = await filled(10)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        await registry.node("n2", "10.0.0.2")
        await registry.put("s1", one="s1-n2", node="n2")
        await watching.in_step()
        await registry.node("n2", "10.9.9.9")
        await watching.in_step()
        await registry.node("n2", None)
        await watching.in_step()


async def test_failing_watch_of_a_node_that_is_gone_is_given_up() -> None:
    registry = await filled(10, nodes=2)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        await registry.fail(DOWN, "catalog/node-services/n2")
        await watching.until(lambda: not watching.state.up)
        await registry.node("n2", None)
        await watching.in_step()
        await watching.until(lambda: watching.state.up)


async def test_failing_watch_of_a_way_that_is_left_is_forgotten() -> None:
    registry = await filled(10)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        await registry.fail(DOWN, "health/state/critical")
        await watching.until(lambda: not watching.state.up)
        for number in range(5):
            await registry.remove(f"s{number}-n1")
        await watching.until(lambda: any("of its own" in note for note in watching.state.notes))
        await watching.until(lambda: watching.state.up)
        await watching.in_step()


async def test_service_listed_while_another_way_is_chosen() -> None:
    registry = await filled(10)
    async with Watching(registry, ConsulOptions(connections=12, wait=0.05)) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 5)
        answered: list[str] = []
        slow = asyncio.Event()

        def second_is_slow(path: str, _mode: Mode) -> None:
            if path == NODES:
                answered.append(path)
                if len(answered) == 2:
                    registry.held[NODES] = slow

        registry.before = second_is_slow
        registry.nodes |= {f"n{number}": "10.0.0.1" for number in range(2, 20)}
        await registry.node("n20", "10.0.0.1")
        await watching.until(lambda: len(answered) == 2)
        await registry.put("new")
        await watching.until(lambda: (SERVICES, registry.index, Mode.STALE) in registry.asked)
        del registry.held[NODES]
        slow.set()
        await watching.in_step()
        assert any("all services anew" in note for note in watching.state.notes)


async def test_way_that_is_the_wrong_one_by_the_time_it_is_chosen_is_left() -> None:
    registry = await filled(10)
    registry.held[NODES] = asyncio.Event()
    async with Watching(registry, BY_NODE) as watching:
        await watching.until(lambda: (NODES, 0, Mode.STALE) in registry.asked)
        for number in range(5):
            await registry.remove(f"s{number}-n1")
        await watching.until(lambda: (SERVICES, registry.index, Mode.STALE) in registry.asked)
        registry.held.pop(NODES).set()
        await watching.until(lambda: any("of its own" in note for note in watching.state.notes))
        await watching.in_step()


SLOW_SWEEP = ConsulOptions(connections=5, wait=45)


async def test_sweep_does_not_wait_when_the_list_moves() -> None:
    registry = await filled(10)
    async with Watching(registry, SLOW_SWEEP) as watching:
        await watching.in_step()
        for port in (81, 82, 83):
            await registry.put("s1", one="s1-n1", port=port)
            await watching.in_step()


async def test_too_many_nodes_make_it_a_sweep() -> None:
    registry = await filled(10)
    async with Watching(registry, ConsulOptions(connections=12, wait=0.05)) as watching:
        await watching.in_step()
        for number in range(2, 9):
            await registry.node(f"n{number}", f"10.0.0.{number}")
        await watching.until(
            lambda: any("reads all services anew" in note for note in watching.state.notes)
        )
        await registry.put("s1", one="s1-n5", node="n5")
        await watching.in_step()


async def test_node_whose_name_no_path_can_hold_makes_it_a_sweep() -> None:
    registry = await filled(10)
    registry.nodes["../x"] = "10.0.0.7"
    async with Watching(registry, ConsulOptions(connections=12, wait=0.05)) as watching:
        await watching.in_step()
        assert any("reads all services anew" in note for note in watching.state.notes)


async def test_old_services_stay_published_while_the_way_is_changed_there_and_back() -> None:
    registry = await filled(9)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        await registry.put("s9")
        await watching.until(lambda: any("by node" in note for note in watching.state.notes))
        await watching.in_step()
        for number in range(5, 10):
            await registry.remove(f"s{number}-n1" if number < 9 else "s9-1")
        await watching.until(lambda: any("of its own" in note for note in watching.state.notes))
        await watching.in_step()
        await registry.put("s0", one="s0-n1", port=99)
        await watching.in_step()
    sizes = [len(catalog.services) for catalog in watching.catalogs]
    assert min(sizes[: sizes.index(10)]) == 9
    assert min(sizes) == 5


async def test_sweep_goes_on_though_one_service_fails() -> None:
    registry = await filled(10)
    async with Watching(registry, BY_SWEEP) as watching:
        await watching.in_step()
        await registry.fail(DOWN, "health/service/s1")
        await registry.put("s1", one="s1-n1", port=81)
        await watching.until(lambda: not watching.state.up)
        for port in (82, 83, 84):
            await registry.put("s2", one="s2-n1", port=port)
            await watching.until(lambda: held(watching.catalog)["s2"] == registry.truth()["s2"])
        await registry.mend()
        await watching.in_step()


async def test_status_that_changed_and_changed_back_during_a_read_is_not_kept() -> None:
    registry = await filled(10)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 5)
        path = "health/service/s1"
        # A read, asked for by a new port, sees the check critical and is long on its way. Both of
        # the check's changes fall between two answers of its watch, and the roster has it passing.
        registry.held[path] = asyncio.Event()

        def critical(asked: str, _mode: Mode) -> None:
            if asked == path and path in registry.held:
                registry.checks["n1", "s1-n1"] = "critical"

        registry.before = critical
        registry.asked.clear()
        await registry.put("s1", one="s1-n1", port=81)
        await watching.until(lambda: registry.checks)
        await watching.quiet()
        slow = registry.held.pop(path)
        await registry.check("s1-n1", "passing")
        await watching.until(lambda: len(registry.blocked) == 5)
        await watching.quiet()
        slow.set()
        await watching.in_step()


async def test_instance_that_came_and_went_during_a_read_is_not_kept() -> None:
    registry = await filled(10)
    async with Watching(registry, BY_NODE) as watching:
        await watching.in_step()
        await watching.until(lambda: len(registry.blocked) == 5)
        path = "health/service/s1"
        registry.held[path] = asyncio.Event()
        registry.asked.clear()
        await registry.put("s1", one="brief")
        await watching.until(lambda: (path, 0, Mode.DEFAULT) in registry.asked)
        await watching.quiet()
        slow = registry.held.pop(path)
        await registry.remove("brief")
        await watching.until(lambda: len(registry.blocked) == 5)
        await watching.quiet()
        slow.set()
        await watching.quiet(100)
        assert held(watching.catalog) == registry.truth()


@pytest.mark.parametrize("options", WAYS, ids=["service", "node", "sweep", "poll"])
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_ends_in_step(options: ConsulOptions, seed: int) -> None:
    chance = random.Random(seed)
    registry = await filled(10, nodes=2)
    async with Watching(registry, options) as watching:
        for _ in range(150):
            node = chance.choice(["n1", "n2", "n3"])
            number = chance.randrange(12)
            one = f"s{number}-{node}"
            match chance.randrange(9):
                case 0 | 1 | 2 if node in registry.nodes:
                    await registry.put(f"s{number}", one=one, node=node, port=chance.randrange(9))
                case 3 if (node, one) in registry.rows:
                    await registry.remove(one, node=node)
                case 4 | 5 if (node, one) in registry.rows:
                    status = chance.choice(["passing", "warning", "critical"])
                    await registry.check(one, status, node=node)
                case 6 if node in registry.nodes:
                    await registry.check("", chance.choice(["passing", "critical"]), node=node)
                case 7:
                    gone = node == "n3" and node in registry.nodes and chance.random() < 0.5
                    address = None if gone else f"10.0.0.{chance.randrange(9)}"
                    await registry.node(node, address)
                case 8 if chance.random() < 0.3:
                    await registry.fail(DOWN)
                    await watching.quiet(chance.randrange(9))
                    await registry.mend()
            await watching.quiet(chance.randrange(12))
        await watching.in_step()
        assert all(
            instance.status in Status for s in watching.catalog.services for instance in s.instances
        )
        await watching.until(lambda: watching.state.up)
        assert watching.state.denied == ()
