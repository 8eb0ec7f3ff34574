"""A turn as JSON: what docs/once.schema.json describes, for scripts.

Within one `schema` number keys are only added. Texts are the registry's own, as JSON escapes them.
"""

import dataclasses
import json

from confsync import __version__
from confsync.domain.status import CycleReport

SCHEMA = 1


def text(report: CycleReport) -> str:
    """Write a report as one JSON document in ASCII."""
    return json.dumps(document(report), indent=2) + "\n"


def document(report: CycleReport) -> dict[str, object]:
    """Turn a report into JSON's values."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "outcome": report.outcome.value,
        "exit_code": report.exit_code,
        "why": report.why,
        "services": report.services,
        "servers": report.servers,
        "reasons": list(report.reasons),
        "steps": list(report.steps),
        "reload": list(report.reload),
        "problems": [dataclasses.asdict(problem) for problem in report.problems],
        "holds": [
            {**dataclasses.asdict(hold), "dropped": list(hold.dropped)} for hold in report.holds
        ],
        "notes": list(report.notes),
        "diff": report.diff,
        "revision": report.revision,
        "stages": {stage.value: round(ms, 3) for stage, ms in report.stages.items()},
        "error": report.error,
        "detail": report.detail,
        "failed_stage": report.failed_stage.value if report.failed_stage else None,
        "finished": report.finished,
    }
