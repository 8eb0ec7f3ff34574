"""Decides when this host takes, keeps and gives up the shared addresses. Events in, actions out.

Three rules, kept whatever happens in whatever order (tests/unit/core/test_failover.py):

1. No address without being master and healthy; but for a moment after a goodbye, until the other
   host has it.
2. A leaving always ends without address and without the program that elects.
3. While HAProxy does not answer, that program does not run.

It owns no clock: pauses are actions, and their end is an event.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

BURST = (0.05, 0.15, 0.3, 0.6, 1.2, 2.5)
"""Seconds after a take-over at which it is announced again. The third is after the end of the
other host's farewell: who asked meanwhile may have got its answer."""
EVERY = 10
"""Ticks between two announcements after that: who was cut off learns of it too."""
NEWS = 4
"""Ticks after a take-over from which on another holder is worth a line in the log."""
SETTLED = 20
"""Ticks after which a program counts as one that works."""
SHORTEST, LONGEST = 0.1, 15.0
"""Seconds that a program which ends again and again rests: twice as many each time."""


class Word(StrEnum):
    """What the program that elects says."""

    MASTER = "master"
    BACKUP = "backup"
    CONTESTED = "contested"
    """Another host had the address too, and will give it up."""
    ENDED = "ended"


class Pause(StrEnum):
    """What is waited for."""

    FAREWELL = "farewell"
    """After a goodbye the other host has so long to take over, before the address goes."""
    REST = "rest"
    """The program ended by itself, or the address could not be set."""


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """HAProxy answers, or does not; `why` in words."""

    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The program said something; `serial` is its start's."""

    serial: int
    word: Word
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The lease is to be renewed. `late`: it may have run out, since this comes too late."""

    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An address could not be set or renewed."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A pause is over."""

    pause: Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The host stops taking part."""


Event = Health | Said | Tick | Refused | Over | Leave

# Actions


class Do(StrEnum):
    """What needs no more words."""

    STOP = "stop"
    """End the program at once."""
    GOODBYE = "goodbye"
    """End the program, and tell the others that this host gives up."""
    BEAT = "beat"
    """Tell what guards the program that this host's owner of the address lives."""
    TAKE = "take"
    """Set the addresses, announce them, and again after each pause of BURST."""
    RENEW = "renew"
    ANNOUNCE = "announce"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start the program."""

    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """Wait, then say that it is Over. `seconds` of a farewell are the program's (0)."""

    pause: Pause
    seconds: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Say something in the log."""

    level: str
    text: str
    why: str = ""


Action = Do | Start | Await | Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where this host stands.

    `running`: the serial of the program, 0 when none runs. `held`: the addresses are set, as far as
    this host knows. `ticks`: since the take-over; `lived`: since the program's start.
    """

    healthy: bool = False
    why: str = "HAProxy has not answered yet"
    leaving: bool = False
    running: int = 0
    serial: int = 0
    master: bool = False
    held: bool = False
    parting: bool = False
    resting: bool = False
    failures: int = 0
    ticks: int = 0
    lived: int = 0

    @property
    def left(self) -> bool:
        """Nothing is left to be done."""
        return self.leaving and not (self.running or self.held or self.parting)


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """Take an event; return where that leads, and what to do for it, in order."""
    after, first = _take_in(state, event)
    actions = [*first]
    while True:
        changed, more = _follow(after)
        actions += more
        if changed == after:
            return after, tuple(actions)
        after = changed


def _take_in(state: State, event: Event) -> tuple[State, Iterator[Action]]:
    match event:
        case Health():
            return _health(state, event)
        case Said(serial=serial):
            mine = state.running and serial == state.running
            return _said(state, event) if mine else (state, iter(()))
        case Tick():
            return _tick(state, late=event.late)
        case Refused():
            return _refused(state, event.why)
        case Over(pause=Pause.FAREWELL):
            gone = replace(state, parting=False, held=False)
            return gone, iter(
                (Do.DROP, Do.STOP, Tell(level="info", text="shared address given up"))
            )
        case Over():
            return replace(state, resting=False), iter(())
        case Leave():
            return replace(state, leaving=True), iter(())


def _health(state: State, event: Health) -> tuple[State, Iterator[Action]]:
    after = replace(state, healthy=event.ok, why="" if event.ok else event.why)
    if event.ok == state.healthy:
        return after, iter(())
    if event.ok:
        return after, iter((Tell(level="info", text="taking part in the shared address"),))
    text = "HAProxy does not answer, not taking part in the shared address"
    return after, iter((Tell(level="error", text=text, why=event.why),))


def _said(state: State, event: Said) -> tuple[State, Iterator[Action]]:
    match event.word:
        case Word.MASTER:
            return replace(state, master=True), iter(())
        case Word.BACKUP:
            return replace(state, master=False), iter(())
        case Word.CONTESTED:
            told = Tell(level="warning", text="another host had the shared address too")
            # A goodbye that is repeated looks the same, and is nothing to be told.
            news = (told,) if state.ticks >= NEWS else ()
            return state, iter((Do.ANNOUNCE, *news) if state.held else ())
        case Word.ENDED:
            told = Tell(level="error", text="the program that elects ended", why=event.detail)
            return _fail(state, told)


def _tick(state: State, *, late: bool) -> tuple[State, Iterator[Action]]:
    if state.held and late and not state.parting:
        # The other host may have it by now: what is not known to be ours is not renewed.
        text = "held up for too long, shared address given up"
        told = Tell(level="error", text=text)
        lost = replace(state, held=False, master=False, running=0)
        return lost, iter((Do.DROP, Do.STOP, told))
    actions: list[Action] = []
    after = state
    if state.running:
        lived = state.lived + 1
        after = replace(after, lived=lived, failures=0 if lived >= SETTLED else state.failures)
        actions.append(Do.BEAT)
    if state.held and not state.parting:
        after = replace(after, ticks=state.ticks + 1)
        actions.append(Do.RENEW)
        if after.ticks % EVERY == 0:
            actions.append(Do.ANNOUNCE)
    return after, iter(actions)


def _refused(state: State, why: str) -> tuple[State, Iterator[Action]]:
    if not state.held or state.parting:
        return state, iter(())
    return _fail(state, Tell(level="error", text="the shared address cannot be set", why=why))


def _fail(state: State, told: Tell) -> tuple[State, Iterator[Action]]:
    """Give up, and rest before the next try: longer each time."""
    actions: list[Action] = [told]
    after = state
    if not state.resting:
        seconds = min(LONGEST, SHORTEST * 2 ** min(state.failures, 10))
        actions.append(Await(pause=Pause.REST, seconds=seconds))
        after = replace(after, resting=True, failures=state.failures + 1)
    if state.held and not state.parting:
        actions += _part()
        after = replace(after, parting=True)
    elif state.running:
        actions.append(Do.STOP)
    return replace(after, running=0, master=False), iter(actions)


def _part() -> tuple[Action, ...]:
    return (Do.RENEW, Do.GOODBYE, Await(pause=Pause.FAREWELL))


def _follow(state: State) -> tuple[State, tuple[Action, ...]]:
    """Do the next thing that the state asks for."""
    fit = state.healthy and not state.leaving
    if state.parting:
        return state, ()
    if state.running and not fit:
        over = replace(state, running=0, master=False)
        if state.held:
            return replace(over, parting=True), _part()
        return over, (Do.STOP,)
    if state.held and not state.master:
        told = Tell(level="warning", text="another host has the shared address now")
        return replace(state, held=False), (Do.DROP, told)
    if state.master and not state.held:
        told = Tell(level="warning", text="this host has the shared address now")
        return replace(state, held=True, ticks=0), (Do.TAKE, told)
    if fit and not state.running and not state.resting:
        serial = state.serial + 1
        started = replace(state, serial=serial, running=serial, master=False, lived=0)
        return started, (Start(serial=serial),)
    return state, ()
