"""Two configuration texts compared, in words that an operator understands."""

from collections import Counter
from collections.abc import Mapping

from confsync.core.haproxy import text
from confsync.core.haproxy.text import Section

Absent = Mapping[str, Mapping[str, str]]
"""Proxy -> server -> the registry's status that keeps it out (none: deregistered)."""

# Keywords that may stand once a section: a difference is a change from one value to another.
_SINGLE = frozenset(
    {
        "balance",
        "mode",
        "maxconn",
        "hash-type",
        "default_backend",
        "log-format",
        "retries",
        "cookie",
    }
)
_LONGEST = 120


def equal_but_for_comments(old: str, new: str) -> bool:
    """Tell whether HAProxy reads both texts as the same lines in the same order."""
    return text.sections(old) == text.sections(new)


def reasons(old: str, new: str, absent: Absent | None = None) -> tuple[str, ...]:
    """Say what differs from `old` to `new`, section by section, in the order of `new`."""
    before, after = text.sections(old), text.sections(new)
    old_by_key, new_by_key = _by_key(before), _by_key(after)
    found: list[str] = []
    for key, section in new_by_key.items():
        known = old_by_key.get(key)
        if known is None:
            found.append(added(section))
        elif known != section:
            found.extend(_changes(known, section, (absent or {}).get(section.name, {})))
    found.extend(f"{title(s)} removed" for key, s in old_by_key.items() if key not in new_by_key)
    if not found and before != after:
        found.append("the order of sections changed")
    return tuple(found)


def _by_key(sections: tuple[Section, ...]) -> dict[tuple[str, str, int], Section]:
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for section in sections:
        pair = (section.keyword, section.name)
        found[(*pair, seen[pair])] = section
        seen[pair] += 1
    return found


def added(section: Section) -> str:
    """Say that a section is new."""
    count = sum(1 for line in section.lines if line[0] == "server")
    servers = f" with {count} server{'s' if count != 1 else ''}" if count else ""
    return f"{title(section)} added{servers}"


def title(section: Section) -> str:
    """Name a section for an operator."""
    return f"{section.keyword} {section.name}".strip() or "the text before the first section"


def _changes(old: Section, new: Section, absent: Mapping[str, str]) -> list[str]:
    named = title(new)
    found = _head(old, new)
    old_servers, new_servers = _servers(old), _servers(new)
    for name, line in new_servers.items():
        if name not in old_servers:
            found.append(f"{named}: server {name} added")
        elif old_servers[name] != line:
            found.append(f"{named}: server {name}: {word_changes(old_servers[name], line)}")
    found.extend(
        f"{named}: server {name} removed ({absent.get(name, 'deregistered')})"
        for name in old_servers
        if name not in new_servers
    )
    if list(filter(new_servers.__contains__, old_servers)) != list(
        filter(old_servers.__contains__, new_servers)
    ):
        found.append(f"{named}: the order of servers changed")
    found += _lines(named, _others(old), _others(new))
    return found or [f"{named}: the order of lines changed"]


def line_changes(old: Section, new: Section, but: frozenset[str] = frozenset()) -> list[str]:
    """Say how two sections differ, lines of some keywords left out ([]: they do not)."""
    named = title(new)
    before = [line for line in old.lines if line[0] not in but]
    after = [line for line in new.lines if line[0] not in but]
    found = _head(old, new) + _lines(named, before, after)
    if not found and before != after:
        found.append(f"{named}: the order of lines changed")
    return found


def _head(old: Section, new: Section) -> list[str]:
    if old.head == new.head:
        return []
    return [f"{title(new)}: its first line changed to {_shown(new.head)}"]


def _lines(
    named: str, old_lines: list[tuple[str, ...]], new_lines: list[tuple[str, ...]]
) -> list[str]:
    found: list[str] = []
    gone, come = Counter(old_lines), Counter(new_lines)
    removed, new = list((gone - come).elements()), list((come - gone).elements())
    for line in list(new):
        match = next((r for r in removed if r[0] == line[0] and line[0] in _SINGLE), None)
        if match:
            removed.remove(match)
            new.remove(line)
            found.append(
                f"{named}: {line[0]} changed from {_shown(match[1:])} to {_shown(line[1:])}"
            )
    found.extend(f"{named}: `{_shown(line)}` removed" for line in removed)
    found.extend(f"{named}: `{_shown(line)}` added" for line in new)
    return found


def _servers(section: Section) -> dict[str, tuple[str, ...]]:
    return {line[1]: line for line in section.lines if line[0] == "server" and len(line) > 1}


def _others(section: Section) -> list[tuple[str, ...]]:
    return [line for line in section.lines if line[0] != "server" or len(line) < 2]


def word_changes(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    """Say how two server lines of one name differ."""
    pairs = [f"{a} -> {b}" for a, b in zip(old[2:], new[2:], strict=False) if a != b]
    if len(old) == len(new) and len(pairs) == 1:
        index = next(i for i in range(2, len(new)) if old[i] != new[i])
        keyword = f"{new[index - 1]} " if index > 2 else "address "
        return f"{keyword}{pairs[0]}"
    return f"`{_shown(old[2:])}` -> `{_shown(new[2:])}`"


def _shown(parts: tuple[str, ...]) -> str:
    line = " ".join(parts)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
