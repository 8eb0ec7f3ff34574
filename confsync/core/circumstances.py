"""What the planner knows beside the two texts that it compares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confsync.core.haproxy import vocabulary
from confsync.core.haproxy.servers import Server
from confsync.domain.running import Capabilities, Leftover

Place = tuple[str, int]
Cause = Callable[[str, Server], str]
"""Backend and server -> the registry's word for its absence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the texts do not say.

    `named`: backend and server -> whether other lines name it, and whether another tracks it.
    `files`: those that server lines of what runs have loaded. `places`: of all servers of the target.
    """

    capabilities: Capabilities
    release: vocabulary.Release
    leftovers: Mapping[tuple[str, str], Leftover]
    cause: Cause
    named: Callable[[str, str], tuple[bool, bool]]
    files: Callable[[], frozenset[tuple[str, str]]]
    places: Callable[[], frozenset[Place]]
