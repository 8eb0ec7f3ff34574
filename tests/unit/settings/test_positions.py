"""The line of every key of any TOML file."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from confsync.settings.positions import Path, line_of, positions

BARE = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=5
)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def basic(text: str) -> str:
    """Write a text as TOML's basic string."""
    return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def literal(text: str) -> str:
    kept = "".join(c for c in text if c.isprintable() and c != "'")
    return f"'{kept}'"


KEY = st.one_of(BARE, ANY.map(basic), ANY.map(literal))
VALUE = st.one_of(
    st.integers().map(str),
    st.sampled_from(["true", "1.5", "-inf", "1979-05-27T07:32:00Z", "0xff", "[]", "{}"]),
    st.sampled_from(
        [
            '"""\na = 1\n[x]\n"""',
            "'''\na = 1\n[x]\n'''",
            '"""quotes"""""',
            "'''quotes'''''",
            r'"""\"""" ',
            r'"\\"',
            "'\\'",
            '"[ # = "',
            "'[ # = '",
            '""',
            "''",
            '"a\\"b"',
            "[\n1, # ]\n[2,\n3]\n]",
            '["a", "]"]',
            '{a = 1, "b.c" = [1,\n2]}',
            "[{x = 1}, {x = 2}]",
            '["""a"""", "[",\n1]',
            "['''a'''', '[',\n1]",
        ]
    ),
    ANY.map(basic),
    ANY.map(literal),
)
FILLER = st.sampled_from(["", "\n", "  \n\t\n", "# comment = 1 [x] ' \"\n", "\n# ''' \"\"\"\n\n"])
SPACE = st.sampled_from(["", " ", "\t "])
TAIL = st.sampled_from(["", " # [x] = ' \"", "\t"])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    """A TOML text and the line of each key and head in it."""
    text, lines = "", {}
    counts: dict[str, int] = {}

    def name(key: str) -> str:
        return str(next(iter(tomllib.loads(f"{key} = 1"))))

    def keys(path: Path) -> str:
        written = ""
        for key in draw(st.lists(KEY, max_size=3, unique_by=name)):
            written_before = text + written + draw(FILLER)
            gap, after = draw(SPACE), draw(SPACE)
            lines[(*path, name(key))] = written_before.count("\n") + 1
            value = draw(VALUE)
            line = f"{gap}{key}{after}={draw(SPACE)}{value}{draw(TAIL)}\n"
            written = written_before[len(text) :] + line
        return written

    text += keys(())
    used = {str(path[0]) for path in lines}
    for head in draw(st.lists(KEY, max_size=4)):
        top = name(head)
        if top in used:
            continue
        text += draw(FILLER)
        line = text.count("\n") + 1
        gap = draw(SPACE)
        if draw(st.booleans()):
            index = counts.get(top, -1) + 1
            counts[top] = index
            path: Path = (top, index)
            lines.setdefault((top,), line)
            lines[path] = line
            text += f"{gap}[[{draw(SPACE)}{head}{draw(SPACE)}]]{draw(TAIL)}\n"
            text += keys(path)
            if draw(st.booleans()):
                sub = draw(BARE)
                if (*path, sub) not in lines:
                    lines[(*path, sub)] = text.count("\n") + 1
                    text += f"[{head} . {sub}]\n"
                    text += keys((*path, sub))
        elif top not in counts:
            used.add(top)
            lines[(top,)] = line
            text += f"{gap}[{draw(SPACE)}{head}{draw(SPACE)}]{draw(TAIL)}\n"
            text += keys((top,))
    return text, lines


@given(documents())
def test_every_key_has_its_line(document: tuple[str, dict[Path, int]]) -> None:
    text, lines = document
    value_at(tomllib.loads(text), lines)
    assert positions(text) == lines


def value_at(values: dict[str, Any], lines: dict[Path, int]) -> None:
    """Make sure that the document means what the strategy believes."""
    for path in lines:
        at: Any = values
        for part in path:
            at = at[part]


def test_dotted_keys_and_heads_without_a_parent() -> None:
    found = positions('a.b."c d" = 1\n\n[x.y]\nz = 1\n[x]\nw = 2\n')
    assert found == {
        ("a",): 1,
        ("a", "b"): 1,
        ("a", "b", "c d"): 1,
        ("x",): 3,
        ("x", "y"): 3,
        ("x", "y", "z"): 4,
        ("x", "w"): 6,
    }


def test_what_an_inline_table_holds_has_the_line_of_its_key() -> None:
    found = positions("\nvars = {a = {b = 1}}\n")
    assert line_of(("vars", "a", "b"), found) == 2
    assert line_of(("other",), found) == 0


def test_a_head_at_the_end_without_newline() -> None:
    assert positions("[a]\n[b]") == {("a",): 1, ("b",): 2}
