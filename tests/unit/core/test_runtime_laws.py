"""Laws: a plan brings what runs to what should be, and for what should be already there is none."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.core import planning
from confsync.core.planning import Loaded
from confsync.domain.catalog import Status
from confsync.domain.change import NoChange, ReloadPlan, RuntimePlan, WritePlan
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.domain.running import Capabilities, Record
from tests.fakes.haproxy import HAProxy, Refused
from tests.fakes.runtime import MAIN, MAP, NEW, OLD, balancer

OPTIONS = (
    "balance leastconn",
    "balance source",
    "balance source\n    hash-type consistent",
    "balance first",
    "balance static-rr",
    "balance random(2)",
    "option allbackups",
    "option httpchk GET /",
    "option external-check",
    "cookie SRV insert",
    "cookie SRV insert dynamic",
    "email-alert to x@y",
    "stick on src",
    "timeout server 5s",
    "unheard-of word",
    "use-server s1 if TRUE",
    "http-request deny if { srv_is_up(b1/s2) }",
)
SAFE = (0, 2, 3, 5, 6, 7, 9, 12, 13)
WORDS = (
    "check",
    "check inter 2s rise 3",
    "no-check",
    "weight 0",
    "weight 5",
    "weight 9",
    "maxconn 3",
    "maxconn 4 minconn 2",
    "backup",
    "disabled",
    "enabled",
    "ssl verify none",
    "no-ssl",
    "send-proxy",
    "cookie c",
    "resolvers r",
    "init-addr last",
    "agent-check agent-port 9",
    "on-marked-down shutdown-sessions",
    "port 99",
    "unheard-of",
)
COMMON = (0, 1, 3, 4, 5, 6, 8, 9, 11, 13, 16)


def some(r: Random, pool: Sequence[Any], most: int) -> list[Any]:
    return r.sample(pool, r.randint(0, min(most, len(pool))))


def server(r: Random, name: int, words: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "at": r.choice([name, name, name, name + 10]), "words": some(r, words, 2)}


def servers(r: Random, words: Sequence[int]) -> list[dict[str, Any]]:
    return [server(r, name, words) for name in some(r, range(1, 6), 4)]


def lines(r: Random, *, free: bool) -> dict[str, Any]:
    """One backend: its options, and its servers with the default-server lines between them."""
    words = range(len(WORDS)) if free else COMMON
    return {
        "options": some(r, range(len(OPTIONS)) if free else SAFE, 2),
        "folded": some(r, words, 1),
        "folded_at": r.randint(0, 2),
        "ids": r.choice(["all", "all", "some", "none"]),
        "servers": servers(r, words),
    }


def configs(r: Random) -> dict[str, Any]:
    free = r.random() < 0.3
    return {
        "defaults": some(r, SAFE, 1),
        "folded": some(r, COMMON, 1),
        "backends": {n: lines(r, free=free) for n in range(r.randint(1, 3))},
        "map": some(r, ["a b0", "b b1", "c b0", "# x"], 3),
    }


def changed(r: Random, config: dict[str, Any]) -> dict[str, Any]:
    """What a template makes of the next catalog: most stays, above all the options."""
    if r.random() < 0.05:
        return configs(r)
    backends = {}
    for n, backend in config["backends"].items():
        how = r.random()
        if how < 0.2:
            backends[n] = backend
        elif how < 0.25:
            backends[n] = lines(r, free=True)
        elif how < 0.35:
            shuffled = r.sample(backend["servers"], len(backend["servers"]))
            backends[n] = backend | {"servers": shuffled}
        else:
            kept = some(r, backend["servers"], 4)
            fresh = servers(r, range(len(WORDS)) if how > 0.9 else COMMON)
            chosen = {s["name"]: s for s in [*fresh, *kept]}
            order = list(chosen) if how < 0.7 else r.sample(list(chosen), len(chosen))
            backends[n] = backend | {"servers": [chosen[name] for name in order]}
    return config | {
        "backends": backends,
        "map": r.choice([config["map"], config["map"], ["a b0", "c b0"], ["a b0"]]),
    }


def absent(r: Random, config: dict[str, Any]) -> dict[str, dict[str, Status]]:
    """What the registry says of some that it does not serve: by their place, as confsync does."""
    words = (Status.MAINTENANCE, Status.MAINTENANCE, Status.CRITICAL)
    return {
        f"b{n}": {
            f"10.0.0.{at}:80": r.choice(words)
            for at in some(r, range(1, 6), 4)
            if all(one["at"] != at for one in backend["servers"])
        }
        for n, backend in config["backends"].items()
    }


def text(config: dict[str, Any]) -> str:
    found = ["global", "    maxconn 10", "defaults", "    mode http"]
    found += [f"    {OPTIONS[n]}" for n in config["defaults"]]
    found += [f"    default-server {WORDS[n]}" for n in config["folded"]]
    found += ["frontend f", f"    use_backend %[path,map({MAP})]"]
    for n, backend in config["backends"].items():
        found.append(f"backend b{n}")
        found += [f"    {OPTIONS[o]}" for o in backend["options"]]
        for at, one in enumerate([*backend["servers"], None]):
            if at == backend["folded_at"]:
                found += [f"    default-server {WORDS[w]}" for w in backend["folded"]]
            if one is not None:
                numbered = backend["ids"] == "all" or (backend["ids"] == "some" and one["name"] % 2)
                number = f" id {70_000 + one['name']}" if numbered else ""
                said = "".join(f" {WORDS[w]}" for w in one["words"])
                found.append(f"    server s{one['name']} 10.0.0.{one['at']}:80{number}{said}")
    return "\n".join(found) + "\n"


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
