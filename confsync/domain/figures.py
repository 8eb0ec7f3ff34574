"""What HAProxy's workers have served, those that only finish included."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFigures:
    """One worker's. `old`: a reload has replaced it, and it finishes what it has.

    `sessions`: of clients, now. The rest since it began: `requests`, `bytes_in`, `bytes_out` at the
    frontends. `answered` False: it was ending while it was asked, so that its figures are lost.
    """

    pid: int
    old: bool
    sessions: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    answered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All workers of one master, the current one first; the sums are over those that answered."""

    workers: tuple[WorkerFigures, ...] = ()

    @property
    def sessions(self) -> int:
        """Of clients, now, in all workers."""
        return sum(worker.sessions for worker in self.workers)

    @property
    def requests(self) -> int:
        """Of all workers that still run."""
        return sum(worker.requests for worker in self.workers)
