"""Words of older configurations that HAProxy no longer takes, with what is written today. Pure.

HAProxy says that a word is unknown or ignored; what to write in its place it does not say.
Sources: announcements and manuals of 2.5 (nbproc gone) and 2.7 (bind-process gone); 2.6 ignores the
latter with a warning (tried).
"""

import re
from collections.abc import Mapping

_LINE = re.compile(r"^[ \t]*(nbproc|bind-process|stats[ \t]+bind-process)\b(.*)$", re.MULTILINE)
_OF_A_PROCESS = re.compile(r"^[ \t]*bind[ \t]+(?!-)\S.*[ \t]process[ \t]+(\S+)", re.MULTILINE)

_NBPROC = (
    "HAProxy from 2.5 on is one process with threads: remove the line; it uses all CPUs by itself, "
    "and `nbthread {count}` sets a number"
)
_BIND_PROCESS = (
    "there is only one process: remove the line. A page of statistics for each process is needed no "
    "longer either: one `listen` with `stats enable` is complete over all threads"
)
_PROCESS = "there is only one process: remove `process {of}`; `thread {of}` binds to threads"


def explained(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Explain each such line. `texts`: path -> a configuration's text."""
    found: list[str] = []
    for path, text in texts.items():
        places: list[tuple[int, str]] = []
        for match in _LINE.finditer(text):
            word = " ".join(match[1].split())
            said = _BIND_PROCESS
            if word == "nbproc":
                said = _NBPROC.format(count=_number(match[2]))
            places.append((match.start(1), f"{word}: {said}"))
        places += [
            (match.start(), f"bind ... process: {_PROCESS.format(of=match[1])}")
            for match in _OF_A_PROCESS.finditer(text)
        ]
        found += [f"{path}:{text.count(chr(10), 0, at) + 1}: {said}" for at, said in sorted(places)]
    return tuple(found)


def _number(rest: str) -> str:
    words = rest.split()
    return words[0] if words and words[0].isdigit() else "N"
