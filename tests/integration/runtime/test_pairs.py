"""The law of plans on real HAProxies: what steps make of A is what a load of B makes.

The random configurations are those of the law that holds for a HAProxy of values.
"""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.runtime import SocketRuntime
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core import planning
from confsync.core.planning import Loaded
from confsync.domain.change import Plan, ReloadPlan, RuntimePlan
from confsync.domain.rendered import RenderedConfig, RenderedFile
from confsync.domain.running import Observed, Record
from tests.conftest import Soak
from tests.fakes.configs import absent, changed, configs, text
from tests.fakes.runtime import MAP, balancer
from tests.support import machine
from tests.support.figures import Figures
from tests.support.haproxy import Haproxy

HEAD = """\
global
    stats socket {admin} mode 600 level admin expose-fd listeners
"""
TAIL = """\
resolvers r
    nameserver none 127.0.0.1:9
"""
FORCED, CHECKS = 0x01 | 0x08, 0x02 | 0x04
OWN_IDS = 65_535


class Real:
    """A HAProxy and the record that confsync keeps of it."""

    def __init__(self, haproxy: Haproxy) -> None:
        self.haproxy = haproxy
        self.map = haproxy.etc / "hosts.map"
        self.map.touch()
        self._port = machine.free_port()
        options = SocketOptions(
            config=str(haproxy.cfg),
            master_socket=str(haproxy.master_socket),
            stats_socket=str(haproxy.admin_socket),
        )
        self._target = SocketTarget(options)
        self.runtime = SocketRuntime(options)
        self.record = Record()
        self.disk: dict[str, str | None] = {}
        self.absent: Any = {}

    def files(self, config: dict[str, Any]) -> RenderedConfig:
        """Render a configuration that this HAProxy can run without touching any other address."""
        main = text(config)
        for word, other in (
            ("10.0.0.", "127.0.0."),
            (MAP, str(self.map)),
            (" unheard-of word", ""),
            (" unheard-of", ""),
            ("    stick on src\n", "    stick-table type ip size 1k\n    stick on src\n"),
            ("global\n", HEAD.format(admin=self.haproxy.admin_socket)),
            ("defaults\n", "defaults\n    timeout connect 1s\n"),
            ("frontend f\n", f"frontend f\n    bind 127.0.0.1:{self._port}\n"),
        ):
            main = main.replace(word, other)
        main += TAIL
        texts = {
            str(self.haproxy.cfg): main,
            str(self.map): "".join(f"{line}\n" for line in config["map"]),
        }
        return RenderedConfig(
            files=tuple(RenderedFile(destination=d, text=t, template="t") for d, t in texts.items())
        )

    def write(self, config: RenderedConfig) -> None:
        for file in config.files:
            Path(file.destination).write_text(file.text)
        self.disk = {f.destination: f.text for f in config.files}

    def loads(self, config: RenderedConfig) -> bool:
        """Tell whether HAProxy takes a set."""
        tried = self.haproxy.etc / "tried"
        tried.write_text(config.files[0].text)
        return self.haproxy.check(tried)[0] == 0

    def loaded(self, config: RenderedConfig) -> None:
        """Begin the record anew."""
        texts = {f.destination: f.text for f in config.files}
        self.record = Record(files=config.digests(), text=texts, promoted=config.digests())

    async def observed(self) -> Observed:
        async with asyncio.timeout(20):
            while True:
                seen = await self._target.observe()
                if seen.worker_pid and not seen.loading:
                    return seen
                await asyncio.sleep(0.02)

    async def plan(self, config: RenderedConfig, seen: Observed) -> Plan:
        known = self.record
        return planning.plan(
            config,
            self.disk,
            Loaded(
                files=known.files, texts=known.text, steps=known.steps, leftovers=known.leftovers
            ),
            main=str(self.haproxy.cfg),
            balancer=balancer(self.absent),
            capabilities=await self.runtime.capabilities(seen),
        )

    def state(self) -> dict[str, object]:
        """Read all that HAProxy tells of its servers, leftovers left out, and the map."""
        gone = {(one.backend, one.server) for one in self.record.leftovers}
        found: dict[str, object] = {}
        columns: list[str] = []
        for line in self.haproxy.runtime("show servers state").splitlines():
            if line.startswith("# "):
                columns = line[2:].split()
                continue
            row = dict(zip(columns, line.split(), strict=False))
            if len(row) < max(len(columns), 9) or (row["be_name"], row["srv_name"]) in gone:
                continue
            number, forced = int(row["srv_id"]), int(row["srv_admin_state"]) & FORCED
            found[f"{row['be_name']}/{row['srv_name']}"] = {
                "place": f"{row['srv_addr']}:{row['srv_port']}",
                "weight": row["srv_uweight"],
                "forced": forced,
                "id": number if number > OWN_IDS else 0,
                "check": int(row["srv_check_state"]) & CHECKS,
                # Where a server is out of service, confsync silences the agent that could bring
                # it back; a load does not.
                "agent": 0 if forced else int(row["srv_agent_state"]) & CHECKS,
            }
        found |= self._limits(gone)
        entries = self.haproxy.runtime(f"show map {self.map}").splitlines()
        found["map"] = sorted(entry.partition(" ")[2] for entry in entries if entry)
        return found

    def _limits(self, gone: set[tuple[str, str]]) -> dict[str, object]:
        """Read what `show servers state` lacks: maxconn, and who is a backup."""
        lines = self.haproxy.runtime("show stat -1 4 -1").splitlines()
        columns = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(columns, line.split(","), strict=False)) for line in lines[1:] if line]
        return {
            f"{row['pxname']}/{row['svname']} limits": (row["slim"], row["bck"])
            for row in rows
            if (row["pxname"], row["svname"]) not in gone
        }

    async def turn(self, config: RenderedConfig, *, reload: bool) -> str:
        """Plan and apply; where that is all, see that a load would make the same."""
        seen = await self.observed()
        plan = await self.plan(config, seen)
        self.write(config)
        then: Plan | None = plan
        if isinstance(plan, RuntimePlan):
            applied = await self.runtime.apply(plan.steps, seen)
            assert applied.doubt == ""
            assert applied.done == plan.steps
            self.record = planning.done(
                self.record, plan, config, main=str(self.haproxy.cfg), now=0.0
            )
            then = plan.then
        else:
            # What needs no steps is in step.
            self.record = planning.done(
                self.record,
                RuntimePlan(destinations=(), steps=(), reasons=()),
                config,
                main=str(self.haproxy.cfg),
                now=0.0,
            )
        if isinstance(then, ReloadPlan) or reload:
            before = self.state()
            await asyncio.to_thread(self.haproxy.reload)
            self.loaded(config)
            if not isinstance(then, ReloadPlan):
                assert self.state() == before, plan
        elif self.record.leftovers:
            gone = await self.runtime.collect(self.record.leftovers, await self.observed())
            for one in gone:
                self.record = planning.deleted(self.record, one.backend, one.server)
        return type(plan).__name__ + (" and reload" if isinstance(then, ReloadPlan) else "")


@pytest.mark.timeout(600)
async def test_steps_make_what_a_load_makes(haproxy: Haproxy, soak: Soak, figures: Figures) -> None:
    pairs = soak.n(20, 200)
    real = Real(haproxy)
    happened: Counter[str] = Counter()
    r = Random(int(haproxy.version.replace(".", "")))
    config: dict[str, Any] | None = None
    compared = 0
    for _ in range(pairs * 20):
        if compared == pairs:
            break
        # Mostly what one catalog makes of the other; now and then something else altogether.
        following = changed(r, config) if config is not None else configs(r)
        made = real.files(following)
        if not real.loads(made):
            happened["not to be loaded"] += 1
            continue
        if config is None:
            real.write(made)
            await asyncio.to_thread(haproxy.start)
            real.loaded(made)
        else:
            real.absent = absent(r, following)
            happened[await real.turn(made, reload=r.random() < 0.6)] += 1
            compared += 1
        config = following
    figures(None, **happened)
    assert compared == pairs
    assert happened["RuntimePlan"] >= pairs // 8
    assert haproxy.running
