"""What serves is never given up for what might not: the keeping of certificates, on fakes."""

from dataclasses import dataclass, field

import pytest

from confsync.core.tls import DAY, Unfit
from confsync.engine.certificates import Certificates
from confsync.errors import CheckRejected, TargetUnavailable, WriteError
from tests.fakes.certificates import COPIES, SELF, SOURCE, Files, Maker, Served, Told, bundle


@dataclass
class World:
    files: Files = field(default_factory=Files)
    served: Served = field(default_factory=Served)
    maker: Maker = field(default_factory=Maker)
    told: Told = field(default_factory=Told)
    now: float = 1_000.0
    reloads: list[str] = field(default_factory=list)
    needed: bool = True

    def __post_init__(self) -> None:
        self.keeper = Certificates(
            self.files,
            self.served,
            self.maker,
            self.told,
            directory=COPIES,
            source=SOURCE,
            self_signed=SELF,
            needed=self.needed,
            reload=self.reloads.append,
            clock=lambda: self.now,
        )

    async def start(self, *names: str) -> None:
        """Begin with some files, and a HAProxy that has loaded their copies."""
        self.files.given = {f"{name}.pem": bundle(name) for name in names}
        await self.keeper.prepare()
        self.served.load(self.files)
        assert (await self.keeper.renew()).taken == ()
        assert self.served.told == []


@pytest.fixture
def world() -> World:
    return World()


async def test_before_a_start_what_is_good_is_copied_and_the_rest_told(world: World) -> None:
    world.files.given = {"a.pem": bundle("a"), "b.pem": Unfit("it is bad")}
    world.files.copies = {"old.pem": bundle("old"), "self.pem": bundle("self")}
    await world.keeper.prepare()
    assert world.files.copies == {"a.pem": bundle("a")}
    (refused,) = world.told.of("certificate refused")
    assert refused == {"path": f"{SOURCE}/b.pem", "why": "it is bad"}
    assert world.maker.asked == 0


async def test_before_a_start_the_last_good_copy_stands_in(world: World) -> None:
    world.files.given = {"a.pem": Unfit("it is bad")}
    world.files.copies = {"a.pem": bundle("a")}
    await world.keeper.prepare()
    assert world.files.copies == {"a.pem": bundle("a")}


async def test_given_but_all_bad_makes_none_up(world: World) -> None:
    world.files.given = {"a.pem": Unfit("it is bad")}
    with pytest.raises(CheckRejected) as caught:
        await world.keeper.prepare()
    assert caught.value.detail == f"{SOURCE}/a.pem: it is bad"
    assert (world.files.copies, world.maker.asked) == ({}, 0)


async def test_without_any_one_is_made_loudly(world: World) -> None:
    world.files.copies = {"gone.pem": bundle("gone")}
    await world.keeper.prepare()
    assert world.files.copies == {"self.pem": bundle("self")}
    ((level, text, fields),) = world.told.events
    assert level == "warning"
    assert "nobody has signed" in text
    assert SOURCE in str(fields["remedy"])


async def test_where_haproxy_asks_for_none_nothing_is_made() -> None:
    world = World(needed=False)
    await world.keeper.prepare()
    world.files.given = {"a.pem": Unfit("it is bad")}
    await world.keeper.prepare()
    assert (world.files.copies, world.maker.asked) == ({}, 0)


async def test_a_renewed_file_is_taken_once(world: World) -> None:
    await world.start("a", "b")
    world.files.given["a.pem"] = bundle("a2")
    renewal = await world.keeper.renew()
    assert (renewal.taken, renewal.reload) == ((f"{COPIES}/a.pem",), ())
    assert world.served.told == [f"replace {COPIES}/a.pem"]
    assert world.files.copies["a.pem"] == bundle("a2")
    assert (await world.keeper.renew()).taken == ()
    assert len(world.served.told) == 1
    assert world.reloads == []


async def test_looking_again_costs_no_read(world: World) -> None:
    await world.start("a", "b")
    reads = world.files.reads
    for _ in range(5):
        await world.keeper.renew()
    assert world.files.reads == reads


async def test_a_new_chain_under_the_same_certificate_is_taken(world: World) -> None:
    await world.start("a")
    world.files.given["a.pem"] = bundle("a", chain=1)
    assert (await world.keeper.renew()).taken == (f"{COPIES}/a.pem",)


@pytest.mark.parametrize(
    ("dates", "words"), [((0, 500), "it ended"), ((1_001, 2_000), "it begins in")]
)
async def test_dates_are_haproxys_to_read_and_ours_to_judge(
    world: World, dates: tuple[float, float], words: str
) -> None:
    await world.start("a")
    world.served.dates["a2"] = dates
    world.files.given["a.pem"] = bundle("a2")
    for _ in range(2):
        renewal = await world.keeper.renew()
        assert renewal.taken == ()
        assert renewal.refused[0].startswith(f"{SOURCE}/a.pem: {words}")
        assert world.served.has[f"{COPIES}/a.pem"].fingerprint == "F-a"
        assert world.files.copies["a.pem"] == bundle("a")
        world.now += 0.1
    assert len(world.told.of("certificate refused")) == 1  # said once
    # A clock that was late: looked at again within a minute, though the file is the same.
    world.now += 61
    assert len((await world.keeper.renew()).taken) == (dates[0] > 1_000)


async def test_bad_then_good_again(world: World) -> None:
    await world.start("a")
    world.files.given["a.pem"] = Unfit("it is cut")
    assert (await world.keeper.renew()).refused == (f"{SOURCE}/a.pem: it is cut",)
    assert world.keeper.standing().refused == (f"{SOURCE}/a.pem: it is cut",)
    world.files.given["a.pem"] = bundle("a")
    assert (await world.keeper.renew()).refused == ()
    assert world.served.told == []


async def test_names_that_a_renewal_lost_are_told(world: World) -> None:
    await world.start("a")
    world.served.names["a2"] = ("c.test",)
    world.files.given["a.pem"] = bundle("a2")
    await world.keeper.renew()
    (lost,) = world.told.of("a renewed certificate has lost names")
    assert lost["names"] == "a.test"


async def test_what_the_socket_cannot_do_asks_for_one_reload(world: World) -> None:
    await world.start("a")
    world.files.given["a.pem"] = bundle("long")
    for _ in range(3):
        renewal = await world.keeper.renew()
        assert renewal.reload == (f"{COPIES}/a.pem is too long",)
        world.now += 61
    assert world.reloads == [f"{COPIES}/a.pem is too long"]
    assert world.files.copies["a.pem"] == bundle("long")
    world.served.load(world.files)
    assert (await world.keeper.renew()).reload == ()
    assert len(world.reloads) == 1


async def test_after_somebodys_reload_all_is_compared_anew(world: World) -> None:
    await world.start("a")
    world.files.given["a.pem"] = bundle("a2")
    await world.keeper.renew()
    # The new worker had loaded the copy of before.
    world.files.copies["a.pem"] = bundle("a")
    world.served.load(world.files)
    assert (await world.keeper.renew()).taken == (f"{COPIES}/a.pem",)
    assert world.served.has[f"{COPIES}/a.pem"].fingerprint == "F-a2"


async def test_one_more_and_one_less(world: World) -> None:
    await world.start("a", "b")
    world.files.given["c.pem"] = bundle("c")
    assert (await world.keeper.renew()).taken == (f"{COPIES}/c.pem",)
    assert world.served.told == [f"add {COPIES}/c.pem"]
    del world.files.given["b.pem"]
    assert (await world.keeper.renew()).gone == ()
    world.now += 59
    assert (await world.keeper.renew()).gone == ()
    world.now += 2
    assert (await world.keeper.renew()).gone == (f"{COPIES}/b.pem",)
    assert set(world.files.copies) == {"a.pem", "c.pem"}
    assert world.reloads == []


async def test_what_comes_back_in_time_was_never_gone(world: World) -> None:
    await world.start("a", "b")
    del world.files.given["b.pem"]
    await world.keeper.renew()
    world.now += 40
    world.files.given["b.pem"] = bundle("b")
    await world.keeper.renew()
    del world.files.given["b.pem"]
    world.now += 40
    assert (await world.keeper.renew()).gone == ()


async def test_the_last_ones_stay(world: World) -> None:
    await world.start("a", "b")
    world.files.given.clear()
    for _ in range(3):
        renewal = await world.keeper.renew()
        assert (renewal.gone, renewal.reload) == ((), ())
        assert "those that were, serve on" in renewal.refused[0]
        world.now += 100
    assert len(world.served.has) == 2


async def test_a_made_up_one_gives_way_to_a_real_one(world: World) -> None:
    await world.start()
    assert list(world.served.has) == [SELF]
    world.files.given["a.pem"] = Unfit("it is bad")
    await world.keeper.renew()
    assert list(world.served.has) == [SELF]  # to a real one only
    world.files.given["a.pem"] = bundle("a")
    renewal = await world.keeper.renew()
    assert renewal.taken == (f"{COPIES}/a.pem",)
    assert world.reloads == [f"{SELF} is the default"]
    assert set(world.files.copies) == {"a.pem"}


async def test_a_haproxy_that_cannot_be_asked_is_waited_for(world: World) -> None:
    await world.start("a")
    world.files.given["a.pem"] = bundle("a2")
    world.served.error = TargetUnavailable("nobody listens")
    renewal = await world.keeper.renew()
    assert (renewal.taken, renewal.waits) == ((), "nobody listens")
    world.served.error = None
    assert (await world.keeper.renew()).taken == (f"{COPIES}/a.pem",)


async def test_a_copy_that_cannot_be_written_is_tried_again(world: World) -> None:
    await world.start("a")
    world.files.given["a.pem"] = bundle("a2")
    world.files.error = WriteError("the disk is full")
    for _ in range(2):
        with pytest.raises(WriteError):
            await world.keeper.renew()
        assert world.served.has[f"{COPIES}/a.pem"].fingerprint == "F-a2"
        world.now += 61
    world.files.error = None
    await world.keeper.renew()
    assert world.files.copies["a.pem"] == bundle("a2")


async def test_an_operators_own_folders_are_followed_without_copies(world: World) -> None:
    world.files.elsewhere = {"/own/a.pem": bundle("a"), "/one.pem": bundle("one")}
    world.served.folders = ("/own",)
    for path, made in world.files.elsewhere.items():
        assert not isinstance(made, Unfit)
        world.served.has[path] = world.served.made(path, made)
    assert (await world.keeper.renew()).taken == ()
    world.files.elsewhere = {
        "/own/a.pem": bundle("a2"),
        "/own/b.pem": bundle("b"),
        "/one.pem": bundle("one2"),
    }
    renewal = await world.keeper.renew()
    assert renewal.taken == ("/one.pem", "/own/a.pem", "/own/b.pem")
    del world.files.elsewhere["/one.pem"]
    world.now += 100
    assert "put it back" in (await world.keeper.renew()).refused[0]
    assert "/one.pem" in world.served.has
    assert world.files.copies == {}


async def test_ends_are_told_at_once_and_once_a_day(world: World) -> None:
    for name, days in (("a", 31), ("b", 30), ("c", -1)):
        world.served.dates[name] = (0, world.now + days * DAY)
    await world.start("a", "b", "c")
    assert [row.days for row in world.keeper.standing().served] == [-1, 30, 31]

    def told() -> list[tuple[str, str]]:
        ends = [(level, text) for level, text, _ in world.told.events if " end" in text]
        world.told.events.clear()
        return ends

    assert told() == [
        ("error", "a certificate has ended"),
        ("warning", "a certificate ends soon"),
    ]
    await world.keeper.renew()
    assert told() == [], "said already"
    world.served.dates["short"] = (0, world.now + 3_600)
    world.files.given["a.pem"] = bundle("short")
    await world.keeper.renew()
    assert told() == [("warning", "a certificate ends soon")], "one that was taken over just now"
    world.now += DAY
    await world.keeper.renew()
    assert [level for level, _ in told()] == ["error", "error", "warning"]
