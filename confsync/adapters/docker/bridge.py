"""One kept-open way into a running container: its unix sockets and its commands, in a millisecond.

A command by exec takes 30 to 120 ms; here one exec of perl (perl-base alone, which Debian's images
have) serves all, many at a time. Its inner half is bridge.pl, which is sent to it and never written
to a file; how the two speak is link.py's. The inner half ends with the connection.
"""

import asyncio
import errno
import importlib.resources
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from confsync import errors
from confsync.adapters.docker import faults, stream, words
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.link import Conversation, Frames, How, Link
from confsync.domain.printable import printable, shortened

PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7))."""

# Its program comes over standard input: an argument would be in every list of processes.
_LOADER = (
    'my $c="";while(length($c)<$ARGV[0])'
    "{sysread(STDIN,$c,$ARGV[0]-length($c),length($c))||exit(1)}eval($c);die($@)if($@)"
)
# What would change how perl reads its input.
_UNSET = ("PERL5OPT", "PERL5LIB", "PERL_UNICODE", "PERLIO")


class Way(Protocol):
    """What of an engine.Engine a bridge needs."""

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""

    async def attach(
        self,
        container: str,
        argv: Sequence[str],
        received: Callable[[int, bytes], None],
        *,
        environment: Sequence[str],
        user: str,
    ) -> stream.Spoken:
        """Start a command and stay connected to it."""

    async def exit_code(self, ended: stream.Spoken) -> int:
        """Return how it ended."""

    async def inspect(self, container: str) -> Container:
        """Look at a container again."""


class Bridge:
    """A way into the container that `use` names; opened when needed, anew after it broke."""

    def __init__(self, engine: Way, *, user: str = "") -> None:
        """Open nothing. `user`: whose rights it has inside; "": those of the container's process."""
        self._engine = engine
        self._user = user
        self._container: Container | None = None
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._without: tuple[str, float] | None = None
        self.why = ""
        """Why it is not available, in words."""

    @property
    def available(self) -> bool:
        """False: no perl was seen in this run of the container. Engine.run is slower, but works."""
        return self._container is None or self._container.life != self._without

    @property
    def place(self) -> str:
        """Name the run of a container that it leads into, or would."""
        return self._container.place if self._container is not None else ""

    def use(self, container: Container) -> None:
        """Lead to this container from now on; another run of it, or another one, is reached anew."""
        before, self._container = self._container, container
        if before is not None and before.life != container.life:
            self.close()

    def close(self) -> None:
        """Let go; what is under way ends with EOFError."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def exchange(
        self,
        path: str,
        payload: bytes,
        *,
        half_close: bool,
        timeout: float,  # noqa: ASYNC109
    ) -> bytes:
        """Connect to a unix socket inside, send, and return all that comes until it closes.

        Raises OSError with its errno when nothing was sent, EOFError when it was cut after that,
        TargetError when there is no way in, TimeoutError (which is an OSError without errno).
        """
        _limited(path)
        async with asyncio.timeout(timeout):
            link = await self._linked()
            body = Frames.exchange(path, payload, half_close=half_close)
            how, value, data = await link.ask(b"X", body)
        if how is How.CLOSED:
            return data
        if how is How.UNSENT:
            raise OSError(value, os.strerror(value), path)
        raise EOFError(f"{path}: {os.strerror(value)}")

    async def connect(self, path: str) -> Conversation:
        """Connect to a unix socket inside; see ports.Wire. One connection as long as it lasts.

        It is one into the run of the container that `use` has named last.
        """
        _limited(path)
        return (await self._linked()).converse(path)

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command inside; return its exit code (negative: a signal's) and all it said, bounded.

        `environment`: exactly that; without a PATH, the program is looked for in the container's.
        None: the container's own. 127: it cannot be run, 126: its folder cannot be entered.
        Raises TimeoutError, after which its processes have been killed, and TargetError.
        """
        async with asyncio.timeout(timeout + self._engine.timeout):
            link = await self._linked()
            body = Frames.command(argv, environment, directory, timeout)
            try:
                how, value, data = await link.ask(b"R", body)
            except EOFError as error:
                raise errors.TargetUnavailable(
                    f"the way into {self._name} broke at `{argv[0]}`"
                ) from error
        match how:
            case How.EXITED:
                return value, data
            case How.SIGNALLED:
                return -value, data
            case How.LATE:
                raise TimeoutError
            case _:
                raise errors.TargetUnavailable(
                    f"`{argv[0]}` cannot be started in {self._name}: {os.strerror(value)}"
                )

    @property
    def _name(self) -> str:
        return f"the container {self._container.name}" if self._container else "the container"

    async def _linked(self) -> Link:
        if self._link is not None and self._link.alive:
            return self._link
        async with self._opening:
            if self._link is not None and self._link.alive:
                return self._link
            container = self._container
            if container is None:
                raise errors.TargetUnavailable("no container is there to be reached into")
            if not self.available:
                raise errors.TargetUnavailable(self.why)
            link = await self._open(container)
            certain = False
            try:
                certain = await self._is_meant(container)
            finally:
                if not certain:
                    link.close()
            if not certain:
                raise errors.TargetUnavailable(f"the container {container.name} was replaced")
            self._link = link
            return link

    async def _is_meant(self, container: Container) -> bool:
        """Tell whether what was entered is still meant: a restarted one has the same id."""
        now = await self._engine.inspect(container.id)
        meant = self._container
        return meant is not None and meant.life == container.life == now.life

    async def _open(self, container: Container) -> Link:
        code = _inner()
        link = Link()
        try:
            opened = await self._engine.attach(
                container.id,
                ["perl", "-e", _LOADER, str(len(code))],
                link.received,
                environment=_UNSET,
                user=self._user,
            )
        except faults.Refusal as error:
            if words.program_missing(error.words):
                raise self._hopeless(container, "there is no perl in it") from error
            raise
        link.begin(opened)
        greeted = False
        try:
            opened.write(code)
            async with asyncio.timeout(self._engine.timeout):
                await link.hello
            greeted = True
        except TimeoutError as error:
            raise errors.TargetUnavailable(
                f"no way into the container {container.name} opens"
            ) from error
        except EOFError as error:
            raise await self._refused(container, opened, link) from error
        finally:
            if not greeted:
                link.hello.cancel()
                link.close()
        return link

    async def _refused(
        self, container: Container, opened: stream.Spoken, link: Link
    ) -> errors.TargetError:
        """Say why no inner half came up; remember it where another try would not help."""
        code = await self._engine.exit_code(opened)
        said = shortened(printable(" ".join(link.said.decode("utf-8", "replace").split())), 300)
        now = await self._engine.inspect(container.id)
        if not now.runs or now.life != container.life:
            return errors.TargetUnavailable(f"the container {container.name} ended")
        if code in {137, 143}:
            return errors.TargetUnavailable(f"the way into {container.name} was ended by a signal")
        if words.program_missing(said):
            return self._hopeless(container, "there is no perl in it")
        return self._hopeless(container, f"perl fails in it: {said or f'exit code {code}'}")

    def _hopeless(self, container: Container, why: str) -> errors.TargetError:
        self._without = container.life
        self.why = f"no bridge into the container {container.name}: {why}"
        return errors.TargetUnavailable(self.why)


def _limited(path: str) -> None:
    """Refuse what no unix socket's address holds. Raises OSError."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)


def _inner() -> bytes:
    place = importlib.resources.files("confsync.adapters.docker")
    return place.joinpath("bridge.pl").read_bytes()
