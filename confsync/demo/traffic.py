"""What the load client has counted so far. A pure value, told by load.py and shown by view.py."""

import dataclasses


@dataclasses.dataclass(slots=True, kw_only=True)
class Traffic:
    """Counts since the start.

    `failed`: by kind (exchange.Failure or a status). `answers`, `last`: by backend, how many and when
    the last one came (CLOCK_MONOTONIC, seconds). `p50`, `p99`: seconds, of the latest thousand.
    """

    requests: int = 0
    failed: dict[str, int] = dataclasses.field(default_factory=dict)
    answers: dict[str, int] = dataclasses.field(default_factory=dict)
    last: dict[str, float] = dataclasses.field(default_factory=dict)
    p50: float = 0.0
    p99: float = 0.0

    @property
    def failures(self) -> int:
        """All requests without a good answer."""
        return sum(self.failed.values())

    def count_answer(self, name: str, now: float) -> bool:
        """Count a good answer; tells whether it is the first by this backend."""
        self.requests += 1
        first = name not in self.answers
        self.answers[name] = self.answers.get(name, 0) + 1
        self.last[name] = now
        return first

    def count_failure(self, kind: str) -> None:
        """Count a request without a good answer."""
        self.requests += 1
        self.failed[kind] = self.failed.get(kind, 0) + 1
