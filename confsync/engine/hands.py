"""What operators changed over HAProxy's socket by hand: left to them, and put back after a reload."""

from dataclasses import dataclass

from confsync.domain.change import Admin, ReplaceMap, SetState, SetWeight, Step
from confsync.domain.running import Drift, Expected

Place = tuple[str, str]


@dataclass(slots=True)
class Hands:
    """What operators changed over HAProxy's socket, and is left to them: as the audit found it."""

    found: tuple[Drift, ...] = ()

    def weighed(self) -> frozenset[Place]:
        """Name the servers whose weight is held by hand."""
        return frozenset((d.backend, d.server) for d in self.found if isinstance(d.hand, SetWeight))

    def kept_by(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Leave weights out that are held by hand."""
        held = self.weighed()
        if not held:
            return steps
        return tuple(
            s for s in steps if not (isinstance(s, SetWeight) and (s.backend, s.server) in held)
        )

    def outdated(self, steps: tuple[Step, ...]) -> None:
        """Forget those of servers that steps have changed."""
        if not self.found:
            return
        touched = {(s.backend, s.server) for s in steps if not isinstance(s, ReplaceMap)}
        self.found = tuple(d for d in self.found if (d.backend, d.server) not in touched)

    def after_a_load(self, expected: tuple[Expected, ...]) -> tuple[Step, ...]:
        """Give the steps that put them back once HAProxy has loaded a file."""
        there = {(e.backend, e.server) for e in expected if not e.retired}
        return tuple(
            d.hand for d in self.found if d.hand is not None and (d.backend, d.server) in there
        )


def to_plain(found: tuple[Drift, ...]) -> object:
    """Turn what is held into JSON's values."""
    return [
        {
            "backend": d.backend,
            "server": d.server,
            "what": d.what,
            "state": d.hand.state.value if isinstance(d.hand, SetState) else "",
            "agent": isinstance(d.hand, SetState) and d.hand.agent,
            "weight": d.hand.weight if isinstance(d.hand, SetWeight) else -1,
        }
        for d in found
    ]


def from_plain(value: object) -> tuple[Drift, ...]:
    """Read what was held by hand; what cannot be read is held by nobody."""
    found = []
    try:
        for each in value if isinstance(value, list) else ():
            backend, server = str(each["backend"]), str(each["server"])
            hand: Step = SetWeight(backend=backend, server=server, weight=int(each["weight"]))
            if each["state"]:
                agent = each.get("agent") is True
                hand = SetState(
                    backend=backend, server=server, state=Admin(each["state"]), agent=agent
                )
            found.append(Drift(backend=backend, server=server, what=str(each["what"]), hand=hand))
    except (KeyError, TypeError, ValueError):
        return ()
    return tuple(found)
