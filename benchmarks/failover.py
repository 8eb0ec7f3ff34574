"""What each event costs clients, for both programs that elect; what the image weighs, and its start.

The second half of `make bench`: two hosts in network namespaces of their own, the image as the tests
have it, a client that opens a connection every 10 ms. `--plot` draws docs/failover.svg from the figures
of the last run.
"""

import argparse
import contextlib
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import provenance, timeline
from benchmarks.report import Section, Table, Target, save
from tests.containers.lb_events import EVENTS, LbPair
from tests.support.containers import balancer, docker, get
from tests.support.pair import Host
from tests.support.polling import Polling, Polls
from tests.support.process import wait_until

RESULTS = Path(__file__).with_name("results")
PICTURE = provenance.ROOT / "docs" / "failover.svg"
QUICK = {"a": {"ADVSKEW": "26"}, "b": {"ADVSKEW": "128"}}
NOTHING = "nothing happens"
IMAGE = "The image"
EVENTS_TOLD = """\
Two hosts (network namespaces) on a bridge, a new connection every 10 ms, each with 0.4 s to be
answered. *Gap*: the longest time between the starts of two answered requests in a row; *both*: for how
long both hosts had the address in the kernel's account, where they could know of each other."""
WEIGHT = """\
The base is this machine's stand-in for Debian, larger than the public `-slim`. Memory: the
proportional set size of the processes, with nginx, after two seconds at rest."""
PATIENCE = 0.4  # seconds that a client waits for an answer
STOP, CRASH = "docker stop", "container killed"
TIMELINE = (-0.5, 4.0)  # seconds around an event that the plot shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One program that elects, with its settings."""

    engine: str
    preferred: str = ""  # the host that takes the address back once it works
    variables: Mapping[str, str] = field(default_factory=dict)
    each: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


WAYS = {
    "ucarp": Way(engine="ucarp"),
    "ucarp, adverts below a second": Way(
        engine="ucarp", preferred="a", variables={"ADVBASE": "0"}, each=QUICK
    ),
    "keepalived": Way(engine="keepalived"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One event. `gap`: milliseconds; `both`: seconds with two holders, of a split one none."""

    gap: float
    failed: int
    both: float | None


def steady(pair: LbPair, preferred: str) -> Host:
    """Wait until both work and one, the preferred one if there is one, answers; returns it."""
    pair.both_ready()

    def found() -> Host | None:
        held = pair.holders()
        right = len(held) == 1 and held[0].letter.startswith(preferred)
        return held[0] if right and _answers(pair, held[0]) else None

    holder = wait_until(found, "a holder that answers", timeout=60)
    assert holder is not None
    return holder


def control(pair: LbPair, preferred: str) -> Cost:
    """Let nothing happen: what the client loses by itself on this machine."""
    steady(pair, preferred)
    with Polling(pair.vip, timeout=PATIENCE) as client:
        time.sleep(1.5)
        polls = client.stop()
    return Cost(gap=polls.gap * 1000, failed=len(polls.failed), both=0)


def one(
    pair: LbPair, name: str, preferred: str, *, long: bool
) -> tuple[Cost, list[list[float | str]]]:
    """Let one event happen; returns what it cost, and each request: seconds, outcome or server."""
    event = EVENTS[name]
    holder = steady(pair, preferred)
    other = pair.other(holder)
    with Polling(pair.vip, timeout=PATIENCE) as client:
        time.sleep(0.6)
        began = time.time()
        event.hurt(pair, holder)
        wait_until(functools.partial(_answers, pair, other), "the other one's answer", timeout=30)
        time.sleep(max(0.5, began + TIMELINE[1] - time.time()) if long else 0.5)
        polls = client.stop()
    both = None
    if not event.split:
        wait_until(lambda: pair.holders() == [other], "one holder")
        both = pair.overlap(began)
    cost = Cost(gap=polls.gap * 1000, failed=len(polls.failed), both=both)
    event.mend(pair, holder)
    return cost, _timeline(polls, began)


def _timeline(polls: Polls, began: float) -> list[list[float | str]]:
    first, last = TIMELINE
    return [
        [round(poll.start - began, 3), poll.server if poll.ok else "failed"]
        for poll in polls.since(began + first, began + last).all
    ]


def _answers(pair: LbPair, host: Host) -> bool:
    return get(pair.vip, 80) == (200, host.letter)


def events(way: str, rounds: int, image: str, folder: Path) -> dict[str, Any]:
    """Measure each event of one way, `rounds` times; the events take turns. Returns the figures."""
    chosen = WAYS[way]
    costs: dict[str, list[Cost]] = defaultdict(list)
    timelines: dict[str, list[list[list[float | str]]]] = defaultdict(list)
    with LbPair(image, chosen.engine, folder, each=chosen.each, **chosen.variables) as pair:
        pair.start()
        for number in range(rounds):
            costs[NOTHING].append(control(pair, chosen.preferred))
            for name in EVENTS:
                long = number < 3 and name in {STOP, CRASH}
                cost, timeline = one(pair, name, chosen.preferred, long=long)
                costs[name].append(cost)
                if long:
                    timelines[name].append(timeline)
    raw: dict[str, Any] = {"measured": provenance.now(), "load": os.getloadavg()[0]}
    raw |= {name: [[c.gap, c.failed, c.both] for c in found] for name, found in costs.items()}
    for name in (STOP, CRASH):
        drawn = timelines[name]
        gaps = [each.gap for each in costs[name]][: len(drawn)]
        raw[f"timeline: {name}"] = drawn[gaps.index(statistics.median_low(gaps))]
    return raw


def told(way: str, raw: dict[str, Any]) -> Section:
    """Make a section of the figures."""
    section = Section(title=way, raw=raw)
    costs = {
        name: [Cost(gap=gap, failed=failed, both=both) for gap, failed, both in raw[name]]
        for name in (NOTHING, *EVENTS)
    }
    rows = []
    for name, found in costs.items():
        gaps = [each.gap for each in found]
        rows.append(
            [
                name,
                f"{statistics.median(gaps):.0f}",
                f"{max(gaps):.0f}",
                f"{statistics.median(each.failed for each in found):g}",
                str(max(each.failed for each in found)),
                "" if found[0].both is None else f"{max(each.both or 0 for each in found):.1f}",
                str(len(found)),
            ]
        )
    heads = ["event", "gap ms: median", "worst", "failed: median", "worst", "both s: worst", "n"]
    if "measured" in raw:
        section.parts.append(f"Measured {raw['measured']}, at a load of {raw['load']:.1f}.")
    section.parts.append(Table(heads=heads, rows=rows))
    _promise(section, way, costs)
    return section


def _promise(section: Section, way: str, costs: Mapping[str, Sequence[Cost]]) -> None:
    failed = statistics.median(each.failed for each in costs[STOP])
    section.targets.append(
        Target(what=f"{way}: {STOP}", limit=0, found=failed, digits=0, remark="requests that fail")
    )
    if limit := {"keepalived": 400, "ucarp, adverts below a second": 1500}.get(way):
        gap = statistics.median(each.gap for each in costs[CRASH])
        section.targets.append(
            Target(what=f"{way}: {CRASH}", limit=limit, found=gap, digits=0, remark="gap, ms")
        )


def weight(rounds: int, image: str, base: str, folder: Path) -> dict[str, Any]:
    """Measure the start, the image and the memory at rest."""
    sizes = [int(docker("image", "inspect", "-f", "{{.Size}}", name)) for name in (image, base)]
    starts = []
    memory: dict[str, float] = {}
    with LbPair(image, "ucarp", folder) as pair:
        for number in range(rounds):
            pair.prepare(pair.a)
            began = time.perf_counter()
            pair.a.lb.start()
            wait_until(lambda: get(pair.a.own, 80)[0] == 200, "an answer", timeout=30)
            starts.append(time.perf_counter() - began)
            if number == 0:
                wait_until(lambda: pair.a.ready, "work", timeout=30)
                time.sleep(2)
                memory = _memory(pair.a)
            pair.a.lb.kill()
    return {"sizes": sizes, "starts": starts, "memory": memory}


def weighed(raw: dict[str, Any]) -> Section:
    """Make a section of these figures."""
    section = Section(title=IMAGE, raw=raw)
    middle = statistics.median(raw["starts"])
    rows = [
        ["image, MB", f"{raw['sizes'][0] / 1e6:.0f}"],
        ["of that its base, MB", f"{raw['sizes'][1] / 1e6:.0f}"],
        ["`docker start` to the first answer, s: median", f"{middle:.2f}"],
        ["worst", f"{max(raw['starts']):.2f}"],
        *([f"memory at rest, MB: {name}", f"{size:.0f}"] for name, size in raw["memory"].items()),
    ]
    section.parts += [WEIGHT, Table(heads=["", ""], rows=rows)]
    section.targets.append(Target(what="start to serving, s", limit=1.5, found=middle))
    return section


def _memory(host: Host) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for row in docker("top", host.lb.name, "-eo", "pid,comm").splitlines()[1:]:
        pid, name = row.split(None, 1)
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found[name] += sum(int(line.split()[1]) for line in lines if line[:4] == "Pss:") / 1000
    return {**found, "all": sum(found.values())}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.failover", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, to see that all works")
    parser.add_argument(
        "--again", nargs="+", choices=list(WAYS), default=[], help="measure only these anew"
    )
    parser.add_argument("--plot", action="store_true", help="only draw the committed figures anew")
    parser.add_argument("--results", type=Path, help="the folder for the page")
    options = parser.parse_args()
    if options.plot:
        timeline.draw(json.loads((RESULTS / "failover.json").read_text()), PICTURE)
        return 0
    load, begin = os.getloadavg(), time.monotonic()
    before = json.loads((RESULTS / "failover.json").read_text()) if options.again else {}
    # By its id: the tag may move on while this runs.
    image = docker("image", "inspect", "-f", "{{.Id}}", balancer())
    base = docker("image", "inspect", "-f", "{{.Id}}", "confsync-testbed/debian-13")
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="csf-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for number, way in enumerate(WAYS):
            if before and way not in options.again:
                raw[way] = before[way]
                continue
            print(f"measuring: {way}", file=sys.stderr, flush=True)
            raw[way] = events(way, 1 if options.quick else 10, image, folder / str(number))
        rounds = 2 if options.quick else 10
        raw[IMAGE] = weight(rounds, image, base, folder / "weight")
    sections = [*(told(way, raw[way]) for way in WAYS), weighed(raw[IMAGE])]
    sections[0].parts[:0] = [EVENTS_TOLD]
    about = {
        "date": provenance.now(),
        "commit": provenance.commit("confsync", "deploy/image"),
        "in the image": docker("run", "--rm", image, "haproxy", "-v").splitlines()[0],
        "machine": provenance.computer(),
        "load average at the start, at the end": f"{load[0]:.1f}, {os.getloadavg()[0]:.1f}",
        "measured in": f"{time.monotonic() - begin:.0f} s",
    }
    if results := options.results or (None if options.quick else RESULTS):
        written = save(sections, about, results, "failover")
        print(f"written: {written}", file=sys.stderr)
        print(written.read_text())
        if results == RESULTS:
            timeline.draw(json.loads(written.with_suffix(".json").read_text()), PICTURE)
    else:
        print("\n\n".join(section.text() for section in sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
