"""What a long test has counted, written down for the page of `make soak`.

A test records before it asserts, so that a failed run leaves its figures too. Without
CONFSYNC_FIGURES nothing is written.
"""

import json
import os
from pathlib import Path

from tests.support.load import Report


class Figures:
    """One test's counts; each call appends a line of JSON to the file that CONFSYNC_FIGURES names."""

    def __init__(self, test: str) -> None:
        self._test = test

    def __call__(self, report: Report | None = None, **counts: int) -> None:
        """Record counts, and what a load has seen."""
        name = os.environ.get("CONFSYNC_FIGURES")
        if not name:
            return
        figures: dict[str, object] = dict(counts)
        if report is not None:
            figures |= {
                "ok": report.ok,
                "failed": report.failed,
                "failed_as": report.failed_as,
                "streams": report.streams_opened,
                "cut_streams": report.cut_streams,
                "ticks": report.ticks,
                "seconds": round(report.seconds, 1),
                "latency_ms": dict(report.latency_ms),
            }
        with Path(name).open("a") as file:
            file.write(json.dumps({"test": self._test, **figures}) + "\n")
