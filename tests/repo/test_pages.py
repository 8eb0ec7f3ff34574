"""Pages that are made from code are those that are committed."""

import json
from pathlib import Path

import pytest

from confsync.settings import page
from confsync.settings.load import load
from confsync.settings.model import WITH_OWN_PATHS, Settings

DOCS = Path(__file__).parents[2] / "docs"


def test_the_settings_page_is_made_from_the_model() -> None:
    assert (DOCS / "settings.md").read_text() == page.text(), page.__doc__


def test_every_key_has_a_meaning() -> None:
    for types in Settings.tables().values():
        for table in types:
            assert table.__doc__
            assert set(page._meanings(table)) >= set(table.model_fields)


def test_every_default_of_the_page_is_a_default(tmp_path: Path) -> None:
    """The page as a settings file: what it calls defaults must load to the defaults."""
    text, table, needed = "", "", False
    for line in (DOCS / "settings.md").read_text().splitlines():
        if line.startswith(("## ", "### ")):
            if line.startswith("## "):
                table = line.removeprefix("## ")
            needed = line.startswith("### ") and line not in {
                '### type = "consul"',
                '### type = "socket"',
            }
            if (line.startswith("### ") or table not in {"[source]", "[target]"}) and not needed:
                text += f"{table}\n"
        elif line.startswith("| `") and not needed and table != "[[template]]":
            key, default, _ = (cell.strip() for cell in line[2:].split(" | ", 2))
            text += f"{key.strip('`')} = {default.strip('`')}\n"
    file = tmp_path / "confsync.toml"
    file.write_text(text.replace("[[template]]\n", ""))
    defaults = Settings.model_validate(
        {key: {} for key in WITH_OWN_PATHS}, context={"base": str(tmp_path)}
    )
    assert load(str(file), environ={}).settings == defaults
    assert len(text.splitlines()) > 50


def test_the_schema_is_json() -> None:
    assert json.loads((DOCS / "once.schema.json").read_text())["required"]


@pytest.mark.parametrize("name", ["settings.md", "commands.md", "once.md"])
def test_links_lead_somewhere(name: str) -> None:
    for part in (DOCS / name).read_text().split("](")[1:]:
        target = part.split(")")[0]
        assert target.startswith("https://") or (DOCS / target).exists(), target
