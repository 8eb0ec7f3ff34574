"""The JSON of `once` against its committed schema, for any report."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.cli import document
from confsync.domain.status import CycleReport, Outcome
from tests.unit.cli.reports import REPORTS, WOULD_CHANGE
from tests.unit.cli.schema import faults

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "once.schema.json").read_text()
)


@given(REPORTS)
def test_any_report_keeps_to_the_schema(report: CycleReport) -> None:
    text = document.text(report)
    assert text.isascii()
    assert faults(json.loads(text), SCHEMA) == []


def test_the_texts_are_the_registrys_own() -> None:
    loaded = json.loads(document.text(WOULD_CHANGE))
    assert loaded["problems"][0]["service"] == "we\nb"
    assert loaded["diff"] == WOULD_CHANGE.diff
    assert loaded["stages"] == {"plan": 1.5}
    assert loaded["holds"][0]["dropped"] == ["10.0.0.1:80", "10.0.0.2:80"]


def test_every_outcome_is_in_the_schema() -> None:
    assert SCHEMA["properties"]["outcome"]["enum"] == [each.value for each in Outcome]


@pytest.mark.parametrize("key", SCHEMA["required"])
def test_the_schema_notices_a_missing_key(key: str) -> None:
    loaded = document.document(WOULD_CHANGE)
    del loaded[key]
    assert faults(loaded, SCHEMA) == [f"$: no {key}"]


@given(st.data())
def test_the_schema_notices_a_wrong_type(data: st.DataObject) -> None:
    loaded = copy.deepcopy(document.document(WOULD_CHANGE))
    key = data.draw(st.sampled_from(sorted(loaded)))
    loaded[key] = {"x": object()}
    assert faults(loaded, SCHEMA)
