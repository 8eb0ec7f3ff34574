"""Thousands of changes leave nothing behind: memory, descriptors, workers, retired servers."""

import dataclasses
from pathlib import Path

import pytest

from tests.conftest import Soak
from tests.integration.runtime.churn import MOST_OUT, Churn
from tests.integration.runtime.conftest import Make
from tests.integration.runtime.field import Field
from tests.support.figures import Figures
from tests.support.process import wait_until

MORE = 4_000
"""kB that a process may take more than after half of the changes: caches are full by then."""
LEFTOVERS = 50
TOGETHER = 8
"""Changes before the test looks: the registry is asked ten times a second at most, so that some of
them come to the agent as one piece of news."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is in use now; memory in kB."""

    agent_kb: int
    agent_files: int
    worker_kb: int
    worker_files: int
    workers: int
    retired: int


def resident(pid: int) -> int:
    """Read how many kB a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(x.split()[1] for x in status.splitlines() if x.startswith("VmRSS")))


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def sample(field: Field, left: int) -> Sample:
    """Look, once old workers and all but `left` retired servers are gone."""

    def retired() -> int:
        return len(field.rows()) - len(field.serving())

    wait_until(lambda: retired() <= left, "the deletion of retired servers")
    wait_until(lambda: len(field.haproxy._descendants()) == 1, "one worker")
    worker, agent = field.haproxy._descendants()[0], field.agent.process.pid
    return Sample(
        agent_kb=resident(agent),
        agent_files=files(agent),
        worker_kb=resident(worker),
        worker_files=files(worker),
        workers=len(field.haproxy.workers()),
        retired=retired(),
    )


@pytest.mark.parametrize("haproxy_version", ["2.6", "3.0"], indirect=True)
def test_changes_leave_nothing_behind(
    field: Make, haproxy_version: str, soak: Soak, figures: Figures
) -> None:
    """2.6 keeps its retired servers, so that each fifty of them are a reload; 3.0 deletes them."""
    changes = soak.n(240, 20_000)
    left = LEFTOVERS if haproxy_version == "2.6" else MOST_OUT + 1
    one = field(template="hashing")
    churn = Churn(one, ("web",), seed=changes, dead=True)
    one.up()
    mark = one.agent.mark()
    samples = []
    for _ in range(10):
        for _ in range(changes // 10 // TOGETHER):
            for _ in range(TOGETHER):
                churn.change()
            one.agreed()
        samples.append(sample(one, left))
    reloads = one.reload_reasons(since=mark)
    half, late = samples[4], samples[-1]
    figures(
        changes=changes,
        reloads=len(reloads),
        **{f"half_{key}": value for key, value in dataclasses.asdict(half).items()},
        **{f"late_{key}": value for key, value in dataclasses.asdict(late).items()},
    )
    assert late.agent_kb < half.agent_kb + MORE
    assert late.worker_kb < half.worker_kb + MORE
    # Connections to the registry come and go, some ten at a time.
    assert late.agent_files <= half.agent_files + 40
    assert late.worker_files <= half.worker_files + 8
    assert {each.workers for each in samples} == {1}
    assert [why for why in reloads if "cannot be deleted" not in why] == []
    assert haproxy_version == "2.6" or reloads == []
    one.whole()
