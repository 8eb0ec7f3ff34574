"""Laws: a plan brings what runs to what should be, and for what should be already there is none."""

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.core import planning, runtime
from confsync.core.haproxy import configuration
from confsync.core.planning import Loaded
from confsync.domain.catalog import Status
from confsync.domain.change import (
    AddServer,
    Admin,
    NoChange,
    ReloadPlan,
    ReplaceMap,
    RetireServer,
    RuntimePlan,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
    Step,
    WritePlan,
)
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.domain.running import Capabilities, Record
from tests.fakes.configs import absent, changed, configs, text
from tests.fakes.haproxy import HAProxy, Refused
from tests.fakes.runtime import MAIN, MAP, NEW, OLD, balancer


def files(config: dict[str, Any]) -> RenderedConfig:
    texts = {MAIN: text(config), MAP: "".join(f"{line}\n" for line in config["map"])}
    return RenderedConfig(
        files=tuple(RenderedFile(destination=d, text=t, template="t") for d, t in texts.items())
    )


def load(config: RenderedConfig, capabilities: Capabilities) -> HAProxy | None:
    texts = {f.destination: f.text for f in config.files}
    try:
        return HAProxy(
            texts[MAIN].replace("unheard-of\n", "\n").replace(" unheard-of ", " "),
            {MAP: texts[MAP]},
            cookies=capabilities is NEW,
        )
    except Refused:
        return None


class World:
    """A HAProxy and the record that confsync keeps of it."""

    def __init__(self, first: RenderedConfig, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        running = load(first, capabilities)
        assert running is not None
        self.running = running
        self.absent: dict[str, dict[str, Status]] = {}
        self.disk = {f.destination: f.text for f in first.files}
        self.record = self.reloaded(first)

    def reloaded(self, config: RenderedConfig) -> Record:
        texts = {f.destination: f.text for f in config.files}
        return Record(files=config.digests(), text=texts, promoted=config.digests())

    def plan(self, target: RenderedConfig) -> Any:
        known = self.record
        loaded = Loaded(
            files=known.files, texts=known.text, steps=known.steps, leftovers=known.leftovers
        )
        return planning.plan(
            target,
            self.disk,
            loaded,
            main=MAIN,
            balancer=balancer(self.absent),
            capabilities=self.capabilities,
        )

    def turn(self, target: RenderedConfig, *, reload: bool) -> str:
        """Plan, apply, and see that it holds what it promises. `reload`: carry a reload out too."""
        goal = load(target, self.capabilities)
        if goal is None:
            return "not to be loaded"
        plan = self.plan(target)
        if isinstance(plan, RuntimePlan):
            self.steps(plan, target, goal)
        then = plan.then if isinstance(plan, RuntimePlan) else plan
        if isinstance(then, ReloadPlan):
            if reload:
                self.running, self.record = goal, self.reloaded(target)
                self.disk = {f.destination: f.text for f in target.files}
                assert self.plan(target) == NoChange()
            else:
                later = self.plan(target)
                rounds = 4  # what was done may make more possible
                while isinstance(later, RuntimePlan) and rounds:
                    self.steps(later, target, goal)
                    later, rounds = self.plan(target), rounds - 1
                assert not isinstance(later, RuntimePlan)
                if not isinstance(later, ReloadPlan):
                    self.disk = {f.destination: f.text for f in target.files}
                    assert self.running.state() == goal.state()
            return f"{type(plan).__name__} and reload"
        if isinstance(plan, NoChange | WritePlan):
            self.disk = {f.destination: f.text for f in target.files}
            assert self.running.state() == goal.state()
            # The engine records a set that was found in step.
            self.record = planning.done(
                self.record,
                RuntimePlan(destinations=(), steps=(), reasons=()),
                target,
                main=MAIN,
                now=0.0,
            )
        else:
            self.disk = {f.destination: f.text for f in target.files}
            assert self.running.state() == goal.state(), plan
        assert self.plan(target) == NoChange()
        return type(plan).__name__

    def steps(self, plan: RuntimePlan, target: RenderedConfig, goal: HAProxy) -> None:
        assert plan.steps
        assert len(plan.reasons) <= len(plan.steps)
        assert plan == self.plan(target)  # in a stable order
        before = {
            name
            for keyword, name in self.running.proxies
            if keyword == "backend"
            and self.running.serving(name)
            and ("backend", name) in goal.proxies
            and goal.serving(name)
        }
        for step in plan.steps:
            self.running.do(step)
            for name in before:
                assert self.running.serving(name), f"{name} serves nobody after {step}"
        self.record = planning.done(self.record, plan, target, main=MAIN, now=0.0)
        for one in self.record.leftovers:
            kept = self.running.find(one.backend, one.server)
            assert kept.gone
            if one.address:
                assert (kept.address, kept.port) == (one.address, one.port)
                assert (kept.weight, kept.maxconn) == (one.weight, one.maxconn)
        gone = sum(s.gone for p in self.running.proxies.values() for s in p.servers)
        assert gone == len(self.record.leftovers)


def test_plans_bring_what_runs_to_what_should_be(soak: Any, figures: Any) -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=soak.n(150, 100_000))
    @given(st.integers(0, 2**64))
    def law(seed: int) -> None:
        r = Random(seed)
        capabilities = r.choice([OLD, NEW])
        config = configs(r)
        if load(files(config), capabilities) is None:
            return
        world = World(files(config), capabilities)
        assert world.plan(files(config)) == NoChange()
        for _ in range(r.randint(1, 5)):
            following = changed(r, config)
            world.absent = absent(r, following)
            if world.record.leftovers and r.random() < 0.3:
                one = world.record.leftovers[0]
                world.running.delete(one.backend, one.server)
                world.record = planning.deleted(world.record, one.backend, one.server)
            what = world.turn(files(following), reload=r.random() < 0.5)
            happened[what] += 1
            config = config if what == "not to be loaded" else following

    law()
    figures(**happened)
    assert {"RuntimePlan", "RuntimePlan and reload", "WritePlan"} <= set(happened)


PLACES = st.tuples(st.sampled_from("bc"), st.sampled_from("xyz"))
DONE = st.builds(
    lambda place, kind, number: {
        "add": AddServer(backend=place[0], server=place[1], address="10.0.0.9", port=80 + number),
        "gone": RetireServer(backend=place[0], server=place[1]),
        "out": RetireServer(backend=place[0], server=place[1], gone=False),
        "weight": SetWeight(backend=place[0], server=place[1], weight=number),
        "limit": SetMaxconn(backend=place[0], server=place[1], maxconn=number),
        "back": SetState(backend=place[0], server=place[1], state=Admin.READY),
        "move": SetAddress(backend=place[0], server=place[1], address="10.0.0.8", port=number),
        "map": ReplaceMap(destination=place[1], name=place[1], entries=(), text=str(number)),
    }[kind],
    PLACES,
    st.sampled_from(["add", "gone", "out", "weight", "limit", "back", "move", "map"]),
    st.integers(1, 5),
)


@given(st.lists(DONE, max_size=12))
def test_what_is_left_out_of_steps_makes_no_difference(drawn: list[Step]) -> None:
    text = "backend b\n server x 10.0.0.1:80\n server y 10.0.0.2:80\nbackend c\n"
    old = configuration.read((text,))
    there = {("b", "x"), ("b", "y")}
    done: list[Step] = []
    for step in drawn:
        if not isinstance(step, ReplaceMap):
            place = step.backend, step.server
            if isinstance(step, AddServer) is (place in there):
                continue  # nothing is added twice, nor changed while it is not there
            if isinstance(step, AddServer):
                there.add(place)
            elif isinstance(step, RetireServer) and step.gone:
                there.remove(place)
        done.append(step)
    short = runtime.compacted(old, tuple(done))
    for proxy in old.proxies.values():
        assert runtime.after(proxy, short) == runtime.after(proxy, done)
    maps = [
        {s.destination: s.text for s in each if isinstance(s, ReplaceMap)} for each in (short, done)
    ]
    assert maps[0] == maps[1]
    assert len(short) <= 3 + 6 * 5
    assert runtime.compacted(old, short) == short
