"""Changes a running HAProxy over its stats socket, without a reload.

Nothing is believed because it was sent: each answer is judged, and servers are read back over the
same connection, which stays with one worker. What is not confirmed is a doubt, and the engine reloads
(the files hold the goal). How a step is said is commands.py's; what comes of it, readback.py's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from confsync import errors
from confsync.adapters.haproxy import build, commands, drift, maps, opening, readback, session, show
from confsync.adapters.haproxy.collector import Collector
from confsync.adapters.haproxy.options import SocketOptions
from confsync.domain.change import ReplaceMap, RetireServer, Step
from confsync.domain.running import Applied, Capabilities, Drift, Expected, Leftover, Observed
from confsync.ports import Wire

_MOST_STEPS = 200
"""Steps that are sent before their answers are judged."""
_MUCH = 200_000
"""Characters (some 1,500 servers) that are read in a thread and not on the loop."""
_MOVING = 1.0
"""Seconds within which a server must be at its new address."""
_PAUSE = 0.001


class SocketRuntime:
    """One HAProxy's stats socket, for changes: one call at a time, none while a reload loads."""

    def __init__(
        self,
        options: SocketOptions,
        *,
        wire: Wire | None = None,
        closed: bool = False,
        astray: Callable[[Observed], str] = lambda _: "",
    ) -> None:
        """`closed`: a checked server gets no traffic before its first check has passed.

        `astray`: asked once a connection is there; says why it may lead to another HAProxy than the
        one that was observed ("" when it does not).
        """
        self._options = options
        self._wire = wire
        self._astray = astray
        self._closed = closed
        self._worker = Observed(running=False)
        self._capabilities: Capabilities | None = None
        self._down: set[readback.Place] = set()
        """Servers of this worker that were told to be DOWN until a check has passed."""
        self._ahead: session.Ahead | None = None
        self._learned = False
        """Whether a server added to this worker has told what it had to tell."""
        self.notes: tuple[str, ...] = ()
        """What the operator should know: why nothing can be changed here."""

    async def capabilities(self, observed: Observed) -> Capabilities | None:
        """Tell what the observed worker can be told; see ports.Runtime.

        Ask each turn, it costs nothing: on 2.6 and 2.8 only the first server that was added tells
        whether deletions are safe.
        """
        # Its start is a difference of clocks, which may be a second off from one look to the next.
        if not observed.same_worker(self._worker):
            config = await asyncio.to_thread(self._config)
            async with self._talk(observed) as talk:
                path = self._options.stats_socket
                self._capabilities, self.notes = await build.ask(talk, config, path)
            self._worker, self._learned, self._down = observed, False, set()
        return self._capabilities

    @contextlib.contextmanager
    def ahead(self, before: Observed) -> Iterator[None]:
        """Say the first words already; see ports.Runtime."""
        if self._wire is not None or before.loading or not before.worker_pid:
            yield
            return
        self._ahead = session.Ahead(self._options.stats_socket)
        try:
            yield
        finally:
            self._ahead.close()
            self._ahead = None

    async def apply(self, steps: tuple[Step, ...], before: Observed) -> Applied:
        """Do steps in order and read back what they made; see ports.Runtime.

        A step that takes traffic away is sent only once all before it are confirmed.
        """
        work = _Work(steps)
        try:
            await self._apply(work, before)
        except commands.Unsayable as error:
            return work.applied(str(error))
        except errors.TargetError as error:
            sent = "" if work.sent else "; nothing was changed"
            return work.applied(f"{error.what}{sent}")
        return work.applied("")

    async def collect(
        self, leftovers: tuple[Leftover, ...], before: Observed
    ) -> tuple[Leftover, ...]:
        """Delete what may be deleted and nothing uses any more; see ports.Runtime.

        Nothing is deleted on a build that can crash of it, nor what is not in maintenance.
        """
        capabilities = await self.capabilities(before)
        if capabilities is None or not capabilities.deletes:
            return ()
        may = tuple(one for one in leftovers if one.delete)
        if not may:
            return ()
        async with self._talk(before) as talk:
            return await Collector(talk, waits=capabilities.waits).collect(may)

    async def audit(self, expected: tuple[Expected, ...], before: Observed) -> tuple[Drift, ...]:
        """Compare all servers with what they should be; see ports.Runtime and drift.py."""
        async with self._talk(before) as talk:
            (text,) = await talk.ask(commands.states())

        def compare() -> tuple[Drift, ...]:
            return drift.compare(expected, readback.servers(text))

        return await asyncio.to_thread(compare) if len(text) > _MUCH else compare()

    # Doing steps

    async def _apply(self, work: "_Work", before: Observed) -> None:
        capabilities = await self.capabilities(before)
        if capabilities is None:
            raise errors.TargetUnavailable(*self.notes[:1] or ("the socket changes nothing",))
        spoken = await self._spoken(work.steps, capabilities)
        async with self._talk(before) as talk:
            for part in _batches(work.steps):
                work.sent = True
                step = work.steps[part[0]]
                if isinstance(step, ReplaceMap):
                    await maps.replace(talk, step, spoken[part[0]])
                    work.done.update(part)
                else:
                    steps = [work.steps[number] for number in part]
                    if self._closed or self._down:
                        await opening.open_last(talk, self._down, steps)
                    self._down |= {
                        (s.backend, s.server)
                        for s in steps
                        if not isinstance(s, ReplaceMap) and opening.closes(s, closed=self._closed)
                    }
                    await self._batch(work, part, spoken, talk)
            learning = build.learns(work.steps, capabilities) if not self._learned else None
            if learning is not None:
                (answer,) = await talk.ask(commands.connections(learning.backend))
                self._capabilities = build.learned(capabilities, learning, answer)
                self._learned = True
        async with self._talk(before):
            pass  # the same worker still takes connections

    async def _spoken(
        self, steps: Sequence[Step], capabilities: Capabilities
    ) -> dict[int, tuple[str, ...]]:
        """Give all steps' commands (a map's payloads) before any is sent. Raises Unsayable."""
        known = capabilities.words
        dialect = commands.Dialect(
            closed=self._closed,
            init_state=show.release(capabilities.version) >= (3, 1)
            and (known is None or "init-state" in known),
        )
        spoken = {}
        for number, step in enumerate(steps):
            if isinstance(step, ReplaceMap):
                if not capabilities.maps:
                    raise commands.Unsayable(f"{commands.about(step)}: this build replaces no maps")
                spoken[number] = await maps.parts(step, capabilities.line)
                continue
            spoken[number] = commands.said(step, dialect)
            told = (*commands.moves(step), *spoken[number])
            if any(len(command) >= capabilities.line for command in told):
                raise commands.Unsayable(f"{commands.about(step)}: its line is too long")
        return spoken

    async def _batch(
        self,
        work: "_Work",
        part: Sequence[int],
        spoken: dict[int, tuple[str, ...]],
        talk: session.Session,
    ) -> None:
        steps = [work.steps[number] for number in part]
        moving = [step for step in steps if commands.moves(step)]
        if moving:
            await _move(moving, talk)
        told = [command for number in part for command in spoken[number]]
        asked = readback.questions(steps)
        *said, info = await talk.ask(*told, *asked, "show info")
        states = said[len(told) :]
        further = readback.further(steps, states)
        limits = await talk.ask(*further) if further else ()
        rest = iter(said)
        wrong: dict[int, str] = {}
        for position, number in enumerate(part):
            for command in spoken[number]:
                words = commands.refusal(command, next(rest))
                gone = commands.ABSENT in words and isinstance(work.steps[number], RetireServer)
                if words and not gone:
                    wrong.setdefault(position, _answered(command, words))
        for position, words in (await _contradictions(steps, states, limits)).items():
            wrong.setdefault(position, words)
        now = show.info(info)
        if now is None or now.stopping:
            raise errors.TargetUnavailable("the worker was replaced meanwhile")
        work.done.update(number for position, number in enumerate(part) if position not in wrong)
        _refuse(steps, wrong)

    @contextlib.asynccontextmanager
    async def _talk(self, before: Observed) -> AsyncIterator[session.Session]:
        if before.loading or not before.worker_pid:
            raise errors.TargetUnavailable(
                "a reload of HAProxy is under way" if before.loading else "HAProxy does not run"
            )
        path = self._options.stats_socket
        async with session.begin(path, before, wire=self._wire, ahead=self._ahead) as talk:
            if why := self._astray(before):
                raise session.OtherWorker(why)
            yield talk

    def _config(self) -> str:
        try:
            return Path(self._options.config).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


class _Work:
    """Steps, and the numbers of those that are confirmed."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self.done: set[int] = set()
        self.sent = False

    def applied(self, doubt: str) -> Applied:
        done = tuple(step for number, step in enumerate(self.steps) if number in self.done)
        return Applied(done=done, doubt=doubt)


def _batches(steps: Sequence[Step]) -> list[list[int]]:
    """Divide steps, by number: each map alone, and what takes traffic behind what gives it."""
    found: list[list[int]] = []
    taking = False
    for number, step in enumerate(steps):
        takes = commands.takes_away(step)
        alone = isinstance(step, ReplaceMap)
        begins = (
            not found
            or alone
            or isinstance(steps[number - 1], ReplaceMap)
            or (takes and not taking)
            or len(found[-1]) >= _MOST_STEPS
        )
        if begins:
            found.append([])
            taking = False
        taking = taking or takes
        found[-1].append(number)
    return found


async def _move(steps: Sequence[Step], talk: session.Session) -> None:
    """Move servers, and wait until they are there. Raises TargetUnavailable."""
    told = [(position, c) for position, step in enumerate(steps) for c in commands.moves(step)]
    wrong: dict[int, str] = {}
    for (position, command), answer in zip(
        told, await talk.ask(*(command for _, command in told)), strict=True
    ):
        if words := commands.refusal(command, answer):
            wrong.setdefault(position, _answered(command, words))
    _refuse(steps, wrong)
    places = [readback.moved(step) for step in steps]
    asked = readback.questions(places)
    loop = asyncio.get_running_loop()
    until = loop.time() + _MOVING
    while wrong := await _contradictions(places, await talk.ask(*asked)):
        if loop.time() > until:
            _refuse(steps, wrong)
        await asyncio.sleep(_PAUSE)


async def _contradictions(
    steps: Sequence[Step], states: Sequence[str], limits: Sequence[str] = ()
) -> dict[int, str]:
    places = {(s.backend, s.server) for s in steps if not isinstance(s, ReplaceMap)}

    def compare() -> dict[int, str]:
        seen = {s.place: s for answer in states for s in readback.servers(answer, places)}
        most = {place: n for answer in limits for place, n in readback.maxconns(answer)}
        return readback.contradictions(steps, seen, most)

    much = sum(map(len, (*states, *limits))) > _MUCH
    return await asyncio.to_thread(compare) if much else compare()


def _refuse(steps: Sequence[Step], wrong: dict[int, str]) -> None:
    """Raise TargetUnavailable for the first of them."""
    if wrong:
        first = min(wrong)
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise errors.TargetUnavailable(f"{commands.about(steps[first])}: {wrong[first]}{more}")


def _answered(command: str, words: str) -> str:
    verb = " ".join(command.split()[:2])
    return f"`{verb}` was answered with `{' '.join(words.split())[:200]}`"
