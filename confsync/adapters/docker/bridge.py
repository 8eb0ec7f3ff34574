"""One kept-open way into a running container: its unix sockets and its commands, in a millisecond.

A command by exec takes 60 to 120 ms; here one exec of perl (perl-base alone, which Debian's images
have) serves all, many at a time. Its inner half, and how the two speak, is bridge.pl, which is sent
to it and never written to a file. The inner half ends with the connection.
"""

import asyncio
import errno
import importlib.resources
import itertools
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from confsync import errors
from confsync.adapters.docker import stream, words
from confsync.adapters.docker.container import Container
from confsync.domain.printable import printable, shortened

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes; `show servers state` of 50,000 servers is some 5 MB."""

PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7))."""

_HEADER = struct.Struct(">IIc")
_END = struct.Struct(">BI")
_VERSION = b"1"
_SAID = 2000
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


class _How(IntEnum):
    """How a request ended (bridge.pl)."""

    CLOSED = 0
    UNSENT = 1
    CUT = 2
    EXITED = 3
    SIGNALLED = 4
    LATE = 5
    UNSTARTED = 6


@dataclass(slots=True)
class _Job:
    """One request under way."""

    done: asyncio.Future[tuple[_How, int]]
    data: bytearray = field(default_factory=bytearray)


class Frames:
    """Both directions of the protocol, without a connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @staticmethod
    def pack(number: int, kind: bytes, body: bytes = b"") -> bytes:
        """Write a frame."""
        return _HEADER.pack(len(body), number, kind) + body

    @staticmethod
    def exchange(path: str, payload: bytes, *, half_close: bool) -> bytes:
        """Write the body of an exchange."""
        return struct.pack(">B", half_close) + _text(path) + payload

    @staticmethod
    def command(
        argv: Sequence[str],
        environment: Mapping[str, str] | None,
        directory: str,
        timeout: float,
    ) -> bytes:
        """Write the body of a command."""
        body = struct.pack(">I", int(timeout * 1000)) + _text(directory)
        body += struct.pack(">I", len(argv)) + b"".join(map(_text, argv))
        if environment is None:
            return body + b"\0"
        pairs = [_text(f"{name}={value}") for name, value in environment.items()]
        return body + struct.pack(">BI", 1, len(pairs)) + b"".join(pairs)

    def feed(self, data: bytes) -> list[tuple[int, bytes, bytes]]:
        """Take what came; return the frames that are whole: number, kind, body."""
        buffer = self._buffer
        buffer += data
        at, frames = 0, []
        while len(buffer) - at >= _HEADER.size:
            length, number, kind = _HEADER.unpack_from(buffer, at)
            end = at + _HEADER.size + length
            if len(buffer) < end:
                break
            frames.append((number, kind, bytes(buffer[at + _HEADER.size : end])))
            at = end
        del buffer[:at]
        return frames


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(data)) + data


class _Link:
    """One inner half, as long as it lives."""

    def __init__(self) -> None:
        self.hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.said = bytearray()
        """What came instead of the protocol: of the engine, or of perl."""
        self._frames = Frames()
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)
        self._stream: stream.Spoken | None = None

    @property
    def alive(self) -> bool:
        return self._stream is not None and not self._stream.ended.done()

    def begin(self, opened: stream.Spoken) -> None:
        self._stream = opened
        opened.ended.add_done_callback(self._ended)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def received(self, kind: int, piece: bytes) -> None:
        if kind != stream.STDOUT or (not self.hello.done() and self._foreign(piece)):
            self.said += piece[: _SAID - len(self.said)]
            return
        for number, what, body in self._frames.feed(piece):
            if what == b"H":
                if not self.hello.done():
                    self.hello.set_result(None)
            elif (job := self._jobs.get(number)) is None:
                continue  # cancelled
            elif what == b"D":
                job.data += body
                if len(job.data) > REPLY_LIMIT:
                    self._fail(job, errors.TargetUnavailable(f"more than {REPLY_LIMIT} bytes came"))
            elif what == b"E" and not job.done.done():
                how, value = _END.unpack(body)
                job.done.set_result((_How(how), value))

    async def ask(self, kind: bytes, body: bytes) -> tuple[_How, int, bytes]:
        """Send a request and wait for its end. Raises EOFError when the way is cut meanwhile."""
        assert self._stream is not None
        number = next(self._numbers)
        job = self._jobs[number] = _Job(asyncio.get_running_loop().create_future())
        self._stream.write(Frames.pack(number, kind, body))
        ended = False
        try:
            how, value = await job.done
            ended = True
            return how, value, bytes(job.data)
        finally:
            del self._jobs[number]
            if not ended:
                self._stream.write(Frames.pack(number, b"C"))

    def _foreign(self, piece: bytes) -> bool:
        hello = Frames.pack(0, b"H", _VERSION)
        return bool(self.said) or not (hello.startswith(piece) or piece.startswith(hello))

    def _ended(self, _: asyncio.Future[None]) -> None:
        if not self.hello.done():
            self.hello.set_exception(EOFError())
        for job in self._jobs.values():
            self._fail(job, EOFError())

    @staticmethod
    def _fail(job: _Job, error: Exception) -> None:
        if not job.done.done():
            job.done.set_exception(error)


class Bridge:
    """A way into the container that `use` names; opened when needed, anew after it broke."""

    def __init__(self, engine: Way, *, user: str = "") -> None:
        """Open nothing. `user`: whose rights it has inside; "": those of the container's process."""
        self._engine = engine
        self._user = user
        self._container: Container | None = None
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._without: tuple[str, float] | None = None
        self.why = ""
        """Why it is not available, in words."""

    @property
    def available(self) -> bool:
        """False: this run of the container has no perl, as was seen; Engine.run is slower, but works."""
        return self._container is None or self._container.life != self._without

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
        if len(os.fsencode(path)) > PATH_LIMIT:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        async with asyncio.timeout(timeout):
            link = await self._linked()
            body = Frames.exchange(path, payload, half_close=half_close)
            how, value, data = await link.ask(b"X", body)
        if how is _How.CLOSED:
            return data
        if how is _How.UNSENT:
            raise OSError(value, os.strerror(value), path)
        raise EOFError(f"{path}: {os.strerror(value)}")

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
            case _How.EXITED:
                return value, data
            case _How.SIGNALLED:
                return -value, data
            case _How.LATE:
                raise TimeoutError
            case _:
                raise errors.TargetUnavailable(
                    f"`{argv[0]}` cannot be started in {self._name}: {os.strerror(value)}"
                )

    @property
    def _name(self) -> str:
        return f"the container {self._container.name}" if self._container else "the container"

    async def _linked(self) -> _Link:
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
            if self._container is None or self._container.life != container.life:
                link.close()
                raise errors.TargetUnavailable(f"the container {container.name} was replaced")
            self._link = link
            return link

    async def _open(self, container: Container) -> _Link:
        code = _inner()
        link = _Link()
        opened = await self._engine.attach(
            container.id,
            ["perl", "-e", _LOADER, str(len(code))],
            link.received,
            environment=_UNSET,
            user=self._user,
        )
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
        self, container: Container, opened: stream.Spoken, link: _Link
    ) -> errors.TargetError:
        """Say why no inner half came up; remember it where another try would not help."""
        code = await self._engine.exit_code(opened)
        said = shortened(printable(" ".join(link.said.decode("utf-8", "replace").split())), 300)
        now = await self._engine.inspect(container.id)
        if not now.runs or now.life != container.life:
            return errors.TargetUnavailable(f"the container {container.name} ended")
        if words.program_missing(said):
            self.why = f"the container {container.name} has no perl"
        elif code in {137, 143, -9, -15}:
            return errors.TargetUnavailable(f"the way into {container.name} was ended by a signal")
        else:
            self.why = f"perl does not work in the container {container.name}: {said or code}"
        self._without = container.life
        return errors.TargetUnavailable(self.why)


def _inner() -> bytes:
    place = importlib.resources.files("confsync.adapters.docker")
    return place.joinpath("bridge.pl").read_bytes()
