"""What `haproxy -c` must read to check a set of files as the next reload would load it. Pure.

The files of the running master's own command line, in its order, with its options; in each of them,
whatever was staged is named by its staged path. The real text is never edited: what HAProxy reads is
a copy with the same line numbers. All paths are those of the HAProxy that checks. Reading, writing
the copies and running are an adapter's; HAProxy's words are verdict.py's.
"""

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from confsync import errors
from confsync.core.haproxy import bygone, verdict
from confsync.core.haproxy.command import MasterCommand
from confsync.domain.rendered import RenderedConfig

# A path in a configuration ends where none of these follow, and begins where none precede: so that
# /etc/x.map is not found in /etc/x.map.old, but in map(/etc/x.map,default) and "/etc/x.map".
_IN_A_PATH = r"[\w./\-+~]"
_SHOWN_RAW = 4000


def named_alike(one: str, other: str) -> bool:
    """Tell whether two paths are one by their words."""
    return posixpath.normpath(one) == posixpath.normpath(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What is asked of the files that HAProxy has now.

    `read`: a file's text ("" when absent: HAProxy says it better); `listing`: the names in a folder
    (None: no folder); `same`: whether two paths are of one file, links of a folder looked through.
    """

    read: Callable[[str], str]
    listing: Callable[[str], Collection[str] | None]
    same: Callable[[str, str], bool] = named_alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What to give to `haproxy -c`.

    `files`: the arguments of -f, in order. `copies`: path -> text, to be there while HAProxy reads.
    `names`: path to hide -> path to show. `sources`: the texts that it reads, by the path to show.
    """

    files: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, verdict.Source] = field(default_factory=dict, repr=False)
    remarks: tuple[str, ...] = ()

    def arguments(self, command: MasterCommand | None) -> list[str]:
        """Put the check's command line together, without the program."""
        named = [word for name in self.files for word in ("-f", name)]
        return ["-c", *(command.options if command else ()), *named]


def prepare(
    main: str,
    config: RenderedConfig,
    paths: Mapping[str, str],
    command: MasterCommand | None,
    disk: Disk,
) -> Candidate:
    """Find what to check. `paths`: destination -> staged path, for each file that would change.

    `command`: of the running master; when it is unknown, only `main` is checked.
    """
    loaded, remarks = _loaded(main, command, tuple(paths), disk)
    cited = {d: p for d, p in paths.items() if not _among(d, loaded, disk)}
    seen_as = {f.destination: f.seen_as or f.destination for f in config.files}
    replace = _Replacement({seen_as.get(d, d): p for d, p in cited.items()} | cited)
    names = {path: destination for destination, path in paths.items()}
    files: list[str] = []
    copies: dict[str, str] = {}
    sources: dict[str, verdict.Source] = {}
    for path in loaded:
        destination = next((d for d in seen_as if disk.same(d, path)), path)
        rendered = config.get(destination)
        text = rendered.text if rendered and destination in paths else disk.read(path)
        template = rendered.template if rendered else ""
        sources[path] = verdict.Source(text=text, template=template)
        copied = replace(text)
        if copied != text:
            copy = copy_path(path, _folder_for(path, destination, paths))
            copies[copy], names[copy] = copied, path
            files.append(copy)
        else:
            files.append(paths.get(destination, path))
        if destination in paths:
            names[paths[destination]] = path
    remarks += [
        f"{destination} changes, but is not named by its full path in "
        f"{', '.join(loaded)}: the check covers its old content"
        for destination in cited
        if replace.unseen({destination, seen_as.get(destination, destination)})
    ]
    return Candidate(
        files=tuple(files), copies=copies, names=names, sources=sources, remarks=tuple(remarks)
    )


def copy_path(path: str, folder: str) -> str:
    """Name a check copy; HAProxy's `-f DIR` does not load dot-files."""
    return posixpath.join(folder, f".{posixpath.basename(path)}.check.confsync")


def judged(
    code: int,
    output: str,
    candidate: Candidate,
    *,
    live: bool,
    masked: Callable[[str], str],
) -> tuple[str, ...]:
    """Return the warnings of a check that passed.

    `code`: its exit code, negative when a signal ended it; `live`: the files on disk were checked.
    `masked` hides secrets. Raises CheckRejected with HAProxy's words, CheckUnavailable.
    """
    said = verdict.entries(output, candidate.names)
    today = bygone.explained({path: source.text for path, source in candidate.sources.items()})
    if not code:
        return tuple(map(masked, (*verdict.warnings(said), *today)))
    raw = masked(verdict.printable_lines(output[-_SHOWN_RAW:]))
    if code < 0:
        raise errors.CheckUnavailable(f"`haproxy -c` was ended by signal {-code}", detail=raw)
    headline = masked(verdict.headline(said))
    what = "HAProxy refuses the files on disk" if live else "HAProxy refuses the configuration"
    raise errors.CheckRejected(
        f"{what}: {headline or f'exit code {code}'}",
        detail="\n".join((masked(verdict.beside_lines(said, candidate.sources)) or raw, *today)),
    )


def unknown_start(main: str, whose: str = "confsync's own") -> str:
    """Say what the check of a HAProxy lacks whose command line is not known."""
    return (
        f"how the running HAProxy was started is not known: only {main} was checked, "
        f"with {whose} environment"
    )


def loaded(main: str, command: MasterCommand | None, disk: Disk) -> tuple[str, ...]:
    """List the configurations that a master loads, in its order."""
    return tuple(_loaded(main, command, (), disk)[0])


def _loaded(
    main: str, command: MasterCommand | None, staged: tuple[str, ...], disk: Disk
) -> tuple[list[str], list[str]]:
    """List the files that the master loads, folders opened; only the main one when it is unknown."""
    if command is None:
        return [main], []
    found: list[str] = []
    for path in command.files:
        names = disk.listing(path)
        found += [path] if names is None else _folder(path, names, staged, disk)
    if _among(main, found, disk):
        return found, []
    remark = (
        f"the running HAProxy does not load {main} but {', '.join(command.files)}: "
        "set target.config, or start HAProxy with it"
    )
    return [main], [remark]


def _folder(path: str, names: Iterable[str], staged: tuple[str, ...], disk: Disk) -> list[str]:
    """List what `-f DIR` loads: *.cfg without dot-files, in the order of bytes (management.txt 3)."""
    new = {posixpath.basename(d) for d in staged if disk.same(posixpath.dirname(d), path)}
    wanted = [n for n in {*names, *new} if n.endswith(".cfg") and not n.startswith(".")]
    in_order = sorted(wanted, key=lambda n: n.encode("utf-8", "surrogateescape"))
    return [posixpath.join(path, n) for n in in_order]


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
    if all(posixpath.dirname(d) == posixpath.dirname(p) for d, p in paths.items()):
        return posixpath.dirname(path)
    return posixpath.dirname(paths.get(destination) or next(iter(paths.values())))


def _among(path: str, paths: list[str], disk: Disk) -> bool:
    return any(disk.same(path, each) for each in paths)
