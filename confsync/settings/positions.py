"""On which line of a TOML file a key stands; tomllib does not tell.

Works on text that tomllib has accepted, so it only follows the shape: heads of tables, keys, and
where a value ends. What is inside an inline table or a list has the line of the key that holds it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]

# The alternatives stand in this order because a longer quote begins like a shorter one. A
# multi-line string may end with up to two more quotes of its own (TOML 1.0, String).
_PIECE = re.compile(
    r'''
      """ (?: \\. | [^\\] )*? """ "{0,2}
    | \'\'\' .*? \'\'\' '{0,2}
    | " (?: \\. | [^"\\\n] )* "
    | ' [^'\n]* '
    | \# [^\n]*
    | [A-Za-z0-9_-]+
    | [^\S\n]+
    | .
    ''',
    re.DOTALL | re.VERBOSE,
)


def positions(text: str) -> dict[Path, int]:
    """Map each key's path to its line, from 1; items of arrays of tables have their index in it."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for line, parts, brackets in _statements(text):
        if brackets == 0:
            _remember(found, table, parts, line)
            continue
        above = _resolved(parts[:-1], counts)
        if brackets == 2:
            array = (*above, parts[-1])
            counts[array] = counts.get(array, -1) + 1
        table = _resolved(parts, counts)
        _remember(found, (), table, line)
    return found


def line_of(path: Path, found: Mapping[Path, int]) -> int:
    """Find the line of a path or of what holds it; 0 when the file has neither."""
    while path:
        if path in found:
            return found[path]
        path = path[:-1]
    return 0


def _statements(text: str) -> Iterator[tuple[int, Path, int]]:
    """Yield (line, parts of the name, brackets) of each key (0 brackets) and head (1 or 2)."""
    line, start, depth, brackets = 1, 1, 0, 0
    parts: list[str] = []
    state = "start"
    for match in _PIECE.finditer(text):
        piece = match[0]
        if state == "value":
            # Quoted text is one piece, so a bracket seen here is one of the value's own.
            depth += (piece in "[{") - (piece in "]}")
            if piece == "\n" and depth == 0:
                state = "start"
        elif state == "head":
            if piece == "[" and not parts:
                brackets = 2
            elif piece == "\n":
                yield start, tuple(parts), brackets
                state = "start"
            else:
                parts += _part(piece)
        elif piece == "=":
            yield start, tuple(parts), 0
            state, depth = "value", 0
        elif state == "key":
            parts += _part(piece)
        elif not piece.isspace() and not piece.startswith("#"):
            start, brackets = line, int(piece == "[")
            parts = [] if brackets else _part(piece)
            state = "head" if brackets else "key"
        line += piece.count("\n")
    if state == "head":
        yield start, tuple(parts), brackets


def _part(piece: str) -> list[str]:
    if piece in ".]" or piece.isspace() or piece.startswith("#"):
        return []
    return [str(tomllib.loads(f"k = {piece}")["k"]) if piece[0] in "\"'" else piece]


def _resolved(parts: Path, counts: Mapping[Path, int]) -> Path:
    """Put the index of its newest item behind each array of tables on the way."""
    path: Path = ()
    for part in parts:
        path = (*path, part)
        if path in counts:
            path = (*path, counts[path])
    return path


def _remember(found: dict[Path, int], table: Path, parts: Path, line: int) -> None:
    for end in range(1, len(parts) + 1):
        found.setdefault((*table, *parts[:end]), line)
