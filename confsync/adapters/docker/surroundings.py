"""What a HAProxy in a container loads beside what is rendered: other configurations, and named files.

Files in a folder that confsync shares are looked at here, each time. What is inside alone is looked at
now and then by one command, and read again only when it has changed: a change at runtime waits for no
command, and what it would have found, HAProxy reads only when it loads.
Seen with the rights of the container's user, as by HAProxy: what that may not read is not loaded.
"""

import asyncio
import contextlib
import os
import posixpath
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from confsync import errors
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.master import Masters
from confsync.adapters.docker.ways import Ways
from confsync.core import surrounding
from confsync.core.haproxy import candidate
from confsync.core.haproxy.command import MasterCommand
from confsync.core.placement import Placement
from confsync.core.planning import Surroundings
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Observed

AGAIN = 10.0
"""Seconds after which what is inside alone is looked at again."""

_MUCH = 16 * 1024 * 1024
"""Bytes of a file that is not read for its digest: its size and times stand for it."""
_SETTLED = 2.0
"""Seconds after a change within which another one may have the same times (whole seconds)."""
_AT_ONCE = 1000
_LITTLE = 1_000_000
# Of plain files, and those that a folder has for `-f DIR`: what stat says; of a folder, that it is one.
_LOOK = r"""
for p; do
  shift
  if [ -d "$p" ]; then
    printf 'folder %s\n' "$p"
    for f in "$p"/*.cfg; do [ ! -f "$f" ] || set -- "$@" "$f"; done
  elif [ -f "$p" ]; then set -- "$@" "$p"
  fi
done
[ $# = 0 ] || stat -L -c '%s %i %Y %Z %n' "$@"
"""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What `stat` says: another content has another one. Seconds."""

    size: int
    inode: int
    modified: int
    changed: int


_Known = tuple[_Stamp, float, str]
"""What stands for a content, when it was read (unix seconds), and its text or digest."""


class Surveyor:
    """Looks at files inside; see ports.Surveyor."""

    def __init__(
        self,
        current: Current,
        ways: Ways,
        inside: Inside,
        masters: Masters,
        place: Placement,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds, by which AGAIN is measured."""
        self._clock = clock
        self._current = current
        self._ways = ways
        self._inside = inside
        self._masters = masters
        self._place = place
        self._worker: tuple[object, ...] = ()
        self._command: MasterCommand | None = None
        self._until = float("-inf")
        self._stamps: dict[str, _Stamp | None] = {}
        """What was seen inside, by path (None: nothing that is a file)."""
        self._folders: dict[str, list[str]] = {}
        self._known: tuple[str, ...] = ()
        """What a whole look is at."""
        self._texts: dict[str, _Known] = {}
        self._digests: dict[str, _Known] = {}
        self._local: dict[str, tuple[object, str]] = {}

    async def around(
        self, main: str, config: RenderedConfig, observed: Observed
    ) -> Surroundings | None:
        """See ports.Surveyor. A master keeps its arguments as long as it lives."""
        container = await self._current.container()
        if container.place != observed.place or self._ways.chosen(container) is None:
            return None  # nobody could be told anything
        try:
            return await self._around(container, main, config, observed)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise errors.TargetUnavailable("a command in the container does not end") from error
            return None  # what cannot be read may say anything

    async def _around(
        self, container: Container, main: str, config: RenderedConfig, observed: Observed
    ) -> Surroundings | None:
        worker = (observed.place, observed.master_pid, observed.worker_pid, observed.version)
        if self._worker != worker:
            pid = observed.master_pid if observed.master else 0  # as it is called inside
            master = await self._masters.find(container, pid)
            self._command = master.command if master is not None else None
            if self._worker[:1] != worker[:1]:
                self._texts, self._digests = {}, {}
            self._until, self._worker = float("-inf"), worker
        command = self._command
        configs = command.files if command is not None else (self._place.seen(main),)
        await self._look(container, configs)
        await self._read(container, configs, config)
        if command is None:
            own = config.get(main)
            text = own.text if own is not None else self._text(self._place.seen(main))
            return Surroundings() if surrounding.inherits_nothing(text) else None

        def loads() -> surrounding.Loads | None:
            disk = candidate.Disk(read=self._text, listing=self._listing)
            return surrounding.loads(main, self._place.seen(main), config, command, disk)

        size = sum(len(f.text) for f in config.files)
        found = await asyncio.to_thread(loads) if size > _LITTLE else loads()
        if found is None:
            return None
        await self._look(container, found.named)
        self._known = (*configs, *found.named)
        named = await self._named(container, found.named)
        return Surroundings(
            configs=found.configs,
            texts=found.texts,
            named=named,
            changed=max(map(self._changed, (*found.texts, *named)), default=0.0),
        )

    # What is there

    def _reached(self, seen: str) -> str:
        """Return confsync's path of a file in the shared folder; "" for all others."""
        return "" if self._place.mirrored else self._place.reached(seen)

    async def _look(self, container: Container, paths: Iterable[str]) -> None:
        """Have what `stat` says inside of these, which may be as old as AGAIN."""
        wanted = {path for path in paths if not self._reached(path)}
        due = self._clock() >= self._until
        if due:
            wanted |= {path for path in self._known if not self._reached(path)}
        else:
            wanted -= self._stamps.keys()
        asked = sorted(wanted)
        stamps: dict[str, _Stamp | None] = dict.fromkeys(asked)
        folders: dict[str, list[str]] = {}
        for at in range(0, len(asked), _AT_ONCE):
            argv = ["sh", "-c", _LOOK, "sh", *asked[at : at + _AT_ONCE]]
            code, output = await self._inside.told(container, argv)
            if code not in {0, 1}:  # 1: one went away meanwhile
                raise errors.TargetUnavailable(
                    f"what HAProxy loads cannot be seen in the container {container.name}: it has no "
                    "`sh` or no `stat`"
                )
            _seen(output.decode("utf-8", "surrogateescape"), stamps, folders)
        if due:
            self._stamps, self._folders = stamps, folders
            self._until = self._clock() + AGAIN
        else:
            self._stamps |= stamps
            self._folders |= folders

    async def _read(
        self, container: Container, configs: Iterable[str], config: RenderedConfig
    ) -> None:
        """Have the texts of configurations inside that are not rendered."""
        rendered = {f.seen_as or f.destination for f in config.files}
        for path in configs:
            for each in self._entries(path) or [path]:
                stamp = self._stamps.get(each)
                if each in rendered or stamp is None or _same(self._texts.get(each), stamp):
                    continue
                found = await self._inside.file(container, each)
                if found is not None:
                    text = found.data.decode("utf-8", "surrogateescape")
                    self._texts[each] = (stamp, time.time(), text)

    def _entries(self, folder: str) -> list[str]:
        return [posixpath.join(folder, name) for name in self._folders.get(folder, ())]

    def _listing(self, path: str) -> list[str] | None:
        if reached := self._reached(path):
            return os.listdir(reached) if os.path.isdir(reached) else None  # noqa: PTH112, PTH208
        return self._folders.get(path)

    def _text(self, path: str) -> str:
        """Return a configuration's text. Raises OSError."""
        if reached := self._reached(path):
            return self._here(reached)
        known = self._texts.get(path)
        if known is None or self._stamps.get(path) is None:
            raise FileNotFoundError(path)
        return known[2]

    def _here(self, path: str) -> str:
        """Read a file of this side, again only when it has changed. Raises OSError."""
        found = os.stat(path)  # noqa: PTH116
        stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)
        known = self._local.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, Path(path).read_bytes().decode("utf-8", "surrogateescape"))
            self._local[path] = known
        return known[1]

    def _changed(self, path: str) -> float:
        """Tell when a file changed last, or a time after that (unix seconds)."""
        if reached := self._reached(path):
            try:
                found = os.stat(reached), os.lstat(reached)  # noqa: PTH116
            except OSError:
                return time.time()  # it went away just now
            return max(max(each.st_mtime_ns, each.st_ctime_ns) for each in found) / 1e9
        stamp = self._stamps.get(path)
        if stamp is None:
            return time.time()
        return max(stamp.modified, stamp.changed) + 1.0  # whole seconds, and none is over yet

    # Digests

    async def _named(self, container: Container, paths: Iterable[str]) -> dict[str, str]:
        """Digest what is a plain file."""
        found: dict[str, str] = {}
        unread: dict[str, _Stamp] = {}
        for path in paths:
            stamp = self._stamps.get(path)
            if reached := self._reached(path):
                with contextlib.suppress(OSError):  # none, or not for us to read
                    if S_ISREG(os.stat(reached).st_mode):  # noqa: PTH116
                        found[path] = digest(self._here(reached))
            elif stamp is None:
                continue
            elif stamp.size > _MUCH:
                found[path] = str(stamp)
            elif (known := self._digests.get(path)) is not None and _same(known, stamp):
                found[path] = known[2]
            else:
                unread[path] = stamp
        if unread:
            now = time.time()
            for path, name in (await self._inside.digests(container, list(unread))).items():
                if name is not None:
                    self._digests[path] = (unread[path], now, name)
                    found[path] = name
        return found


def _same(known: _Known | None, stamp: _Stamp) -> bool:
    """Tell whether what is known is what such a stamp stands for."""
    return known is not None and known[0] == stamp and stamp.changed + _SETTLED < known[1]


def _seen(said: str, stamps: dict[str, _Stamp | None], folders: dict[str, list[str]]) -> None:
    """Read what _LOOK says."""
    for line in said.splitlines():
        if line.startswith("folder "):
            folders[line.removeprefix("folder ")] = []
            continue
        with contextlib.suppress(ValueError):
            size, inode, modified, changed, path = line.split(" ", 4)
            folder, name = posixpath.split(path)
            if folder in folders:
                folders[folder].append(name)
            stamps[path] = _Stamp(int(size), int(inode), int(modified), int(changed))
