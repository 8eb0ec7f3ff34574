"""A ConfigStore for files that are put into a container over Docker's API.

Each destination is a local copy, the mirror (core.placement), which another store keeps as it keeps
any file: journal, previous set, restore. This one puts into the container what that one made live, and
tells it what is inside: an edit by another hand there is one here. What a container that was made
anew lacks is missing, so that the next turn writes and loads it again.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from confsync import errors, faults
from confsync.adapters.docker import putting
from confsync.adapters.docker.container import Container, NoContainer
from confsync.adapters.docker.handed import Handed
from confsync.adapters.docker.inside import Found, Inside
from confsync.adapters.docker.putting import Putting, Text
from confsync.core.placement import Placement
from confsync.domain.rendered import RenderedConfig
from confsync.ports import ConfigStore, Staged, StateStore

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Fingerprint = tuple[tuple[int, int, int, int] | None, ...]

_LOOK = 10.0
"""Seconds between two looks for an edit inside while nothing else happens."""


class Local(ConfigStore, Protocol[R_co]):
    """The store of the mirror."""

    def recover(self) -> R_co:
        """Mend what a crash left behind."""


class DeliveredStore(Generic[R_co]):
    """Blocking, in threads of the loop on which it was made; for one caller at a time."""

    near = False

    def __init__(
        self,
        local: Local[R_co],
        inside: Inside,
        state: StateStore,
        *,
        container: str,
        placement: Placement,
        main: str,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """`container`: as the settings name it. `main`: HAProxy's main file, put last."""
        self._local = local
        self._inside = inside
        self._putting = Putting(inside)
        self._handed = Handed(state, container, placement)
        self._wanted = container
        self._place = placement
        self._main = main
        self._loop = loop or asyncio.get_running_loop()
        self._read: tuple[str, ...] = ()
        self._foreign: dict[str, Found] = {}
        """What stands inside and is not ours, by destination, as `read` has told it."""
        self._replaced: dict[str, Found] = {}
        """What a container that was made anew has in place of ours."""
        self._config = RenderedConfig()
        self._staged: tuple[str, float] | None = None
        """The run of a container in which the staged files lie."""
        self._swept = False
        self._looked: tuple[float, dict[str, str | None]] = (float("-inf"), {})
        self.notes: tuple[str, ...] = ()
        """What the operator should know of the last delivery."""

    # ConfigStore

    def read(self, destinations: tuple[str, ...]) -> dict[str, str | None]:
        """Read what the container has (None: not there, or lost with the container before it).

        Without a container: what it will be given. Raises WriteError, TargetError.
        """
        found = self._local.read(destinations)
        self._read, self._foreign, self._replaced = destinations, {}, {}
        try:
            container = self._find()
        except NoContainer:
            return found
        there = self._digests(container, destinations)
        ours, lost = self._handed.to(container)
        for destination in destinations:
            digest = there[destination]
            if digest == _digest(destination):
                continue
            found[destination] = None
            if digest is None or digest == ours.get(destination):
                continue
            file = self._wait(self._inside.file(container, self._place.seen(destination)))
            if file is None:
                continue
            if destination in lost:
                self._replaced[destination] = file
            else:
                self._foreign[destination] = file
                found[destination] = _text(file)
        return found

    def fingerprint(self, destinations: tuple[str, ...]) -> Fingerprint:
        """Stat the mirror; every few seconds look inside as well, where an edit changes the inode."""
        stamps = self._local.fingerprint(destinations)
        at, changed = self._looked
        if time.monotonic() - at >= _LOOK:
            changed = {}
            with contextlib.suppress(errors.ConfsyncError, TimeoutError):
                there = self._digests(self._find(), destinations)
                changed = {d: there[d] for d in destinations if there[d] != _digest(d)}
            self._looked = (time.monotonic(), changed)
        made: list[tuple[int, int, int, int] | None] = []
        for destination, stamp in zip(destinations, stamps, strict=True):
            if stamp is not None and destination in changed:
                mark = int((changed[destination] or "f")[:12], 16)
                made.append((stamp[0], -mark, stamp[2], stamp[3]))
            else:
                made.append(stamp)
        return tuple(made)

    def stage(self, config: RenderedConfig, only: tuple[str, ...]) -> Staged:
        """Write `only` beside the mirror, and beside the destinations in a container that runs.

        Raises WriteError, then nothing is left behind.
        """
        self._config, self._staged, self.notes = config, None, ()
        self._take_over(only)
        staged = self._local.stage(config, only)
        try:
            container = self._found()
            if container is not None and container.runs and staged.paths:
                self._sweep(container)
                with _as_write_errors():
                    self._wait(self._putting.stage(container, self._texts(staged.paths)))
                self._staged = container.life
        except BaseException:
            self._local.discard(staged)
            raise
        return staged

    def staged_inside(self, container: Container) -> bool:
        """Tell whether what was staged last lies in this run of a container."""
        return self._staged == container.life

    def prepare(self, staged: Staged) -> None:
        """Do ahead what the mirror's promotion would wait for."""
        self._local.prepare(staged)

    def discard(self, staged: Staged, why: str = "") -> str:
        """Remove the staged files, here and inside."""
        before, self._staged = self._staged, None
        if before is not None:
            with contextlib.suppress(errors.ConfsyncError):
                container = self._find()
                if container.life == before:
                    left = [putting.beside(self._place.seen(d)) for d in staged.paths]
                    self._wait(self._putting.remove(container, left))
        return self._local.discard(staged, why)

    def promote(self, staged: Staged, *, quick: bool = False) -> None:
        """Make the staged files live in the mirror, then inside; on an error, neither.

        Raises WriteError. A container that does not run is written to as well; without one, the
        files wait for it.
        """
        self._local.promote(staged, quick=quick)
        faults.point("before-delivery")
        try:
            container = self._found()
            if container is None:
                return
            self._deliver(container, staged)
            self._save(container)
        except errors.WriteError as error:
            self._take_back(error)
            raise
        faults.point("after-delivery")

    def restore(self) -> tuple[str, ...]:
        """Put the previous set back, here and inside. Raises WriteError."""
        changed = self._local.restore()
        self._bring_in_step()
        return changed

    def settle(self) -> None:
        """End the journal."""
        self._local.settle()

    def keep_foreign(self, destination: str, text: str) -> str:
        """Keep what another hand wrote, under the name that the container has for it."""
        return self._local.keep_foreign(self._place.seen(destination), text)

    def keep_original(self, destination: str, text: str) -> str:
        """Keep what stood there before an adoption."""
        return self._local.keep_original(self._place.seen(destination), text)

    def recover(self) -> R_co:
        """Mend the mirror; what the container lacks is found by the first `read`."""
        return self._local.recover()

    # For the target

    async def verify(self, container: Container) -> None:
        """Make sure that a container has what was delivered. Raises TargetUnavailable."""
        here = {f.destination: _digest(f.destination) for f in self._config.files}
        seen = {d: self._place.seen(d) for d in here}
        there = await self._inside.digests(container, list(seen.values()))
        for destination, path in seen.items():
            if there[path] != here[destination]:
                raise errors.TargetUnavailable(
                    f"{path} in the container {container.name} is not what confsync put there",
                    remedy="another hand has changed it, or the container was made anew; the next "
                    "try looks first",
                )

    # The container

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _find(self) -> Container:
        return self._wait(self._inside.engine.find(self._wanted))

    def _found(self) -> Container | None:
        """Find the container, None when there is none. Raises WriteError."""
        with _as_write_errors():
            try:
                return self._find()
            except NoContainer:
                return None

    def _digests(self, container: Container, paths: Iterable[str]) -> dict[str, str | None]:
        """Name the content inside of each destination."""
        seen = {path: self._place.seen(path) for path in paths}
        there = self._wait(self._inside.digests(container, list(seen.values())))
        return {path: there[name] for path, name in seen.items()}

    def _save(self, container: Container) -> None:
        self._looked = (time.monotonic(), {})
        files = {f.destination: _digest(f.destination) for f in self._config.files}
        if why := self._handed.save(container, files):
            self._note(why)

    # Writing

    def _take_over(self, only: tuple[str, ...]) -> None:
        """Have the mirror say what stands inside, so that it is what a restore puts back."""
        for destination in {*only, *self._foreign}:
            Path(destination).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for destination, file in self._foreign.items():
            path = Path(destination)
            made = path.with_name(f".{path.name}.confsync")
            made.write_bytes(file.data)
            made.replace(path)
        if self._foreign:
            self._local.read(self._read)
        for destination in only:
            if destination in self._replaced:
                text = _text(self._replaced[destination])
                kept = self.keep_foreign(destination, text)
                self._note(f"what the new container had as {destination} is kept as {kept}")
        self._foreign, self._replaced = {}, {}

    def _sweep(self, container: Container) -> None:
        """Remove, once, what a confsync that was killed has left inside."""
        if not self._swept:
            self._swept = True
            seen = [self._place.seen(f.destination) for f in self._config.files]
            left = [name(path) for path in seen for name in (putting.beside, putting.check_copy)]
            self._wait(self._putting.remove(container, left))

    def _texts(self, destinations: Iterable[str]) -> list[Text]:
        """Return what shall be inside, in the order of promotion: the main file names the others."""
        texts = []
        for destination in sorted(destinations, key=lambda d: d == self._main):
            file = self._config.get(destination)
            assert file is not None
            data = file.text.encode("utf-8", "surrogateescape")
            texts.append(Text(path=self._place.seen(destination), data=data, mode=file.mode))
        return texts

    def _deliver(self, container: Container, staged: Staged) -> None:
        texts = self._texts(staged.paths)
        if not texts:
            return
        with _as_write_errors():
            if self.staged_inside(container) and self._wait(
                self._putting.move(container, [each.path for each in texts])
            ):
                self._staged = None
                return
            self._replace(container, texts)
        self._staged = None

    def _replace(self, container: Container, texts: list[Text]) -> None:
        if not self._wait(self._putting.replace(container, texts)):
            self._note(
                f"nothing can be renamed in the container {container.name}: its files were "
                "replaced in place, not at one blow"
            )

    def _take_back(self, error: errors.WriteError) -> None:
        """Undo a promotion whose delivery failed; a second failure is told with the first."""
        try:
            self._local.restore()
            self._bring_in_step()
        except errors.WriteError as second:
            error.detail = "\n".join(filter(None, (error.detail, f"not taken back: {second}")))

    def _bring_in_step(self) -> None:
        """Put into the container what the mirror has, where it differs. Raises WriteError."""
        container = self._found()
        if container is None or not self._config.files:
            return
        with _as_write_errors():
            there = self._digests(container, [f.destination for f in self._config.files])
            texts, gone = [], []
            for file in sorted(self._config.files, key=lambda f: f.destination == self._main):
                path, seen = Path(file.destination), self._place.seen(file.destination)
                if there[file.destination] == _digest(file.destination):
                    continue
                if path.exists():
                    texts.append(Text(path=seen, data=path.read_bytes(), mode=file.mode))
                else:
                    gone.append(seen)
            if texts:
                self._replace(container, texts)
            if gone:
                self._wait(self._putting.remove(container, gone))
        self._save(container)

    def _note(self, note: str) -> None:
        self.notes = (*self.notes, self._place.told(note))


@contextlib.contextmanager
def _as_write_errors() -> Iterator[None]:
    """Turn what keeps a container from being written into a WriteError."""
    try:
        yield
    except errors.TargetError as error:
        raise errors.WriteError(error.what, remedy=error.remedy, detail=error.detail) from error
    except TimeoutError as error:
        raise errors.WriteError("a command in the container does not end") from error


def _digest(path: str) -> str | None:
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


def _text(found: Found) -> str:
    return found.data.decode("utf-8", "surrogateescape")
