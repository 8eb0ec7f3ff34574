"""What a line means that one of the load balancer's programs wrote. Pure."""

import re

from confsync.core.haproxy import verdict

# HAProxy's own words in capitals; nginx's in small letters.
_LEVEL = re.compile(r"\[(?:(ALERT|EMERG|emerg|alert|crit|error)|(WARNING|warn))\]")


def level(line: str) -> str:
    """Choose the level to log it with."""
    found = _LEVEL.search(line[:200])
    if found is None:
        return "info"
    return "error" if found[1] else "warning"


def shown(line: str) -> str:
    """Hide what follows the words for a password."""
    return verdict.without_passwords(line)
