"""Decide what to do: nothing, write, or write and reload. The only place that decides.

    plan(target, disk, loaded) -> NoChange | WritePlan | ReloadPlan

`target` is what should be, `disk` what the destinations hold, `loaded` what HAProxy runs. What is
not understood means reload.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from confsync.core import naming
from confsync.core.haproxy import difference, text
from confsync.domain.change import NoChange, Plan, ReloadPlan, WritePlan
from confsync.domain.loadbalancer import LoadBalancer
from confsync.domain.rendered import RenderedConfig, digest
from confsync.domain.running import Observed, Record, ServerState

MOST_REASONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What HAProxy runs. `files`: destination -> digest; None: not known, `why` says the reason.

    `running` False: no HAProxy runs; it will load the files when it starts.
    """

    files: Mapping[str, str] | None = None
    texts: Mapping[str, str] | None = None
    why: str = ""
    running: bool = True


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
        return Loaded(files=record.files, texts=record.text)
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


def plan(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    loaded: Loaded,
    *,
    main: str,
    balancer: LoadBalancer | None = None,
) -> Plan:
    """Compare what should be with what is on disk and with what runs."""
    stale = tuple(f.destination for f in target.files if disk.get(f.destination) != f.text)
    if not loaded.running:
        if not stale:
            return NoChange(reasons=(f"HAProxy does not run: {loaded.why}",))
        return WritePlan(
            destinations=stale,
            reasons=(
                f"HAProxy does not run ({loaded.why}): it will start with these files",
                *_against_disk(target, disk, stale, main, balancer),
            ),
        )
    if loaded.files is None:
        return ReloadPlan(
            destinations=stale,
            reasons=(loaded.why, *_against_disk(target, disk, stale, main, balancer)),
        )
    texts = loaded.texts or {}
    reasons: list[str] = []
    for file in target.files:
        if loaded.files.get(file.destination) == digest(file.text):
            continue
        old = texts.get(file.destination)
        reasons.extend(_differences(file.destination, old, file.text, main, balancer))
    if reasons:
        return ReloadPlan(destinations=stale, reasons=_bounded(reasons))
    if stale:
        return WritePlan(destinations=stale, reasons=_only_on_disk(target, disk, stale, main))
    return NoChange()


def _only_on_disk(
    target: RenderedConfig, disk: Mapping[str, str | None], stale: tuple[str, ...], main: str
) -> tuple[str, ...]:
    found = []
    for name in stale:
        file, old = target.get(name), disk.get(name)
        if old is None:
            found.append(f"{name} is missing")
        elif file and name == main and difference.equal_but_for_comments(old, file.text):
            found.append(f"{name}: comments and blanks only")
        else:
            found.append(f"{name} on disk is not what HAProxy runs")
    return tuple(found)


def _against_disk(
    target: RenderedConfig,
    disk: Mapping[str, str | None],
    stale: tuple[str, ...],
    main: str,
    balancer: LoadBalancer | None,
) -> tuple[str, ...]:
    found: list[str] = []
    for name in stale:
        file = target.get(name)
        if file:
            found.extend(_differences(name, disk.get(name), file.text, main, balancer))
    return _bounded(found)


def _differences(
    name: str, old: str | None, new: str, main: str, balancer: LoadBalancer | None
) -> tuple[str, ...]:
    if old is None:
        return (f"{name} is new",)
    if name != main:
        return (f"{name} changed",)
    return difference.reasons(old, new, _absent(balancer))


def _absent(balancer: LoadBalancer | None) -> dict[str, dict[str, str]]:
    if balancer is None:
        return {}
    return {
        b.slug: {server: status.value for server, status in b.absent} for b in balancer.backends
    }


def _bounded(reasons: list[str]) -> tuple[str, ...]:
    if len(reasons) <= MOST_REASONS:
        return tuple(reasons)
    return (*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more")
