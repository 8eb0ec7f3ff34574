"""What pages say of this repository is so: links lead somewhere, commands and flags exist."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync.cli import arguments

ROOT = Path(__file__).parents[2]
FOLDERS = (
    ".",
    "docs",
    "docs/adr",
    "examples/*",
    "benchmarks",
    "tests/support",
    "confsync/adapters",
)
PAGES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))
PARSER = arguments.parser()
(SUB,) = (a for a in PARSER._actions if isinstance(a, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = dict(SUB.choices)

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(path: Path) -> set[str]:
    """Name each heading as GitHub does."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    bare = (re.sub(r"[^\w\- ]", "", head.lower()) for head in heads)
    return {head.replace(" ", "-") for head in bare}


@page
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name) if name else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def commands(text: str) -> Iterator[list[str]]:
    """Find calls of confsync: in `code` between words, and on lines of their own."""
    inline = re.findall(r"`(confsync(?: [^`]+)?)`", text)
    lines = re.findall(r"^(?: {4,}|[#$] )(?:\S*/)?(confsync .+)$", text, re.MULTILINE)
    for found in (*inline, *lines):
        # What comes behind is a remark, a pipe, or what a placeholder leaves open.
        words = re.split(r"\s+#|\s*[|>;&]|,$|\.\.\.", found.replace("\\|", "|"))[0]
        yield shlex.split(re.sub(r"[\[\]]", " ", words))[1:]


@page
def test_commands_and_flags_exist(path: Path) -> None:
    for words in commands(path.read_text()):
        names = [word for word in words if word in COMMANDS]
        parsers = [COMMANDS[name] for name in names[:1]] or [PARSER]
        known = {flag for parser in (PARSER, *parsers) for flag in parser._option_string_actions}
        plain = [word for word in words if re.fullmatch("[a-z]+", word)]
        assert not plain or names or words[0].startswith("-"), words
        assert {word for word in words if word.startswith("-")} <= known, words


@page
def test_targets_of_make_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = path.read_text()
    asked = re.findall(r"(?:`|^ {4})make ([a-z]+)", text, re.MULTILINE)
    assert set(asked) <= targets


@page
def test_files_that_are_named_exist(path: Path) -> None:
    """`docs/x.md`, `confsync/x.py`: from the root, from the page's folder or from the package."""
    found = re.findall(
        r"`((?:confsync|docs|tests|templates|deploy|benchmarks|examples|scripts)/[\w./-]+)`",
        path.read_text(),
    )
    for name in found:
        assert any(ROOT.glob(name.rstrip("/"))), name


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/commands.md", "docs/adr/README.md"} <= {
        str(path.relative_to(ROOT)) for path in PAGES
    }
    assert ["once", "--apply", "--adopt"] in list(commands((ROOT / "README.md").read_text()))
    assert list(commands("see `confsync frob --x`\n\n    confsync once --nix  # y\n")) == [
        ["frob", "--x"],
        ["once", "--nix"],
    ]


def test_every_target_of_make_has_its_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    assert targets == re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert sorted(phony.split()) == sorted(targets)
