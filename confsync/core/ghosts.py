"""One address and port under two services: one of the registrations is a ghost, and which is told.

Nothing is dropped for it: which of the two is real is not known in here.
"""

from collections.abc import Mapping

from confsync.core.registrations import Made, Work
from confsync.core.untrusted import shown
from confsync.domain.loadbalancer import Problem


class Ghosts:
    """Who holds which server, kept up to date service by service."""

    def __init__(self) -> None:
        self._holders: dict[str, tuple[str, ...]] = {}
        self._remarks: dict[str, list[Problem]] = {}
        self._touched: set[str] = set()

    def replaced(self, name: str, before: Made | None, after: Made | None) -> None:
        """Take note of a service that came, changed or went."""
        old = before.names if before else frozenset[str]()
        new = after.names if after else frozenset[str]()
        mine = (name,)
        for server in old - new:
            left = tuple(holder for holder in self._holders.pop(server) if holder != name)
            if left:
                self._holders[server] = left
        for server in new - old:
            self._holders[server] = self._holders.get(server, ()) + mine
        # Also where the holders stayed: which of them is the newest may have changed.
        self._touched |= {
            s for s in old | new if s in self._remarks or len(self._holders.get(s, mine)) > 1
        }

    def look(self, made: Mapping[str, Made]) -> bool:
        """Remark anew on what changed, and tell whether anything did. `made`: name -> service."""
        touched, self._touched = self._touched, set()
        for server in touched:
            self._remarks.pop(server, None)
            holders = self._holders.get(server, ())
            if len(holders) > 1:
                self._remarks[server] = _remarks(server, [made[name] for name in holders])
        return bool(touched)

    def problems(self) -> list[Problem]:
        """Give the remarks on all that is shared, in no order."""
        return [problem for found in self._remarks.values() for problem in found]


def _remarks(server: str, holders: list[Made]) -> list[Problem]:
    work = Work(frozenset(), {})
    found = [
        (each.backend.name, one)
        for each in sorted(holders, key=lambda each: each.backend.slug)
        for one in each.served
        if one.server.server == server
    ]
    newest = max(one.modify_index for _, one in found)
    newer = [name for name, one in found if one.modify_index == newest]
    likely = f"; {shown(newer[0])} registered last" if len(newer) == 1 else ""
    names = ", ".join(shown(name) for name, _ in found[:5])
    for name, one in found:
        if len(newer) == 1 and name == newer[0]:
            continue
        work.problem(
            f"{server} is registered under {len(found)} services ({names}){likely}",
            name,
            one.server.id,
            dropped=False,
        )
    return work.problems
