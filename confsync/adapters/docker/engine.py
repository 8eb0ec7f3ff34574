"""One Docker engine, asked without ever blocking the event loop.

Requests go through the SDK (api.py) in threads; what lasts (stream.py) is the event loop's own. The
client is made at the first request, and anew after the engine was gone. Which container is meant is
container.py's; a quick way into a running one is bridge.py's.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from confsync.adapters.docker import archive, events, faults, oneoff, stream, words
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.client import Client
from confsync.adapters.docker.container import Container, NoContainer, Selector, parse, told
from confsync.adapters.docker.endpoint import Endpoint
from confsync.adapters.docker.options import DockerOptions
from confsync.adapters.docker.workers import Workers

T = TypeVar("T")

OUTPUT_LIMIT = 1024 * 1024
"""Bytes of a command's output that are kept; `haproxy -c` of a broken file says some kB."""

LOG_LINES = 200
LOG_LIMIT = 4 * 1024 * 1024

_SHORTEST_ID = 8
_POLL = 0.02
_POLLS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of a container. `pid` and `parent`: the engine's host's; `age`: whole seconds."""

    pid: int
    parent: int
    age: int
    command: str


class Stream:
    """A command in a container, spoken to over its standard input and output."""

    def __init__(self, connection: stream.Connection, exec_id: str) -> None:
        self._connection = connection
        self.exec_id = exec_id

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the command or the way to it has ended; never an error."""
        return self._connection.ended

    def write(self, data: bytes) -> None:
        """Send to its standard input; after the end, nothing happens."""
        self._connection.write(data)

    def close(self) -> None:
        """Let go of it: its standard input ends."""
        self._connection.close()


class Engine:
    """Finds, writes and runs; each request takes at most `options.timeout` seconds.

    Raises TargetUnavailable and TargetDenied; NoContainer where there is not the one that is meant,
    faults.Refusal where the engine says no (a container that does not run, say).
    """

    def __init__(
        self,
        options: DockerOptions,
        *,
        environment: Mapping[str, str] = os.environ,
        connect: Callable[[], Client] | None = None,
    ) -> None:
        """Open nothing. `connect`: makes the client; the SDK's for `environment` by default."""
        self._options = options
        self._environment = environment
        self._connect = connect or self._sdk
        self._client: Client | None = None
        self._workers = Workers()

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._options.timeout

    def _sdk(self) -> Client:
        from confsync.adapters.docker.api import Api  # noqa: PLC0415 - 0.1 s, in a thread

        return Api(self._environment, self._options.timeout)

    async def find(self, selector: str) -> Container:
        """Find exactly one container by a name, id or label. Raises NoContainer.

        It may have ended; of several with a label, the only one that lives is meant.
        """
        wanted = Selector.parse(selector)
        name = wanted.name
        if wanted.label:
            name = wanted.chosen(await self.call(lambda c: c.list(wanted.filter)))
        try:
            found = parse(await self.call(lambda c: c.inspect(name)))
        except faults.Refusal as error:
            if wanted.label and error.status == 404:
                raise NoContainer(f"the container labelled {wanted.filter} went away") from error
            if error.status != 404 and "multiple" not in error.words.lower():
                raise
            raise await self._none(wanted) from error
        by_id = len(name) >= _SHORTEST_ID and found.id.startswith(name)
        if found.name != name and not by_id:
            # A short name, "db", may begin the id of a container that has nothing to do with it.
            raise await self._none(wanted)
        return found

    async def _none(self, wanted: Selector) -> NoContainer:
        listed = await self.call(lambda c: c.list())
        several = [each for each in listed if str(each.get("Id", "")).startswith(wanted.name)]
        if len(several) > 1 and len(wanted.name) >= _SHORTEST_ID:
            return NoContainer(
                f"{len(several)} containers have an id that begins with {wanted.name}: "
                f"{told(several)}",
                remedy="set target.container to a name or a whole id",
            )
        return wanted.absent(listed)

    async def inspect(self, container: str) -> Container:
        """Look at a container again, by its id. Raises NoContainer when it is gone."""
        try:
            return parse(await self.call(lambda c: c.inspect(container)))
        except faults.Refusal as error:
            if error.status != 404:
                raise
            raise NoContainer(f"the container {container[:12]} is gone") from error

    async def run(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        user: str = "",
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command in a running container; return its exit code and all it said, bounded.

        `environment`: exactly that, except that the engine's runtime adds HOME, and that the
        container's PATH stays when none is given (the program is looked for in it); None: the
        container's own. Raises TimeoutError; the command then goes on: an engine can't end one.
        """
        async with asyncio.timeout(timeout):
            variables: list[str] = []
            if environment is not None:
                known = (await self.inspect(container)).environment
                variables = words.exactly(environment, known)
            output = bytearray()

            def heard(_: int, piece: bytes) -> None:
                output.extend(piece[: OUTPUT_LIMIT - len(output)])

            try:
                started = await self.attach(
                    container,
                    argv,
                    heard,
                    environment=variables,
                    directory=directory,
                    user=user,
                    stdin=False,
                )
            except faults.Refusal as error:
                if not words.program_missing(error.words):
                    raise
                return 127, error.words.encode()
            try:
                await started.ended
            finally:
                started.close()
            return await self.exit_code(started), bytes(output)

    async def attach(
        self,
        container: str,
        argv: Sequence[str],
        received: Callable[[int, bytes], None],
        *,
        environment: Sequence[str] = (),
        directory: str = "",
        user: str = "",
        stdin: bool = True,
    ) -> Stream:
        """Start a command and stay connected to it; `received` gets stream.STDOUT or STDERR, bytes.

        Works over a unix socket, TCP and TLS. `environment`: NAME=VALUE, or NAME to unset it.
        """
        frames = stream.Frames(received)

        def create(client: Client) -> tuple[str, str, Endpoint]:
            made = client.exec_create(
                container,
                argv,
                environment=environment,
                directory=directory,
                user=user,
                stdin=stdin,
            )
            return made, client.version, client.endpoint

        exec_id, version, endpoint = await self.call(create)
        opened = await stream.opened(
            endpoint,
            f"/v{version}/exec/{exec_id}/start",
            frames.feed,
            body={"Detach": False, "Tty": False},
            timeout=self._options.timeout,
        )
        return Stream(opened, exec_id)

    async def exit_code(self, ended: stream.Spoken) -> int:
        """Return the exit code of a command whose stream has ended."""
        for _ in range(_POLLS):
            code = await self.call(lambda c: c.exec_code(ended.exec_id))
            if code is not None:
                return code
            await asyncio.sleep(_POLL)
        raise faults.EngineGone("the Docker engine does not tell how a command ended")

    async def put(self, container: str, files: Sequence[File]) -> None:
        """Put files into a container, running or not; each folder's files in one request.

        A file is replaced in place, so not atomically. Raises WriteError where a file cannot be put:
        a read-only file system, a file that is a mount of its own, a tmpfs, no such folder.
        """
        found = await self.inspect(container)
        for each in files:
            words.writable(found, each.path)
        for folder, inside in archive.by_folder(files).items():
            packed = archive.pack(inside)
            try:
                await self.call(lambda c, f=folder, p=packed: c.put(container, f, p))  # type: ignore[misc]
            except faults.Refusal as error:
                raise words.unwritten(found, folder, error) from error

    async def kill(self, container: str, signal: str) -> None:
        """Send a signal ("SIGUSR2") to a container's first process."""
        await self.call(lambda c: c.kill(container, signal))

    async def processes(self, container: str) -> tuple[Process, ...]:
        """List a container's processes; the image needs no `ps`, it is the engine's host's."""
        rows = await self.call(lambda c: c.top(container, "pid,ppid,etimes,args"))
        return tuple(
            Process(pid=int(row[0]), parent=int(row[1]), age=int(row[2]), command=row[3])
            for row in rows
            if len(row) == 4 and all(word.isdigit() for word in row[:3])
        )

    async def logs(self, container: str, since: float, *, lines: int = LOG_LINES) -> str:
        """Return what a container has logged since then (unix seconds), the newest lines at most."""
        data = await self.call(lambda c: c.logs(container, since, lines, LOG_LIMIT))
        return stream.unframed(data).decode("utf-8", "replace")

    async def one_off(
        self,
        container: Container,
        argv: Sequence[str],
        *,
        files: Sequence[File] = (),
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        network: str = "none",
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, bytes]:
        """Run a command in a container for a moment, of the same image, removed whatever happens.

        It sees the other one's volumes, read-only, and `files`. Raises TimeoutError, WriteError.
        """
        if environment is not None:
            variables = words.exactly(environment, container.environment)
        else:
            variables = [f"{name}={value}" for name, value in container.environment.items()]
        plan = oneoff.Plan(
            argv=tuple(argv),
            files=tuple(files),
            environment=tuple(variables),
            directory=directory or container.directory,
            network=network,
        )
        return await oneoff.run(self, container, plan, timeout)

    async def watch(self, heard: Callable[[events.Event], None]) -> None:
        """Tell what happens to containers, for ever; what is lost is tried again.

        LISTENING comes first, and again after each LOST: what happened in between is not told.
        """
        await events.watch(self._listen, heard)

    async def _listen(self, received: Callable[[bytes], None]) -> stream.Connection:
        version, endpoint = await self.call(lambda c: (c.version, c.endpoint))
        return await stream.opened(
            endpoint,
            f"/v{version}/events?{events.QUERY}",
            received,
            timeout=self._options.timeout,
        )

    async def call(self, work: Callable[[Client], T], *, whole: bool = False) -> T:
        """Ask the client in a thread. `whole`: a cancellation waits for the answer."""
        try:
            return await self._workers.call(
                lambda: work(self._connected()), self._options.timeout, whole=whole
            )
        except TimeoutError as error:
            self._forget()
            where = Endpoint.parse(self._environment).where
            raise faults.late(where, "answer", self._options.timeout) from error
        except faults.EngineGone:
            self._forget()
            raise

    def _connected(self) -> Client:
        if (client := self._client) is None:
            made = self._connect()
            # Not under a lock: who waits for an engine that hangs would keep the others from trying.
            if (client := self._client) is None:
                client = self._client = made
            else:
                made.close()
        return client

    def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def close(self) -> None:
        """Give connections back."""
        self._forget()
