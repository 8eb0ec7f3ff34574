"""What an agent costs that has nothing to do: real watches of 50 services, a running HAProxy."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import measuring, site
from benchmarks.report import Section, Table, Target
from tests.support.backend import Backends
from tests.support.consul import Consul
from tests.support.process import Process, wait_until

SERVICES, INSTANCES = 50, 2
SETTLE = 10.0


def measure(seconds: float, folder: Path, environ: Mapping[str, str]) -> Section:
    """Measure CPU time over `seconds`, and memory at their end."""
    with contextlib.ExitStack() as stack:
        place = site.Site(folder, "2.6", environ)
        backends = stack.enter_context(Backends())
        consul = stack.enter_context(Consul(folder / "consul"))
        for number in range(SERVICES):
            for port in backends.start_many(INSTANCES):
                consul.register(f"s{number}", address="127.0.0.1", port=port)
        settings = place.settings("confsync", {"address": f"http://{consul.address}"})
        stack.callback(place.haproxy.close)
        place.begin(settings)
        log = folder / "confsync.log"
        agent = Process([site.CONFSYNC, "-c", str(settings), "run"], log=log, env=environ)
        stack.callback(agent.stop)
        wait_until(lambda: "cycle: in step" in log.read_text(), f"in step ({log})")
        time.sleep(SETTLE)
        before, begin = measuring.cpu_seconds(agent.pid), time.monotonic()
        threads = len(list(Path(f"/proc/{agent.pid}/task").iterdir()))
        time.sleep(seconds)
        spent = measuring.cpu_seconds(agent.pid) - before
        share = 100 * spent / (time.monotonic() - begin)
        memory = measuring.memory(agent.pid)
        # A change while it was watched would be no idleness.
        cycles = log.read_text().count('"event":"cycle: ')
    rows = [
        ["CPU, of one core (children included)", f"{share:.2f} %"],
        ["CPU time", f"{spent * 1000:.0f} ms in {seconds:.0f} s"],
        *([name, f"{value:.1f} MB"] for name, value in memory.items()),
        ["threads", str(threads)],
        ["cycles since its start", str(cycles)],
    ]
    text = (
        f"`confsync run`: {SERVICES} services of {INSTANCES} in Consul, a blocking query each; the "
        "built-in template; HAProxy 2.6 running and looked at each second."
    )
    return Section(
        title="An idle agent",
        parts=[text, Table(heads=["", ""], rows=rows)],
        targets=[
            Target(what="idle agent, 50 services: % of a core", limit=0.5, found=share),
            Target(what="idle agent: VmRSS, MB", limit=80, found=memory["VmRSS"], digits=1),
        ],
        raw={"share": share, "seconds": seconds, "spent": spent, "memory": memory},
    )
