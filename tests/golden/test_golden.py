"""The built-in set to the byte. After a change that is meant: UPDATE_GOLDEN=1, then read the diff."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.golden import cases


def expected(path: Path, now: str) -> str:
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(now)
    return path.read_text()


@pytest.mark.parametrize("case", cases.CASES)
def test_a_catalog_renders_to_these_bytes(case: Any) -> None:
    made = cases.made(case)
    for file in made.config.files:
        name = file.destination.rpartition("/")[2]
        assert file.text == expected(cases.HERE / case / name, file.text)
    problems = "".join(
        f"{'dropped' if p.dropped else 'remark'} {p.service} {p.instance}: {p.what}\n"
        for p in made.problems
    )
    assert problems == expected(cases.HERE / case / "problems.txt", problems)


def test_there_are_cases() -> None:
    assert set(cases.CASES) >= {"empty", "plain", "registrator", "options"}


def test_the_order_of_registrations_changes_no_byte() -> None:
    asked = json.loads((cases.HERE / "registrator/catalog.json").read_text())["services"]
    one = cases.render(asked, "/x")
    for service in asked:
        service["instances"].reverse()
    assert cases.render(asked[::-1], "/x") == one


def test_a_secret_is_masked_as_it_is_written_too() -> None:
    config = cases.made("options").config
    text = config.files[-1].text
    assert r"insecure-password p\x25" in text
    masked = config.masked(text)
    assert "insecure-password *****\n" in masked
    assert r"p\x25" not in masked
    assert config.masked("stats_password = p%\"a #s'\\$") == "stats_password = *****"
