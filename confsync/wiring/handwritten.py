"""A HAProxy configuration that `confsync lb` serves as it was written by hand.

It is a source like a template: read by its path, copied, checked and run from `target.config`.
"""

import contextlib
import functools
import os
from pathlib import Path

from confsync.adapters.files.templates import TemplateOption
from confsync.core.haproxy import served
from confsync.domain.rendered import Language
from confsync.errors import SettingsError
from confsync.settings.load import Loaded

MODE = 0o600
"""It may hold passwords, and only HAProxy's master reads the copy."""


def path(loaded: Loaded) -> str:
    """Name it; "" where templates make HAProxy's main file. Raises SettingsError without either."""
    settings = loaded.settings
    if not loaded.balancer or loaded.as_it_is:
        return ""
    there = os.path.isfile(settings.lb.config)  # noqa: PTH113
    if loaded.discovers:
        # Without any template the built-in set makes it.
        made = any(t.destination == settings.target.config for t in settings.templates)
        return "" if made or not there else settings.lb.config
    if not there:
        raise SettingsError([_missing(settings.lb.config, loaded.directory)])
    return settings.lb.config


def remarks(loaded: Loaded) -> tuple[str, ...]:
    """Say when one lies there that is not served."""
    config = loaded.settings.lb.config
    if not loaded.balancer or loaded.as_it_is or path(loaded):
        return ()
    if not os.path.isfile(config):  # noqa: PTH113
        return ()
    return (f"{config} is not served: with these settings templates make HAProxy's main file",)


def templates(loaded: Loaded) -> tuple[TemplateOption, ...]:
    """Give it as something to write, where there is one."""
    source = path(loaded)
    if not source:
        return ()
    target = loaded.settings.target
    return (
        TemplateOption(
            source=source,
            destination=target.config,
            language=Language.PLAIN,
            mode=MODE,
            raw=True,
            beneath=functools.partial(served.beneath, stats_socket=target.stats_socket),
        ),
    )


def make_room(loaded: Loaded) -> None:
    """Make the folders of the sockets that it opens: on a host the distribution's unit does that.

    HAProxy's check does not see that one is missing, and the start or reload fails of it.
    """
    source = path(loaded)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = Path(source).read_text() if source else ""
        for each in served.sockets(text):
            Path(each).parent.mkdir(mode=0o755, parents=True, exist_ok=True)


def _missing(config: str, directory: str) -> str:
    if os.path.isdir(config):  # noqa: PTH112
        return (
            f"{config}: is a folder, not a configuration; where a file that is to be mounted does not "
            "exist, Docker makes a folder of its name: write the file first"
        )
    return (
        f"{config}: no such file, and no {os.path.join(directory, 'confsync.toml')} either; "  # noqa: PTH118
        "mount HAProxy's configuration, or settings for discovery"
    )
