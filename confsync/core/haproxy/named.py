"""Which files a configuration names beside itself: maps, ACLs, certificates, error pages, scripts.

HAProxy reads them when it loads and never again, so equal texts are not equal states when one of them
changed. Every absolute path in a word counts, whatever stands before it (one that is no file is the
adapter's to see), and of relative ones those behind words that are known to name a file.
"""

import re

from confsync.core.haproxy import text
from confsync.core.haproxy.remembering import Each, Remembered
from confsync.core.haproxy.words import value


def _words(said: str) -> frozenset[str]:
    return frozenset(said.split())


_PATH = re.compile(r"(?:(?<![\w./~+@%:-])|(?<=\bfile@)|(?<=\bopt@))/[\w./~+@%-]*[\w~+-]")
# What HAProxy writes, binds or lives in; a state file changes all the time, and counts at loads only.
_NOT_READ = _words(
    """backing-file chroot log pidfile server-state-base server-state-file server-state-file-name
    shm-stats-file stats stats-file"""
)
_BEHIND = _words(
    """-f ca-file ca-verify-file crl-file crt crt-list lua-load lua-load-per-thread
    ssl-dh-param-file tls-ticket-keys"""
)
_RELATIVE = re.compile(r"[\w.+-][\w./+-]*\Z")
_CONVERTED = re.compile(r"\bmap(?:_\w+)?\(([^,()\s]+)")


def paths(configs: tuple[str, ...]) -> tuple[str, ...]:
    """List the paths that configurations name, sorted; a relative one is relative to HAProxy's own."""
    found: set[str] = set()
    for config in configs:
        pieces = text.pieces(config)
        text.section.expect(len(pieces))
        found.update(*_each(pieces))
    return tuple(sorted(found))


@Remembered
def _of(chunk: str) -> frozenset[str]:
    if not ("/" in chunk or "map" in chunk or "file" in chunk or "crt" in chunk or "-f" in chunk):
        return frozenset()
    section = text.section(chunk)
    found: set[str] = set()
    for line in section.lines:
        plain = [value(word) for word in line]
        if plain[0] in _NOT_READ:
            continue
        for before, word in zip((None, *plain), plain, strict=False):
            if word is None:
                continue
            found.update(_PATH.findall(word))
            found.update(name for name in _CONVERTED.findall(word) if _RELATIVE.match(name))
            behind = before in _BEHIND or (plain[0] == "errorfile" and [before] == plain[1:2])
            if behind and not word.startswith("/"):
                found.add(word)
    return frozenset(found)


_each = Each(_of)
