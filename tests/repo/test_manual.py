"""The man pages: made from the program, and read by what shows them without a complaint."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import manual
from tests.support import machine

PAGES = Path(__file__).parents[2] / "docs" / "man"


def test_the_pages_are_those_that_the_program_makes() -> None:
    """Else: make docs."""
    assert {path.name: path.read_text() for path in PAGES.iterdir()} == manual.pages()


def test_all_that_a_page_of_settings_holds_is_in_it() -> None:
    """No row or heading of docs/settings.md is lost on the way."""
    source = (PAGES.parent / "settings.md").read_text().splitlines()
    page = manual.settings()
    assert page.count("\n.TP\n") == sum(line.startswith("| `") for line in source) > 50
    assert page.count("\n.SS ") == sum(line.startswith("### ") for line in source)


@pytest.mark.parametrize("name", manual.pages())
@pytest.mark.parametrize(
    ("command", "accepted"),
    [
        (["groff", "-man", "-ww", "-z", "-K", "utf8", "-T", "utf8"], 0),
        # One remark: there is no date.
        (["mandoc", "-T", "lint"], 1),
    ],
    ids=["groff", "mandoc"],
)
def test_it_is_shown_without_a_warning(name: str, command: list[str], accepted: int) -> None:
    if shutil.which(command[0]) is None:
        raise machine.Missing(f"no {command[0]} on this machine")
    done = subprocess.run([*command, PAGES / name], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if "missing date" not in line] == []
    assert len(said) == accepted
