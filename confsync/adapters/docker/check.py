"""Has the container's own `haproxy -c` check a set of files, before it is live.

What it must read, and what its words mean, is core.haproxy.candidate's. In a running container it is
run with the master's own arguments, environment and user. Where HAProxy does not run, or nothing can
be put beside its files, a container of the same image is made for the check.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from confsync import errors
from confsync.adapters.docker import agreement, copies, faults
from confsync.adapters.docker.archive import File
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.inside import Inside, signalled
from confsync.adapters.docker.master import Master, Masters
from confsync.adapters.docker.seen import Seen, View
from confsync.core.haproxy import candidate, command, verdict
from confsync.core.placement import Placement
from confsync.domain.rendered import RenderedConfig
from confsync.ports import Staged

_NOT_RUN = (126, 127)
_UNRESOLVED = b"could not resolve address"
_SCRATCH = "/tmp"  # noqa: S108 - of a container, where a folder of our own is made


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """`binary`: a path inside, or a name that stands for the one that runs. `timeout`: seconds."""

    placement: Placement
    binary: str = "haproxy"
    timeout: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What was checked by what, and what came of it."""

    found: candidate.Candidate
    program: str
    code: int
    output: bytes
    notes: tuple[str, ...]


class _NoRoom(Exception):
    """Nothing can be put beside the running HAProxy for a moment."""


class Checker:
    """Checks for one HAProxy in a container."""

    def __init__(
        self,
        options: CheckOptions,
        inside: Inside,
        masters: Masters,
        *,
        staged_inside: Callable[[Container], bool] = lambda _: True,
    ) -> None:
        """`staged_inside`: tells whether this run of a container has what was staged last."""
        self._options = options
        self._place = options.placement
        self._view = View(options.placement, inside)
        self._inside = inside
        self._masters = masters
        self._staged_inside = staged_inside
        self._config = RenderedConfig()
        self._agreed: tuple[str, float] | None = None

    async def check(
        self, container: Container, main: str, staged: Staged | None, *, master: int = 0
    ) -> tuple[str, ...]:
        """Check the set as it would be, or as it is when nothing is staged; see ports.Target.

        `main`: as confsync sees it. `master`: its pid inside, as HAProxy tells it. Also raises
        TargetUnavailable for a paused container, NotShared.
        """
        if staged is not None:
            self._config = staged.config
        if container.state == "paused":
            raise errors.TargetUnavailable(
                f"the container {container.name} is paused",
                remedy=f"docker unpause {container.name}",
            )
        try:
            done = await self._done(container, main, staged, master)
        except TimeoutError as error:
            raise errors.CheckUnavailable(
                f"`haproxy -c` in the container {container.name} was not done within "
                f"{self._options.timeout:g} s",
                remedy="look for host names in the configuration that take long to resolve",
            ) from error
        except errors.WriteError as error:
            raise errors.CheckUnavailable(
                f"cannot prepare the check: {error.what}", remedy=error.remedy
            ) from error
        text = done.output.decode("utf-8", "replace")
        if done.code in _NOT_RUN:
            raise errors.CheckUnavailable(
                f"{done.program} cannot be run in the container {container.name}",
                remedy="set target.binary to its path inside",
                detail=self.masked(verdict.printable_lines(text[-4000:])),
            )
        live = staged is None
        warnings = candidate.judged(done.code, text, done.found, live=live, masked=self.masked)
        return (*warnings, *map(self.masked, done.notes))

    def masked(self, text: str) -> str:
        """Hide the secrets of the set, and what looks like one: a live file may hold others."""
        return verdict.without_passwords(self._config.masked(text))

    async def _done(
        self, container: Container, main: str, staged: Staged | None, pid: int
    ) -> _Checked:
        master: Master | None = None
        if container.runs:
            try:
                master = await self._masters.find(container, pid)
                with contextlib.suppress(_NoRoom):
                    return await self._beside(container, main, staged, master)
            except faults.Refusal:
                container = await self._inside.engine.inspect(container.id)
                if container.runs:
                    raise
                master = None  # it ended meanwhile, as one without a configuration does
        return await self._in_one_off(container, main, staged, master)

    # In the running container

    async def _beside(
        self, container: Container, main: str, staged: Staged | None, master: Master | None
    ) -> _Checked:
        started = master.command if master else None
        program = self._program(master)
        async with self._put_in(container, staged, master) as seen:
            found = await self._view.prepared(main, seen, started, container)
            async with self._copies(container, found) as rest:
                if rest:
                    await self._inside.engine.put(container.id, copies.files(rest, master))
                code, output = await self._inside.run(
                    container,
                    [program, *found.arguments(started)],
                    environment=started.environment if started else None,
                    directory=started.directory if started else "",
                    user=master.user if master else "",
                    timeout=self._options.timeout,
                )
                await self._unchanged(container, main, staged, refused=code != 0)
        notes = [*found.remarks, *(started.notes if started else ())]
        if started is None:
            notes.append(candidate.unknown_start(self._place.seen(main), "the container's own"))
        elif started.replaced:
            notes.append(f"{program} was replaced inside: the next reload loads the new one")
        return _Checked(found=found, program=program, code=code, output=output, notes=tuple(notes))

    @contextlib.asynccontextmanager
    async def _put_in(
        self, container: Container, staged: Staged | None, master: Master | None
    ) -> AsyncIterator[Seen]:
        """Have the staged files seen inside: they are, or they are put into a folder of their own."""
        seen = self._view.where_it_is(staged) if staged is not None else Seen()
        if seen is not None and self._staged_inside(container):
            yield seen
            return
        if staged is None:
            yield Seen()
            return
        user = master.user if master else ""
        if container.read_only or container.mount_of(_SCRATCH) is not None:
            raise _NoRoom
        folder = f"{_SCRATCH}/confsync-{secrets.token_hex(8)}"
        code, _ = await self._inside.run(container, ["mkdir", "-m", "700", folder], user=user)
        if code:
            raise _NoRoom
        try:
            seen = self._view.elsewhere(staged.config, staged.paths, folder)
            await self._inside.engine.put(container.id, copies.files(seen.files, master))
            yield seen
        finally:
            # One that has ended meanwhile keeps it, in its own /tmp.
            with contextlib.suppress(errors.TargetError, TimeoutError):
                await self._inside.run(container, ["rm", "-rf", folder], user=user)

    @contextlib.asynccontextmanager
    async def _copies(
        self, container: Container, found: candidate.Candidate
    ) -> AsyncIterator[Mapping[str, str]]:
        """Write the check copies that lie in a shared folder; yield the others; remove all."""
        written: list[str] = []
        rest: dict[str, str] = {}
        try:
            for path, text in found.copies.items():
                if reached := self._view.reached(path):
                    like = self._view.reached(found.names[path])
                    await asyncio.to_thread(copies.write, reached, text, like, written)
                else:
                    rest[path] = text
            yield rest
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise errors.CheckUnavailable(
                f"cannot prepare the check: {error}",
                remedy="confsync must be able to write beside what HAProxy loads",
            ) from error
        finally:
            for each in written:
                with contextlib.suppress(OSError):
                    os.unlink(each)  # noqa: PTH108
            if rest and container.runs:
                await self._inside.change(container, ["rm", "-f", *rest])

    async def _unchanged(
        self, container: Container, main: str, staged: Staged | None, *, refused: bool
    ) -> None:
        """Make sure, when in doubt, that what was judged is what was meant."""
        if refused:
            now = await self._inside.engine.inspect(container.id)
            if now.life != container.life:
                raise errors.CheckUnavailable(
                    f"the container {container.name} was restarted while it checked"
                )
        if self._place.mirrored or not (refused or self._agreed != container.life):
            return
        written = list(staged.paths.values()) if staged else []
        shared = [p for p in (*written, main) if self._place.seen(p) != p]
        await agreement.verify(self._inside, container, self._place, shared)
        self._agreed = container.life

    # In a container made for it

    async def _in_one_off(
        self, container: Container, main: str, staged: Staged | None, master: Master | None
    ) -> _Checked:
        started = (
            master.command
            if master
            else command.declared(container.argv, container.environment, container.directory)
        )
        program = self._program(master)
        seen = await self._given(container, staged)
        found = await self._view.prepared(main, seen, started, container)
        argv = [program, *found.arguments(started)]
        async with self._copies(container, found) as rest:
            files = copies.files({**seen.files, **rest}, None)
            code, output = await self._one_off(container, argv, files, started, "none")
            if code and _UNRESOLVED in output:
                # Names that only its own network knows.
                code, output = await self._one_off(
                    container, argv, files, started, container.network
                )
            await self._unchanged(container, main, staged, refused=code != 0)
        why = "its files are read-only" if container.runs else f"it is {container.state}"
        notes = (
            f"checked in a container made of the image of {container.name}, since {why}",
            *found.remarks,
            *(started.notes if started else ()),
        )
        return _Checked(found=found, program=program, code=code, output=output, notes=notes)

    async def _one_off(
        self,
        container: Container,
        argv: list[str],
        files: list[File],
        started: command.MasterCommand | None,
        network: str,
    ) -> tuple[int, bytes]:
        code, output = await self._inside.engine.one_off(
            container,
            argv,
            files=files,
            environment=started.environment if started else None,
            directory=started.directory if started else "",
            network=network,
            timeout=self._options.timeout,
        )
        return signalled(code), output

    async def _given(self, container: Container, staged: Staged | None) -> Seen:
        """Find what a container of the same image, with the same volumes, must be given."""
        if not self._place.mirrored:
            seen = self._view.where_it_is(staged) if staged is not None else Seen()
            if seen is not None:
                return seen
            assert staged is not None
            return self._view.elsewhere(staged.config, staged.paths, "/")
        # What was put into the other container is not in its image: all files go along.
        if staged is not None:
            config = staged.config
        else:
            config = await self._view.live(self._config, container)
        return self._view.elsewhere(config, config.digests(), "/")

    def _program(self, master: Master | None) -> str:
        if "/" in self._options.binary or master is None or not master.command.program:
            return self._options.binary
        return master.command.program
