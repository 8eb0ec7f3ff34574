"""Rules between tables, tried on the values as written, so that they show with all other faults."""

import difflib
import os
from collections.abc import Iterator
from typing import Any

from confsync.core import builtin
from confsync.settings import faults, kinds, sources
from confsync.settings.model import DockerTarget


def broken(merged: dict[str, Any], base: str) -> Iterator[faults.Fault]:
    """Find what breaks a rule. `base`: the folder that relative paths start from."""
    yield from _known_variables(merged)
    yield from _one_template_a_destination(merged, base)
    yield from _in_the_container(merged, base)


def _known_variables(merged: dict[str, Any]) -> Iterator[faults.Fault]:
    """A built-in template reads what it knows: a misspelt `bind` would have the default instead."""
    templates = merged.get("template")
    known = (*builtin.BUILTIN_VARS, "stats_password_file")
    for index, template in enumerate(templates if isinstance(templates, list) else ()):
        values = template if isinstance(template, dict) else {}
        given, source = values.get("vars"), values.get("source")
        if not isinstance(source, str) or not source.startswith(kinds.BUILTIN):
            continue
        for name in given if isinstance(given, dict) else ():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                yield faults.Fault(
                    path=("template", index, "vars", name),
                    secret=True,
                    what="is no variable of the built-in templates",
                    remedy=f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}",
                )


def _one_template_a_destination(merged: dict[str, Any], base: str) -> Iterator[faults.Fault]:
    templates = merged.get("template")
    first: dict[str, int] = {}
    for index, template in enumerate(templates if isinstance(templates, list) else ()):
        value = template.get("destination") if isinstance(template, dict) else None
        if not isinstance(value, str) or not value:
            continue
        path = os.path.normpath(sources.resolved(base, value))
        before = first.setdefault(path, index)
        if before != index:
            yield faults.Fault(
                path=("template", index, "destination"),
                value=value,
                what=f"is the destination of [[template]] number {before + 1} too",
                remedy="give each template a file of its own",
            )


def _in_the_container(merged: dict[str, Any], base: str) -> Iterator[faults.Fault]:
    """Where the container's HAProxy finds the files must follow from the settings alone."""
    target = merged.get("target")
    if not isinstance(target, dict) or target.get("type") != "docker":
        return
    directory = target.get("directory")
    config = target.get("config", DockerTarget.model_fields["config"].default)
    named: list[tuple[tuple[str | int, ...], object]] = [(("target", "config"), config)]
    templates = merged.get("template")
    for index, template in enumerate(templates if isinstance(templates, list) else ()):
        if isinstance(template, dict):
            named.append((("template", index, "destination"), template.get("destination")))
    folder = ""
    for path, value in named:
        if not isinstance(value, str) or not value:
            continue
        if not directory:
            if not value.startswith("/"):
                yield faults.Fault(
                    path=path,
                    value=value,
                    what="is put into the container, where relative paths lead nowhere",
                    remedy="write the whole path as the container sees it, or set target.directory",
                )
            continue
        place = os.path.dirname(sources.resolved(base, value))  # noqa: PTH120
        folder = folder or place
        if place != folder:
            yield faults.Fault(
                path=path,
                value=value,
                what=f"is not in {folder}, the one folder that the container sees as "
                f"{directory} (target.directory)",
                remedy="put it there, beside target.config, or leave target.directory empty to put "
                "all files over Docker's API",
            )
