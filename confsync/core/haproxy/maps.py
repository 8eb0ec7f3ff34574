"""Map files: their entries as HAProxy reads them, and whether a configuration names one as a map.

Format: manual 7.3.1 (`map`) and pattern.c: a key, blanks, a value to the line's end; `#` begins a
comment at a line's start only. Of two equal keys the first counts, in regex and prefix maps the first
that matches: so entries keep their order, and a map is replaced as a whole.
"""

import functools
import posixpath
import re

from confsync.core.haproxy import text
from confsync.core.haproxy.words import value

Entries = tuple[tuple[str, str], ...]

# Maps that take any text: an address, a number or a regular expression may be refused by HAProxy.
_BEFORE = re.compile(r"\bmap(?:_(?:beg|dir|dom|end|len|str|sub))?(?:_str)?\(\Z")
_BLANKS = re.compile(r"[ \t]")
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@functools.lru_cache(maxsize=8)
def entries(content: str) -> Entries | None:
    """Read a map file; None when it holds what cannot be said over the socket."""
    found = []
    for line in content.split("\n"):
        bare = line.rstrip("\r").strip(" \t")
        if not bare or bare.startswith("#"):
            continue
        key = _BLANKS.split(bare, maxsplit=1)[0]
        said = bare[len(key) :].strip(" \t")
        if not said or _UNSAFE.search(bare):
            return None
        found.append((key, said))
    return tuple(found)


def fewer(old: Entries, new: Entries) -> bool:
    """Tell whether entries only left, the others in their order."""
    rest = iter(old)
    return all(entry in rest for entry in new)


def named(path: str, configs: tuple[str, ...]) -> bool:
    """Tell whether configurations name a file as a map that takes any text, and as nothing else.

    Nor by another name, such as a relative one: HAProxy has a map of its own for each.
    """
    found = False
    base = posixpath.basename(path)
    for config in configs:
        if base not in config:
            continue
        for chunk in text.pieces(config):
            if base not in chunk:
                continue
            section = text.section(chunk)
            for words in (section.head, *section.lines):
                for word in words:
                    if base not in word:
                        continue
                    if _otherwise(value(word), path):
                        return False
                    if path not in word:
                        continue
                    if not _as_map(value(word), path):
                        return False
                    found = True
    return found


def _otherwise(word: str | None, path: str) -> bool:
    """Tell whether a word may name a file by another name."""
    names = re.findall(rf"[\w./+~-]*{re.escape(posixpath.basename(path))}(?![\w.+~-])", word or "")
    return any(
        name != path and (not name.startswith("/") or posixpath.normpath(name) == path)
        for name in names
        if posixpath.basename(name) == posixpath.basename(path)
    )


def _as_map(word: str | None, path: str) -> bool:
    position = word.find(path) if word else -1
    while word and position >= 0:
        behind = position + len(path)
        if not _BEFORE.search(word[:position]) or word[behind : behind + 1] not in {",", ")"}:
            return False
        position = word.find(path, behind)
    return bool(word)
