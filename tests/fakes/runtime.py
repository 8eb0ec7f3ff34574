"""Plans between two texts, with what a test does not care about filled in."""

from collections.abc import Mapping
from dataclasses import replace

from confsync.core import planning
from confsync.core.planning import Loaded, Surroundings
from confsync.domain.catalog import Status
from confsync.domain.change import NoChange, Plan, ReloadPlan, RuntimePlan, Step
from confsync.domain.loadbalancer import Backend, LoadBalancer
from confsync.domain.rendered import RenderedConfig, RenderedFile, digest
from confsync.domain.running import Capabilities, Leftover, Record

MAIN, MAP = "/etc/haproxy/haproxy.cfg", "/etc/haproxy/hosts.map"

OLD = Capabilities(version="2.6.12-1+deb12u4")
"""Debian 12's: may crash on `del server`."""
NEW = Capabilities(version="3.2.26-1", deletes=True, waits=True)


def files(main: str, hosts: str | None = None) -> RenderedConfig:
    """Make a set of a main file and perhaps a map."""
    texts = {MAIN: main} | ({} if hosts is None else {MAP: hosts})
    return RenderedConfig(
        files=tuple(RenderedFile(destination=d, text=t, template="t") for d, t in texts.items())
    )


def loaded(config: RenderedConfig, **more: object) -> Loaded:
    """Say that HAProxy runs a set."""
    found = Loaded(files=config.digests(), texts={f.destination: f.text for f in config.files})
    return replace(found, **more)  # type: ignore[arg-type]


def balancer(absent: Mapping[str, Mapping[str, Status]] | None) -> LoadBalancer:
    """Make what the registry says of servers that it does not serve."""
    return LoadBalancer(
        backends=tuple(
            Backend(name=name, slug=name, absent=tuple(sorted(those.items())))
            for name, those in (absent or {}).items()
        )
    )


def between(
    old: str,
    new: str,
    *,
    maps: tuple[str, str] | None = None,
    capabilities: Capabilities | None = NEW,
    absent: Mapping[str, Mapping[str, Status]] | None = None,
    leftovers: tuple[Leftover, ...] = (),
    steps: tuple[Step, ...] = (),
    named: Mapping[str, str] | None = None,
    around: Surroundings | None = None,
    most_leftovers: int = 50,
) -> Plan:
    """Plan from a text that runs and is on disk to another one."""
    before, after = files(old, maps and maps[0]), files(new, maps and maps[1])
    disk = {f.destination: f.text for f in before.files}
    return planning.plan(
        after,
        disk,
        loaded(before, leftovers=leftovers, steps=steps, named=named or {}),
        main=MAIN,
        balancer=balancer(absent),
        capabilities=capabilities,
        around=around,
        most_leftovers=most_leftovers,
    )


def steps(plan: Plan) -> tuple[Step, ...]:
    """Give a plan's steps."""
    return plan.steps if isinstance(plan, RuntimePlan) else ()


def reload_reasons(plan: Plan) -> tuple[str, ...]:
    """Give why a reload is needed; fails when none is."""
    if isinstance(plan, RuntimePlan):
        assert plan.then is not None, plan
        return plan.then.reasons
    assert isinstance(plan, ReloadPlan), plan
    return plan.reasons


def record(text: str) -> Record:
    """Make the record of a loaded main file."""
    return Record(files={MAIN: digest(text)}, text={MAIN: text}, promoted={MAIN: digest(text)})


def again(
    text: str, new: str, plan: RuntimePlan, capabilities: Capabilities = NEW
) -> tuple[Record, Plan]:
    """Confirm a plan, then plan for the same target."""
    config = files(new)
    known = planning.done(record(text), plan, config, main=MAIN, now=1.0)
    found = Loaded(
        files=known.files, texts=known.text, steps=known.steps, leftovers=known.leftovers
    )
    disk = {MAIN: new if plan.then is None else text}
    return known, planning.plan(config, disk, found, main=MAIN, capabilities=capabilities)


NOTHING = NoChange()
