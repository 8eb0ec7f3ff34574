"""What a container was given over the engine's API, remembered in the state directory.

Another container in its place has lost it, which is no edit by another hand.
"""

from collections.abc import Mapping

from confsync import errors
from confsync.adapters.docker.container import Container
from confsync.core.placement import Placement
from confsync.ports import StateStore

_STATE = "delivered"


class Handed:
    """The memory of one setting's container. Blocking."""

    def __init__(self, state: StateStore, wanted: str, place: Placement) -> None:
        """`wanted`: the container as the settings name it."""
        self._state = state
        self._wanted = wanted
        self._place = place

    def to(self, container: Container) -> tuple[Mapping[str, str], frozenset[str]]:
        """Tell what this very container was given (destination -> digest), and what is lost.

        Lost is what another container was given in whose place this one stands now; a volume keeps
        its files.
        """
        kept = self._state.load(_STATE)
        if not isinstance(kept, dict) or kept.get("container") != self._wanted:
            return {}, frozenset()
        files = kept.get("files")
        files = files if isinstance(files, dict) else {}
        if kept.get("id") == container.id:
            return files, frozenset()
        own = (d for d in files if container.mount_of(self._place.seen(d)) is None)
        return {}, frozenset(own)

    def save(self, container: Container, files: Mapping[str, str | None]) -> str:
        """Remember what it was given; returns why that cannot be ("" when it can)."""
        made = {"container": self._wanted, "id": container.id, "files": dict(files)}
        try:
            if self._state.load(_STATE) != made:
                self._state.save(_STATE, made)
        except errors.StateError as error:
            return f"what was put into {container.name} cannot be remembered: {error}"
        return ""
