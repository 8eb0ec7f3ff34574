"""How things are measured: alternately, many times, as ratios within one run.

A busy machine slows everything for seconds at a time. So the two sides of a ratio take turns, the
middle of many rounds counts, and CPU time stands beside the clock's: it is steadier.
"""

import math
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of a command, in milliseconds. `cpu`: user and system, its children's too."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What many samples say, in the samples' unit."""

    least: float
    median: float
    p90: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        ordered = sorted(values)
        return cls(
            least=ordered[0],
            median=statistics.median(ordered),
            p90=ordered[math.ceil(0.9 * len(ordered)) - 1],
            count=len(ordered),
        )

    def cells(self, digits: int = 1) -> list[str]:
        """Write them as cells of a table; HEADS names them."""
        numbers = (self.least, self.median, self.p90)
        return [*(f"{number:.{digits}f}" for number in numbers), str(self.count)]


HEADS = ["min", "median", "p90", "n"]


def environment(bytecode: Path) -> dict[str, str]:
    """Return the environment of an ordinary installation: modules are compiled once and kept.

    `bytecode`: where they are kept. Without it, a shell that forbids bytecode, or a checkout that
    nobody may write to, would have every start measure Python's compiler.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "CONFSYNC_", "CONSUL_"))
    }
    return kept | {"PYTHONPYCACHEPREFIX": str(bytecode)}


def once(argv: Sequence[str], environ: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> Sample:
    """Run a command to its end, its output thrown away. Raises RuntimeError on another exit code."""
    begin = time.perf_counter()
    child = subprocess.Popen(
        argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in codes:
        raise RuntimeError(f"exit code {child.returncode} of {' '.join(argv)[:300]}")
    return Sample(wall=wall * 1000, cpu=(used.ru_utime + used.ru_stime) * 1000)


def alternate(
    rounds: int,
    commands: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    codes: tuple[int, ...] = (0,),
) -> dict[str, list[Sample]]:
    """Run all commands in turn, `rounds` times, after two rounds that do not count."""
    found: dict[str, list[Sample]] = {name: [] for name in commands}
    for number in range(rounds + 2):
        for name, argv in commands.items():
            sample = once(argv, environ, codes)
            if number >= 2:
                found[name].append(sample)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time so far of a process, its threads and its ended children.

    Of the threads in nanoseconds, as the scheduler counts them: a wake-up of half a millisecond
    each second is lost in ticks. Threads that ended meanwhile are not in it.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # proc(5): cutime and cstime are fields 16 and 17; the first one here is field 3.
    children = sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return children + sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def memory(pid: int) -> dict[str, float]:
    """Return VmRSS, VmHWM and what of it is not shared with others (Pss), in MB of 1,000,000."""
    found = {}
    for file in ("status", "smaps_rollup"):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in {"VmRSS", "VmHWM", "Pss"}:
                found[name] = int(rest.split()[0]) * 1024 / 1e6
    return found
