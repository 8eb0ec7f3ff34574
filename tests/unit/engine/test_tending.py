"""The agent beneath the load balancer: heard for its first configuration, built anew when it fails."""

import asyncio
from collections.abc import Callable

import pytest

from confsync.domain.status import CycleReport, Outcome
from confsync.engine import supervisor
from confsync.engine.children import Pauses, ended
from confsync.engine.health import Health
from confsync.engine.tending import Heard, Tended
from confsync.errors import CheckRejected, ConfsyncError, Locked, SettingsError, TargetUnavailable
from tests.fakes import clock
from tests.fakes.world import Spoken


class One:
    """An agent that tells of one cycle, and then fails or works on."""

    def __init__(self, heard: Heard, report: CycleReport | None, error: Exception | None) -> None:
        self._heard = heard
        self._report = report
        self._error = error

    async def run(self, stop: asyncio.Event) -> None:
        if self._report is not None:
            self._heard.cycle(self._report, news=True)
        await asyncio.sleep(0.01)
        if self._error is not None:
            raise self._error
        await stop.wait()


def play(
    *agents: tuple[CycleReport | None, Exception | None],
    there: bool = True,
    named: Callable[[str], str] = str,
    seconds: float = 20,
) -> Spoken:
    """Run agents one after the other; a failed build is an agent that is an error alone."""
    said = Spoken()

    async def whole() -> None:
        heard = Heard(said, named)
        rest = iter(agents)

        def build() -> One:
            report, error = next(rest, (None, None))
            if isinstance(error, SettingsError):
                raise error
            return One(heard, report, error)

        def nothing() -> None:
            pass

        tended = Tended(
            build(),
            build=build,
            hooks=supervisor.Hooks(
                renew=lambda _: build(), reloading=nothing, reloaded=nothing, stopping=nothing
            ),
            heard=heard,
            there=lambda: there,
            pauses=Pauses(first=0.25, longest=4),
        )
        ends = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(tended.run(ends=ends, hangup=asyncio.Event()))
            await tended.written()
            await asyncio.sleep(seconds)
            ends.set()

    clock.run(whole)
    return said


WRITTEN = CycleReport(outcome=Outcome.WRITTEN)
REFUSED = CycleReport(outcome=Outcome.FAILED, error="run/x.cfg:3: no", detail="x", exit_code=65)


def failure(play: Callable[[], object]) -> ConfsyncError:
    with pytest.raises(BaseExceptionGroup) as caught:
        play()
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, ConfsyncError)
    return found


def test_the_first_configuration_is_waited_for() -> None:
    assert play((WRITTEN, None)).reports == [WRITTEN]


def test_a_superseded_turn_is_none() -> None:
    superseded = CycleReport(outcome=Outcome.SUPERSEDED)

    async def whole() -> None:
        heard = Heard(Spoken())
        heard.cycle(superseded, news=True)
        assert not heard.came.is_set()

    clock.run(whole)


def test_none_at_all_is_the_error_with_its_own_code() -> None:
    found = failure(
        lambda: play((REFUSED, None), there=False, named=lambda t: t.replace("run", "my"))
    )
    assert isinstance(found, CheckRejected)
    assert found.what == "my/x.cfg:3: no"
    paused = failure(lambda: play((CycleReport(outcome=Outcome.PAUSED), None), there=False))
    assert isinstance(paused, TargetUnavailable)
    assert "no configuration to start with (paused)" in str(paused)


def test_the_one_of_before_will_do() -> None:
    said = play((REFUSED, None))
    assert ("warning", "HAProxy starts with the configuration of before") in said.events


def test_that_haproxy_does_not_run_yet_is_no_note() -> None:
    notes = ("no socket /x: start HAProxy", "the rejected set is kept")
    first = CycleReport(outcome=Outcome.WRITTEN, notes=notes)
    assert play((first, None)).reports[0].notes == notes[1:]


def test_an_agent_that_cannot_start_is_the_error() -> None:
    found = failure(lambda: play((None, Locked("another agent holds it"))))
    assert isinstance(found, Locked)


def test_one_that_fails_later_is_built_anew_with_growing_pauses() -> None:
    said = play(
        (WRITTEN, RuntimeError("a bug")),
        (WRITTEN, Locked("held")),
        (None, SettingsError(["x"])),
        (WRITTEN, None),
    )
    ends = [
        f for (_, text), f in zip(said.events, said.fields, strict=True) if text == "agent ended"
    ]
    assert [(f["why"], f["again_in"]) for f in ends] == [
        ("a bug", 0.25),
        ("held", 0.5),
        ("1 fault in the settings", 1.0),
    ]
    assert len(said.reports) == 3


class TestHealth:
    def test_the_first_answer_is_enough_and_later_it_takes_some(self) -> None:
        health = Health(misses=3, answers=2)
        assert health.told("no") is False
        assert health.told("") is True
        assert (health.told("no"), health.told("no"), health.told("no")) == (False, False, True)
        assert (health.ok, health.why) == (False, "no")
        assert (health.told(""), health.told("no"), health.told("")) == (False, False, False)
        assert health.told("") is True
        assert (health.ok, health.why) == (True, "")

    def test_a_death_is_no_matter_of_counting(self) -> None:
        health = Health(misses=3, answers=2)
        health.told("")
        health.dead("exit code 1")
        assert (health.ok, health.why) == (False, "exit code 1")
        assert health.told("") is False


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_ends_in_words(code: int, words: str) -> None:
    assert ended(code) == words
