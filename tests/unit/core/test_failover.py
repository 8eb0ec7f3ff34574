"""When the shared addresses are taken, kept and given up: cases, and laws for any order of events."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from confsync.core import failover
from confsync.core.failover import (
    Action,
    Await,
    Do,
    Event,
    Health,
    Leave,
    Over,
    Pause,
    Refused,
    Said,
    Start,
    State,
    Tell,
    Tick,
    Word,
)


@dataclass
class Host:
    """What actions do to a host."""

    state: State = field(default_factory=State)
    program: int = 0
    address: bool = False
    waiting: Counter[Pause] = field(default_factory=Counter)
    done: list[Action] = field(default_factory=list)
    all: list[Action] = field(default_factory=list)
    """Of the last event; all without words for the log."""
    rests: list[float] = field(default_factory=list)

    def hear(self, *events: Event) -> list[Action]:
        for event in events:
            if isinstance(event, Over):
                self.waiting[event.pause] -= 1
            before = self.state
            self.state, actions = failover.step(self.state, event)
            self.done = [action for action in actions if not isinstance(action, Tell)]
            self.all += self.done
            for action in self.done:
                self._do(action)
            self._laws(before)
        return self.done

    def _do(self, action: Action) -> None:
        match action:
            case Start(serial=serial):
                assert not self.program, "two programs"
                self.program = serial
            case Do.STOP | Do.GOODBYE:
                self.program = 0
            case Do.TAKE:
                assert self.program, "taken without having won"
                assert self.state.healthy, "taken without an answer"
                assert not self.address, "taken twice"
                self.address = True
            case Do.RENEW:
                assert self.address, "renewed without having it"
            case Do.ANNOUNCE:
                assert self.address, "announced without having it"
            case Do.DROP:
                self.address = False
            case Await(pause=pause, seconds=seconds):
                self.waiting[pause] += 1
                if pause is Pause.REST:
                    self.rests.append(seconds)

    def _laws(self, before: State) -> None:
        state = self.state
        entitled = bool(state.master and state.healthy and not state.leaving and self.program)
        parting = self.waiting[Pause.FAREWELL] > 0
        assert not self.address or entitled or parting, (
            "an address without being master and healthy"
        )
        assert state.healthy or not self.program, "a program although HAProxy does not answer"
        assert not (state.leaving and self.program), "a program although the host leaves"
        assert self.address == state.held
        assert self.program == state.running
        assert all(0 <= count <= 1 for count in self.waiting.values()), "two of one pause"
        assert parting == state.parting
        assert not (parting and self.program), "a program during the farewell"
        if before.held and not before.parting and parting:
            assert Do.GOODBYE in self.done
            assert self.done.index(Do.GOODBYE) < self.done.index(Await(pause=Pause.FAREWELL))
            assert Do.DROP not in self.done, "the address goes before the other host has it"

    def over(self) -> None:
        """Let all pauses end."""
        for pause in Pause:
            if self.waiting[pause]:
                self.hear(Over(pause=pause))

    def said(self, word: Word, detail: str = "") -> list[Action]:
        return self.hear(Said(serial=self.program, word=word, detail=detail))


def holder() -> Host:
    host = Host()
    host.hear(Health(ok=True))
    host.said(Word.BACKUP)
    assert host.said(Word.MASTER) == [Do.TAKE]
    return host


def test_nothing_happens_before_haproxy_answers() -> None:
    host = Host()
    host.hear(Tick(), Health(ok=False, why="no answer"), Tick())
    assert host.all == []
    assert host.hear(Health(ok=True)) == [Start(serial=1)]


def test_who_wins_takes_renews_and_announces_now_and_then() -> None:
    host = holder()
    host.all.clear()
    host.hear(*[Tick()] * (2 * failover.EVERY))
    assert Counter(map(str, host.all)) == {
        "beat": 2 * failover.EVERY,
        "renew": 2 * failover.EVERY,
        "announce": 2,
    }


def test_who_loses_gives_up_at_once() -> None:
    host = holder()
    assert host.said(Word.BACKUP) == [Do.DROP]
    assert host.program
    assert host.said(Word.MASTER) == [Do.TAKE]


def test_leaving_says_goodbye_first_and_drops_the_address_last() -> None:
    host = holder()
    assert host.hear(Leave()) == [Do.RENEW, Do.GOODBYE, Await(pause=Pause.FAREWELL)]
    assert not host.state.left
    assert host.hear(Over(pause=Pause.FAREWELL)) == [Do.DROP, Do.STOP]
    assert host.state.left


def test_who_has_nothing_leaves_at_once() -> None:
    host = Host()
    host.hear(Health(ok=True))
    assert host.hear(Leave()) == [Do.STOP]
    assert host.state.left


def test_a_haproxy_that_does_not_answer_costs_the_address() -> None:
    host = holder()
    assert host.hear(Health(ok=False, why="hung")) == [
        Do.RENEW,
        Do.GOODBYE,
        Await(pause=Pause.FAREWELL),
    ]
    assert host.state.why == "hung"
    # It may be healthy again before the other one has taken over: that goes on in order.
    assert host.hear(Health(ok=True)) == []
    assert host.hear(Over(pause=Pause.FAREWELL)) == [Do.DROP, Do.STOP, Start(serial=2)]


def test_a_late_renewal_takes_nothing_back() -> None:
    host = holder()
    assert host.hear(Tick(late=True)) == [Do.DROP, Do.STOP, Start(serial=2)]


def test_words_of_an_earlier_run_are_not_heard() -> None:
    host = holder()
    host.hear(Health(ok=False), Over(pause=Pause.FAREWELL), Health(ok=True))
    for word in Word:
        assert host.hear(Said(serial=1, word=word)) == []


def test_a_program_that_ends_rests_longer_each_time() -> None:
    host = Host()
    host.hear(Health(ok=True))
    for _ in range(10):
        host.said(Word.ENDED, "exit code 1")
        host.over()
    assert host.rests == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15]
    host.hear(*[Tick()] * failover.SETTLED)
    host.said(Word.ENDED)
    assert host.rests[-1] == 0.1


def test_the_end_of_the_program_that_won_hands_over() -> None:
    host = holder()
    host.said(Word.ENDED, "killed")
    assert Do.GOODBYE in host.done
    assert host.address
    host.over()
    assert not host.address
    assert host.program == 2


def test_an_address_that_cannot_be_set_is_no_silent_master() -> None:
    host = holder()
    state, actions = failover.step(host.state, Refused(why="no right"))
    told = [action for action in actions if isinstance(action, Tell)]
    assert [(each.level, each.why) for each in told] == [("error", "no right")]
    host.hear(Refused(why="no right"))
    assert not host.program
    assert state == host.state


def test_another_holder_is_answered_and_told_only_when_it_is_news() -> None:
    host = holder()
    assert host.said(Word.CONTESTED) == [Do.ANNOUNCE]
    _, soon = failover.step(host.state, Said(serial=1, word=Word.CONTESTED))
    host.hear(*[Tick()] * failover.NEWS)
    _, later = failover.step(host.state, Said(serial=1, word=Word.CONTESTED))
    assert [sum(isinstance(each, Tell) for each in told) for told in (soon, later)] == [0, 1]


WORDS = st.builds(
    lambda word, back: (word, back), st.sampled_from(Word), st.sampled_from([0, 0, 1])
)
EVENTS = st.one_of(
    st.sampled_from(
        [
            Health(ok=True),
            Health(ok=False, why="hung"),
            Tick(),
            Tick(late=True),
            Refused(why="no"),
            Over(pause=Pause.FAREWELL),
            Over(pause=Pause.REST),
        ]
    ),
    WORDS,
    st.sampled_from([(Word.MASTER, 0), Health(ok=True)]),
)


def play(host: Host, moves: Sequence[Event | tuple[Word, int]]) -> None:
    """Play moves; an end of a pause that nobody waits for does not come."""
    for move in moves:
        if isinstance(move, tuple):
            word, back = move
            host.hear(Said(serial=max(host.state.serial - back, 0), word=word))
        elif not isinstance(move, Over) or host.waiting[move.pause]:
            host.hear(move)


@given(st.lists(EVENTS, max_size=40), st.lists(EVENTS, max_size=10))
def test_laws_hold_in_any_order(
    moves: list[Event | tuple[Word, int]], after: list[Event | tuple[Word, int]]
) -> None:
    """The laws themselves stand in `Host`: each event is followed by them."""
    host = Host()
    play(host, moves)
    host.hear(Leave())
    play(host, after)
    host.over()
    assert host.state.left
    assert not host.address
    assert not host.program


@given(st.lists(EVENTS, max_size=40))
def test_who_is_healthy_takes_part_in_the_end(moves: list[Event | tuple[Word, int]]) -> None:
    host = Host()
    play(host, moves)
    host.over()
    host.hear(Health(ok=True))
    host.over()
    assert host.program
    host.said(Word.MASTER)
    assert host.address
