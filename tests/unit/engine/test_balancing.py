"""The load balancer's order: of its start, of its end, and of what each death is followed by."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from confsync.errors import CheckRejected, ConfsyncError, TargetUnavailable, VipDenied
from tests.fakes import clock
from tests.fakes.balancer import World

START = [
    "leftovers removed",
    "certificates prepared",
    "nginx checked",
    "nginx starts",
    "agent runs",
    "configuration checked and written",
    "haproxy starts",
    "ready",
    "takes part",
    "address taken",
    "certificates renewed",
]
END = [
    "stopping",
    "leaves",
    "agent ends",
    "address given away",
    "haproxy gets SIGUSR1",
    "nginx gets SIGQUIT",
]

Play = Callable[[World, asyncio.Event], Awaitable[None]]


def play(then: Play | None = None, *, setup: Callable[[World], None] = lambda _: None) -> World:
    """Start one, do something while it serves, and end it."""

    async def whole() -> World:
        world = World()
        setup(world)
        ends, hangup = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(world.balancer.run(ends, hangup))
            while "ready" not in world.log and not task.done():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            if then is not None and not task.done():
                await then(world, hangup)
            ends.set()
        return world

    return clock.run(whole)


def refused(setup: Callable[[World], None]) -> tuple[ConfsyncError, World]:
    """Start one that cannot start; returns why."""
    kept: list[World] = []

    def remember(world: World) -> None:
        kept.append(world)
        setup(world)

    with pytest.raises(BaseExceptionGroup) as caught:
        play(setup=remember)
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        assert len(found.exceptions) == 1, found
        found = found.exceptions[0]
    assert isinstance(found, ConfsyncError)
    return found, kept[0]


def test_everything_starts_in_its_order_and_ends_in_its_order() -> None:
    world = play()
    assert world.log[: len(START)] == START
    assert sorted(world.log[len(START) :]) == sorted(END)
    order = {what: place for place, what in enumerate(world.log)}
    assert order["leaves"] < order["address given away"] < order["haproxy gets SIGUSR1"]
    assert order["agent ends"] < order["haproxy gets SIGUSR1"] < order["nginx gets SIGQUIT"]


class TestStart:
    @pytest.mark.parametrize(
        ("what", "error"),
        [
            ("leftovers removed", VipDenied("no right to set addresses")),
            ("certificates prepared", CheckRejected("none can be used")),
            ("nginx checked", CheckRejected("nginx refuses its files")),
            ("configuration checked and written", CheckRejected("HAProxy refuses")),
        ],
    )
    def test_what_cannot_be_is_the_error_and_nothing_later_begins(
        self, what: str, error: ConfsyncError
    ) -> None:
        found, world = refused(lambda world: world.cannot.update({what: error}))
        assert found is error
        begun = {"takes part", "haproxy starts", "ready", "address taken"}
        assert not begun & set(world.log)
        assert not any(process for process in world.processes.values() if not process._code.done())

    def test_a_haproxy_that_ends_at_once_is_an_error_with_its_words(self) -> None:
        def die(world: World) -> None:
            world.cannot["haproxy starts"] = TargetUnavailable("cannot start haproxy: no such file")

        found, world = refused(die)
        assert isinstance(found, TargetUnavailable)
        assert "haproxy ended at its start: cannot start haproxy" in str(found)
        assert "takes part" not in world.log

    def test_one_that_never_answers_is_an_error_after_its_time(self) -> None:
        def mute(world: World) -> None:
            world.silent = "did not answer"

        found, world = refused(mute)
        assert "did not answer within 20 s of its start: did not answer" in str(found)
        assert "takes part" not in world.log

    def test_a_stop_while_it_starts_ends_what_runs(self) -> None:
        async def whole() -> World:
            world = World()
            world.silent = "not yet"
            ends = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(world.balancer.run(ends, asyncio.Event()))
                await asyncio.sleep(1)
                ends.set()
            return world

        world = clock.run(whole)
        assert "haproxy gets SIGUSR1" in world.log
        assert "takes part" not in world.log


class TestDeaths:
    def test_of_haproxy_gives_the_address_away_before_it_starts_again(self) -> None:
        async def die(world: World, _: asyncio.Event) -> None:
            world.log.clear()
            world.processes["haproxy"].ends(-9)
            await asyncio.sleep(0.001)
            assert world.log == ["address given away"], "at once, not with the next question"
            await asyncio.sleep(5)

        world = play(die)
        assert world.log[:3] == ["address given away", "haproxy starts", "address taken"]

    def test_again_and_again_waits_longer_each_time(self) -> None:
        async def die(world: World, _: asyncio.Event) -> None:
            loop = asyncio.get_running_loop()
            pauses = []
            for _each in range(9):
                world.processes["haproxy"].ends(1)
                began, starts = loop.time(), world.count("haproxy starts")
                while world.count("haproxy starts") == starts:
                    await asyncio.sleep(0.01)
                pauses.append(round(loop.time() - began, 1))
            assert pauses == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 15, 15, 15], abs=0.1)
            await asyncio.sleep(20)
            world.processes["haproxy"].ends(1)
            began, starts = loop.time(), world.count("haproxy starts")
            while world.count("haproxy starts") == starts:
                await asyncio.sleep(0.01)
            assert loop.time() - began == pytest.approx(0.25, abs=0.1)

        play(die)

    def test_a_haproxy_that_hangs_loses_the_address_and_is_then_started_anew(self) -> None:
        async def hang(world: World, _: asyncio.Event) -> None:
            world.log.clear()
            world.silent = "did not answer"
            await asyncio.sleep(0.4)
            assert world.log == [], "one or two misses are no verdict"
            await asyncio.sleep(0.6)
            assert world.log == ["address given away"]
            await asyncio.sleep(11)
            world.silent = ""
            await asyncio.sleep(5)

        world = play(hang)
        assert world.log[:4] == [
            "address given away",
            "haproxy is killed",
            "haproxy starts",
            "address taken",
        ]

    def test_a_miss_between_answers_changes_nothing(self) -> None:
        async def miss(world: World, _: asyncio.Event) -> None:
            world.log.clear()
            for _each in range(20):
                world.silent = "did not answer"
                await asyncio.sleep(0.5)
                world.silent = ""
                await asyncio.sleep(0.26)
            assert world.log == []
            assert all(world.healths)

        play(miss)

    def test_of_nginx_costs_nginx_alone(self) -> None:
        async def die(world: World, _: asyncio.Event) -> None:
            world.log.clear()
            world.processes["nginx"].ends(1)
            await asyncio.sleep(2)
            assert world.log == ["nginx starts"]

        play(die)

    def test_a_failing_failover_is_tried_again_and_haproxy_serves_on(self) -> None:
        def fail(world: World) -> None:
            world.cannot["takes part"] = TargetUnavailable("the device is gone")

        async def mend(world: World, _: asyncio.Event) -> None:
            await asyncio.sleep(1.5)
            assert world.count("takes part") == 4, "after 0, 0.25, 0.75 and 1.75 s"
            assert "address taken" not in world.log
            world.cannot.clear()
            await asyncio.sleep(5)
            assert "address taken" in world.log
            assert world.count("haproxy starts") == 1

        play(mend, setup=fail)

    def test_a_failover_is_clean_before_it_takes_part_again(self) -> None:
        async def fail(world: World, _: asyncio.Event) -> None:
            world.cannot["leftovers removed"] = VipDenied("no device")
            assert world.part is not None
            world.part.fails(RuntimeError("a bug"))
            await asyncio.sleep(2)
            assert world.count("takes part") == 1
            world.cannot.clear()
            await asyncio.sleep(2)
            assert world.log[-3:] == ["leftovers removed", "takes part", "address taken"]

        play(fail)


class TestHangup:
    def test_reads_everything_anew_the_configuration_last(self) -> None:
        async def hup(world: World, hangup: asyncio.Event) -> None:
            world.log.clear()
            hangup.set()
            await asyncio.sleep(0.1)
            assert world.log == [
                "reloading",
                "certificates renewed",
                "nginx checked",
                "nginx reloaded",
                "ready",
                "agent reads anew",
            ]

        play(hup)

    def test_a_web_server_that_refuses_keeps_what_it_serves_and_the_rest_is_read(self) -> None:
        async def hup(world: World, hangup: asyncio.Event) -> None:
            world.cannot["nginx checked"] = CheckRejected("nginx refuses", detail="its words")
            world.log.clear()
            hangup.set()
            await asyncio.sleep(0.1)
            assert "nginx reloaded" not in world.log
            assert world.log[-1] == "agent reads anew"
            assert ("error", "refused, the old stays") in world.said.events

        play(hup)

    def test_whatever_fails_haproxy_serves_on(self) -> None:
        async def read(world: World, hangup: asyncio.Event) -> None:
            world.cannot["certificates renewed"] = OSError("no descriptor is left")
            hangup.set()
            await asyncio.sleep(1)
            assert "agent reads anew" in world.log
            assert "stopping" not in world.log
            assert ("error", "refused, the old stays") in world.said.events

        play(read)

    def test_the_shared_address_hears_nothing_of_it(self) -> None:
        async def hup(world: World, hangup: asyncio.Event) -> None:
            for _each in range(5):
                hangup.set()
                await asyncio.sleep(1)

        world = play(hup)
        assert world.count("address taken") == 1
        assert world.count("address given away") == 1


class TestEnd:
    def test_who_does_not_end_is_told_again_and_then_killed(self) -> None:
        def deaf(world: World) -> None:
            world.deaf.add("haproxy")

        async def whole() -> float:
            loop = asyncio.get_running_loop()
            world = World()
            deaf(world)
            ends = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(world.balancer.run(ends, asyncio.Event()))
                while "ready" not in world.log:
                    await asyncio.sleep(0.01)
                ends.set()
                began = loop.time()
            assert list(dict.fromkeys(world.log))[-4:-1] == [
                "haproxy gets SIGUSR1",
                "haproxy gets SIGTERM",
                "haproxy is killed",
            ]
            assert world.count("haproxy gets SIGUSR1") == 8, "one may be lost to a reload"
            return loop.time() - began

        assert clock.run(whole) < 10, "docker stop waits no longer"

    def test_an_address_that_cannot_be_handed_over_is_taken_off(self) -> None:
        def stuck(world: World) -> None:
            world.refuses_to_leave = True

        world = play(setup=stuck)
        assert "address given away" in world.log
        assert world.log.index("address given away") < world.log.index("haproxy gets SIGUSR1")
        assert ("error", "the address was not handed over") in world.said.events
