"""What the running build can do over its stats socket, asked from itself.

What it does not say is taken from measurements, and from the worker's first runtime server: a build
that forgets such a server's settings is one that can crash when a server is deleted (the repairs came
together; HAProxy 8a31783b6, 1b8c5abee, 7dae3ceaa, #2298). Nothing is tried out on live servers.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from confsync.adapters.haproxy import cli, readback, show
from confsync.adapters.haproxy.session import Session
from confsync.domain.change import AddServer, Step
from confsync.domain.running import Capabilities

OLDEST = (2, 6)
"""Before it `add server` is experimental (management.txt 2.5)."""
_SAFE = (3, 0)
_USUAL_BUFFER = 16_384
_LONGEST = 15_000
_BUFFER = re.compile(r"^\s*tune\.bufsize\s+(\d+)", re.MULTILINE)
_LISTED = "List of keywords supported for dynamic server:"
_PATCH = re.compile(r"\d+\.\d+\.(\d+)")

# The first patch release in which a server added to a backend with `cookie ... dynamic` was seen to
# keep its clients; 2.6.12 deletes their cookie.
_DYNAMIC_COOKIES = {(2, 8): 25, (3, 0): 11, (3, 2): 26}


async def ask(talk: Session, config: str, path: str) -> tuple[Capabilities | None, tuple[str, ...]]:
    """Ask for what can be done, and what the operator should know. `config`: HAProxy's main file."""
    version = talk.info.version
    release = show.release(version)
    level, known, words = await talk.ask("show cli level", "help", "add server help")
    if level.strip() != "admin":
        line = cli.STATS_LINE.format(path=path)
        found = level.strip()[:20] or "unknown"
        note = f"servers cannot be changed over {path}, its level is {found}: use `{line}`"
        return None, (note,)
    if release < OLDEST or "add server " not in known:
        return None, (f"HAProxy {version} changes no servers at runtime: 2.6 and later do",)
    return Capabilities(
        version=version,
        words=_words(words),
        deletes=release >= _SAFE,
        waits="  wait {" in known,
        maps="prepare map " in known and "commit map " in known,
        dynamic_cookies=_dynamic_cookies(version),
        line=_line(config),
    ), ()


def learns(steps: Iterable[Step], capabilities: Capabilities | None) -> AddServer | None:
    """Name the step whose server will tell whether deletions are safe; None when it is known."""
    if capabilities is None or capabilities.deletes:
        return None
    for step in steps:
        # One whose delay is its own tells nothing.
        if isinstance(step, AddServer) and not step.again and "pool-purge-delay" not in step.words:
            return step
    return None


def learned(capabilities: Capabilities, step: AddServer, answer: str) -> Capabilities:
    """Take from `show servers conn` whether a runtime server has its settings (0 on 2.6.12)."""
    delay = readback.purge_delays(answer).get((step.backend, step.server), 0)
    return replace(capabilities, deletes=delay > 0)


def _words(answer: str) -> frozenset[str] | None:
    """Read `add server help` (3.2 and on; others want a name)."""
    lines = [line.strip() for line in answer.split("\n")]
    if _LISTED not in lines:
        return None
    return frozenset(filter(None, lines[lines.index(_LISTED) + 1 :]))


def _line(config: str) -> int:
    """Give how long a command with its payload may be, by the file's `tune.bufsize`."""
    found = _BUFFER.findall(config)
    size = int(found[-1]) if found else _USUAL_BUFFER
    return max(min(size - _USUAL_BUFFER + _LONGEST, _LONGEST), size // 2, 500)


def _dynamic_cookies(version: str) -> bool:
    release = show.release(version)
    if release > max(_DYNAMIC_COOKIES):
        return True
    patch = _PATCH.match(version)
    return patch is not None and int(patch[1]) >= _DYNAMIC_COOKIES.get(release, 10_000)
