"""What a master loads beside what is rendered: by its command line, and by what the texts name. Pure.

How files are read is an adapter's: of this host, or inside a container.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from confsync.core.haproxy import candidate, named, text
from confsync.core.haproxy.command import MasterCommand
from confsync.domain.rendered import RenderedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """What is loaded. `configs`, `texts`: as in Surroundings; `named`: paths of other files, full."""

    configs: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    named: tuple[str, ...] = ()


def loads(
    main: str, seen: str, config: RenderedConfig, command: MasterCommand, disk: candidate.Disk
) -> Loads | None:
    """Find what a master loads; None when the main file is not part of it.

    `seen`: the main file as HAProxy names it. Raises what `disk` raises.
    """
    if not any(
        disk.same(path, each) for each in command.files for path in (seen, posixpath.dirname(seen))
    ):
        return None
    rendered = {f.destination: f.text for f in config.files}
    known = {f.destination: f.seen_as or f.destination for f in config.files} | {main: seen}
    paths = candidate.loaded(seen, command, disk)
    by_path = {p: next((d for d, s in known.items() if disk.same(s, p)), p) for p in paths}
    beside = {name: disk.read(path) for path, name in by_path.items() if name not in rendered}
    texts = tuple(rendered.get(n, beside.get(n, "")) for n in by_path.values())
    own = {*by_path, *known.values(), *known}
    full = (posixpath.join(command.directory or "/", path) for path in named.paths(texts))
    others = {posixpath.normpath(path) for path in full} - own
    return Loads(configs=tuple(by_path.values()), texts=beside, named=tuple(sorted(others)))


def inherits_nothing(main_text: str) -> bool:
    """Tell whether no proxy of a main file can have settings of a file that is loaded before it."""
    for section in text.sections(main_text):
        if section.keyword == "defaults":
            return True
        if section.keyword in text.PROXY_KEYWORDS:
            return False
    return True
