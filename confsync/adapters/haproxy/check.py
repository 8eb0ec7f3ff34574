"""Has `haproxy -c` of this machine check a set of files, before it is live.

What it must read, and what its words mean, is core.haproxy.candidate's; here are the reading, the
check copies (removed whatever happens) and the choice of the program. Finding programs is binary.py's.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from confsync import errors
from confsync.adapters.haproxy import binary
from confsync.adapters.haproxy.options import SocketOptions
from confsync.core.haproxy import candidate, verdict
from confsync.core.haproxy.command import MasterCommand, clean
from confsync.domain.rendered import RenderedConfig
from confsync.ports import Staged


class Checker:
    """Checks with a program of the version that runs."""

    def __init__(self, options: SocketOptions) -> None:
        self._options = options
        self._binaries = binary.Binaries(options.binary)
        self._secrets = RenderedConfig()

    async def check(
        self,
        main: str,
        staged: Staged | None,
        *,
        command: MasterCommand | None,
        version: str,
    ) -> tuple[str, ...]:
        """Check the set as it would be, or as it is when nothing is staged.

        `command`: of the running master, None when unknown; `version`: of the running HAProxy, ""
        when none runs. Returns warnings and remarks. Raises CheckRejected, CheckUnavailable.
        """
        if staged is not None:
            self._secrets = staged.config
        program, remarks = await self._program(command, version)
        with _prepared(main, staged, command) as found:
            code, output = await binary.run(
                [program.path, *found.arguments(command)],
                environment=_environment(command),
                directory=_directory(command),
                timeout=self._options.check_timeout,
            )
        warnings = candidate.judged(code, output, found, live=staged is None, masked=self.masked)
        notes = [*remarks, *found.remarks, *(command.notes if command else ())]
        if version and command is None:
            notes.append(candidate.unknown_start(main))
        return (*warnings, *map(self.masked, notes))

    async def fitness(
        self, command: MasterCommand | None, version: str
    ) -> tuple[str, tuple[str, ...]]:
        """Say why no program here could check for the running version ("": one could), and remarks."""
        try:
            _, remarks = await self._program(command, version)
        except errors.CheckUnavailable as error:
            return str(error), (str(error),)
        return "", remarks

    async def _program(
        self, command: MasterCommand | None, version: str
    ) -> tuple[binary.Binary, tuple[str, ...]]:
        found = await self._binaries.found(version)
        if not version:
            return found[0], ()
        for each in found:
            if each.version == version:
                return each, ()
        if command and command.replaced:
            # An upgrade that did not restart HAProxy: the next reload executes what lies there now.
            for each in found:
                if _same(each.path, command.program):
                    remark = f"HAProxy {version} runs; its next reload loads {each.version}"
                    return each, (remark,)
        first = found[0]
        if self._options.weak:
            return first, (f"checked by HAProxy {first.version}, while {version} runs",)
        raise errors.CheckUnavailable(
            f"HAProxy {version} runs, but {first.path} is {first.version}",
            remedy="set target.binary to a program of the running version, restart HAProxy after an "
            'upgrade, or set target.check = "weak"',
        )

    def masked(self, text: str) -> str:
        """Hide the secrets of the set, and what looks like one: a live file may hold others."""
        return verdict.without_passwords(self._secrets.masked(text))


@contextlib.contextmanager
def _prepared(
    main: str, staged: Staged | None, command: MasterCommand | None
) -> Iterator[candidate.Candidate]:
    """Put the check copies in place, and remove them. Raises CheckUnavailable."""
    copies: list[str] = []
    try:
        try:
            config = staged.config if staged else RenderedConfig()
            found = candidate.prepare(main, config, staged.paths if staged else {}, command, DISK)
            for path, text in found.copies.items():
                _copy(path, text, copies)
        except OSError as error:
            raise errors.CheckUnavailable(
                f"cannot prepare the check: {error}",
                remedy="confsync must be able to read what HAProxy loads, and to write beside it",
            ) from error
        yield found
    finally:
        for copy in copies:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)  # noqa: PTH108


def _copy(path: str, text: str, copies: list[str]) -> None:
    """Write a check copy, and add it to those to remove."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - left by a kill -9
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    copies.append(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""  # HAProxy says it better


def _listing(path: str) -> list[str] | None:
    return os.listdir(path) if os.path.isdir(path) else None  # noqa: PTH112, PTH208


def _same(one: str, other: str) -> bool:
    """Tell whether two names are of one file; symbolic links of a folder are looked through."""
    if candidate.named_alike(one, other):
        return True
    try:
        return os.path.realpath(one) == os.path.realpath(other)
    except OSError:
        return False


DISK = candidate.Disk(read=_read, listing=_listing, same=_same)


def _environment(command: MasterCommand | None) -> Mapping[str, str]:
    if command and command.environment is not None:
        return command.environment
    return clean(os.environ)


def _directory(command: MasterCommand | None) -> str:
    directory = command.directory if command else ""
    return directory if directory and os.access(directory, os.X_OK) else ""
