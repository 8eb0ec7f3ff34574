"""What is known to run: the record while its worker lives, else the files that surely were loaded."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from confsync.core import naming
from confsync.core.haproxy import text
from confsync.domain.change import Step
from confsync.domain.rendered import digest
from confsync.domain.running import Leftover, Observed, Record, ServerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What HAProxy runs. `files`: destination -> digest; None: not known, `why` says the reason.

    `running` False: no HAProxy runs; it will load the files when it starts. `steps`, `leftovers`,
    `named`: as in Record.
    """

    files: Mapping[str, str] | None = None
    texts: Mapping[str, str] | None = None
    why: str = ""
    running: bool = True
    steps: tuple[Step, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What HAProxy loads beside what is rendered.

    `configs`: all its configuration files in the order of loading, rendered ones by destination (none:
    the main file alone); `texts`: those of them that are not rendered, as they are on disk. `named`:
    path -> digest, now, of other files that the configuration names; one that is not told is not
    looked at. `changed`: when the latest of all these did (unix seconds; 0: not known).
    """

    configs: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    changed: float = field(default=0.0, compare=False)


def loaded(
    record: Record | None,
    observed: Observed,
    disk: Mapping[str, str | None],
    *,
    older: bool,
    servers: tuple[ServerState, ...] | None,
    main: str,
) -> Loaded:
    """Tell what the observed HAProxy has loaded.

    The record is believed as long as the worker is the one that it names. Without that, the files
    on disk are believed when all are `older` than the worker and the main file's servers are the
    running ones (`servers`; None: they cannot be read): HAProxy cannot print its configuration.
    """
    if not observed.running:
        return Loaded(running=False, why=observed.why)
    if record is not None and record.files and observed.same_worker(record):
        return Loaded(
            files=record.files,
            texts=record.text,
            steps=record.steps,
            leftovers=record.leftovers,
            named=record.named,
        )
    known = "HAProxy was restarted or reloaded by others" if record else "no record of what runs"
    if not older:
        return Loaded(why=f"{known}, and the files are not older than its worker")
    if servers is None:
        return Loaded(why=f"{known}, and its servers cannot be read")
    text_of_main = disk.get(main)
    if text_of_main is not None and (wrong := disagreement(text_of_main, servers)):
        return Loaded(why=f"{known}, and {wrong}")
    texts = {name: content for name, content in disk.items() if content is not None}
    return Loaded(files={name: digest(content) for name, content in texts.items()}, texts=texts)


def disagreement(main_text: str, servers: tuple[ServerState, ...]) -> str:
    """Say where the running servers differ from the literal server lines of a text ("" if not)."""
    running = {(s.backend, s.server): (_canonical(s.address), s.port) for s in servers}
    for line in text.server_lines(main_text):
        there = running.get((line.proxy, line.server))
        if there is None:
            return f"server {line.proxy}/{line.server} of the file does not run"
        if naming.is_ip(line.address) and there != (_canonical(line.address), line.port):
            return f"server {line.proxy}/{line.server} runs with {there[0]}:{there[1]}"
    return ""


def _canonical(address: str) -> str:
    """Spell an IP address as Python does: HAProxy shows `2001:db8::1` for `2001:DB8::0:1`."""
    return str(ipaddress.ip_address(address)) if naming.is_ip(address) else address
