"""Has `haproxy -c` check a set of files as the next reload would load it, before it is live.

The files of the running master's own command line, in its order, with its options and environment;
in each of them, whatever was staged is named by its staged path. The real text is never edited: what
HAProxy reads is a copy with the same line numbers, removed whatever happens. Finding the program is
binary.py's, the master's command process.py's, HAProxy's words verdict.py's.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from confsync import errors
from confsync.adapters.haproxy import binary, process, verdict
from confsync.adapters.haproxy.options import SocketOptions
from confsync.domain.rendered import RenderedConfig
from confsync.ports import Staged

# A path in a configuration ends where none of these follow, and begins where none precede: so that
# /etc/x.map is not found in /etc/x.map.old, but in map(/etc/x.map,default) and "/etc/x.map".
_IN_A_PATH = r"[\w./\-+~]"


@dataclass(slots=True, kw_only=True)
class _Candidate:
    """What to give to `haproxy -c`. `names`: path to hide -> path to show; `sources`: by path shown."""

    arguments: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    sources: dict[str, verdict.Source] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


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
        command: process.MasterCommand | None,
        version: str,
    ) -> tuple[str, ...]:
        """Check the set as it would be, or as it is when nothing is staged.

        `command`: of the running master, None when unknown; `version`: of the running HAProxy, ""
        when none runs. Returns warnings and remarks. Raises CheckRejected, CheckUnavailable.
        """
        if staged is not None:
            self._secrets = staged.config
        program, remarks = await self._program(command, version)
        with _prepared(main, staged, command) as candidate:
            argv = [program.path, "-c", *(command.options if command else ())]
            for argument in candidate.arguments:
                argv += ["-f", argument]
            code, output = await binary.run(
                argv,
                environment=_environment(command),
                directory=_directory(command),
                timeout=self._options.check_timeout,
            )
        said = verdict.entries(output, candidate.names)
        if code:
            raise self._rejected(code, output, said, candidate, live=staged is None)
        notes = [*remarks, *candidate.remarks, *(command.notes if command else ())]
        if version and command is None:
            notes.append(
                f"how the running HAProxy was started is not known: only {main} was checked, "
                "with confsync's own environment"
            )
        return tuple(map(self.masked, (*verdict.warnings(said), *notes)))

    async def _program(
        self, command: process.MasterCommand | None, version: str
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

    def _rejected(
        self,
        code: int,
        output: str,
        said: tuple[verdict.Entry, ...],
        candidate: _Candidate,
        *,
        live: bool,
    ) -> errors.ConfsyncError:
        if code < 0:
            return errors.CheckUnavailable(
                f"`haproxy -c` was ended by signal {-code}",
                detail=self.masked(verdict.printable_lines(output[-4000:])),
            )
        headline = self.masked(verdict.headline(said))
        what = "HAProxy refuses the files on disk" if live else "HAProxy refuses the configuration"
        detail = verdict.beside_lines(said, candidate.sources)
        return errors.CheckRejected(
            f"{what}: {headline or f'exit code {code}'}",
            detail=self.masked(detail) or self.masked(verdict.printable_lines(output[-4000:])),
        )

    def masked(self, text: str) -> str:
        """Hide the secrets of the set, and what looks like one: a live file may hold others."""
        return verdict.without_passwords(self._secrets.masked(text))


@contextlib.contextmanager
def _prepared(
    main: str, staged: Staged | None, command: process.MasterCommand | None
) -> Iterator[_Candidate]:
    """Put the check copies in place, and remove them. Raises CheckUnavailable."""
    candidate = _Candidate()
    try:
        try:
            _prepare(candidate, main, staged, command)
        except OSError as error:
            raise errors.CheckUnavailable(
                f"cannot prepare the check: {error}",
                remedy="confsync must be able to read what HAProxy loads, and to write beside it",
            ) from error
        yield candidate
    finally:
        for copy in candidate.copies:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)  # noqa: PTH108


def _prepare(
    candidate: _Candidate, main: str, staged: Staged | None, command: process.MasterCommand | None
) -> None:
    config = staged.config if staged else RenderedConfig()
    paths = staged.paths if staged else {}
    loaded = _loaded(candidate, main, command, tuple(paths))
    cited = {d: p for d, p in paths.items() if not _among(d, loaded)}
    seen_as = {f.destination: f.seen_as or f.destination for f in config.files}
    replace = _Replacement({seen_as.get(d, d): p for d, p in cited.items()} | cited)
    for destination, path in paths.items():
        candidate.names[path] = destination
    for path in loaded:
        destination = next((d for d in seen_as if _same(d, path)), path)
        rendered = config.get(destination) if destination in paths else None
        text = rendered.text if rendered else _read(path)
        template = next((f.template for f in config.files if f.destination == destination), "")
        candidate.sources[path] = verdict.Source(text=text, template=template)
        copied = replace(text)
        candidate.arguments.append(
            _copy(candidate, path, copied, _folder_for(path, destination, paths))
            if copied != text
            else paths.get(destination, path)
        )
        if destination in paths:
            candidate.names[paths[destination]] = path
    for destination in cited:
        if replace.unseen({destination, seen_as.get(destination, destination)}):
            candidate.remarks.append(
                f"{destination} changes, but is not named by its full path in "
                f"{', '.join(loaded)}: the check covers its old content"
            )


def _loaded(
    candidate: _Candidate,
    main: str,
    command: process.MasterCommand | None,
    staged: tuple[str, ...],
) -> list[str]:
    """List the files that the master loads, folders opened; only the main one when it is unknown."""
    if command is None:
        return [main]
    found: list[str] = []
    for path in command.files:
        found += _folder(path, staged) if os.path.isdir(path) else [path]  # noqa: PTH112
    if not _among(main, found):
        candidate.remarks.append(
            f"the running HAProxy does not load {main} but {', '.join(command.files)}: "
            "set target.config, or start HAProxy with it"
        )
        return [main]
    return found


def _folder(path: str, staged: tuple[str, ...]) -> list[str]:
    """List what `-f DIR` loads: *.cfg without dot-files, in the order of bytes (management.txt 3)."""
    names = set(os.listdir(path))  # noqa: PTH208
    names |= {os.path.basename(d) for d in staged if _same(os.path.dirname(d), path)}  # noqa: PTH119, PTH120
    wanted = [n for n in names if n.endswith(".cfg") and not n.startswith(".")]
    return [os.path.join(path, n) for n in sorted(wanted, key=os.fsencode)]  # noqa: PTH118


class _Replacement:
    """Replaces destinations, each as a whole word, by their staged paths."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._seen: set[str] = set()
        longest_first = sorted(paths, key=len, reverse=True)
        words = "|".join(map(re.escape, longest_first))
        self._pattern = (
            re.compile(f"(?<!{_IN_A_PATH})(?:{words})(?!{_IN_A_PATH})") if paths else None
        )

    def __call__(self, text: str) -> str:
        return self._pattern.sub(self._one, text) if self._pattern else text

    def unseen(self, names: set[str]) -> bool:
        """Tell whether none of these names was found in any text."""
        return not names & self._seen

    def _one(self, match: re.Match[str]) -> str:
        self._seen.add(match[0])
        return self._paths[match[0]]


def _folder_for(path: str, destination: str, paths: Mapping[str, str]) -> str:
    """Choose the check copy's folder: its file's own, since `default-path config` is about that one.

    A dry run stages elsewhere, and then writes nothing beside the live files.
    """
    if all(os.path.dirname(d) == os.path.dirname(p) for d, p in paths.items()):  # noqa: PTH120
        return os.path.dirname(path)  # noqa: PTH120
    return os.path.dirname(paths.get(destination) or next(iter(paths.values())))  # noqa: PTH120


def _copy(candidate: _Candidate, path: str, text: str, folder: str) -> str:
    """Write a check copy, under a name that `-f DIR` does not load."""
    name = os.path.basename(path)  # noqa: PTH119
    copy = os.path.join(folder, f".{name}.check.confsync")  # noqa: PTH118
    with contextlib.suppress(FileNotFoundError):
        os.unlink(copy)  # noqa: PTH108 - left by a kill -9
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    candidate.copies.append(copy)
    candidate.names[copy] = path
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return copy


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""  # HAProxy says it better


def _among(path: str, paths: list[str]) -> bool:
    return any(_same(path, each) for each in paths)


def _same(one: str, other: str) -> bool:
    """Tell whether two names are of one file; symbolic links of a folder are looked through."""
    if os.path.normpath(one) == os.path.normpath(other):
        return True
    try:
        return os.path.realpath(one) == os.path.realpath(other)
    except OSError:
        return False


def _environment(command: process.MasterCommand | None) -> Mapping[str, str]:
    if command and command.environment is not None:
        return command.environment
    return process.clean(os.environ)


def _directory(command: process.MasterCommand | None) -> str:
    directory = command.directory if command else ""
    return directory if directory and os.access(directory, os.X_OK) else ""
