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
from confsync.settings.model import Settings

MODE = 0o600
"""It may hold passwords, and only HAProxy's master reads the copy."""


def path(loaded: Loaded) -> str:
    """Name it; "" where templates make HAProxy's main file. Raises SettingsError without either."""
    settings = loaded.settings
    if not loaded.balancer or loaded.as_it_is:
        return ""
    there = os.path.isfile(settings.lb.config)  # noqa: PTH113
    if loaded.discovers:
        return settings.lb.config if there and not _made(settings) else ""
    if not there:
        raise SettingsError([_missing(loaded)])
    return settings.lb.config


def still(loaded: Loaded, served: str) -> str:
    """Name it as `path` does; what was `served` before must be there, or made from templates now."""
    found = path(loaded)
    if served and not found and not _made(loaded.settings):
        raise SettingsError([_missing(loaded)])
    return found


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


def _made(settings: Settings) -> bool:
    """Tell whether templates make HAProxy's main file; without any the built-in set does."""
    return any(t.destination == settings.target.config for t in settings.templates)


def _missing(loaded: Loaded) -> str:
    config = loaded.settings.lb.config
    if os.path.isdir(config):  # noqa: PTH112
        return (
            f"{config}: is a folder, not a configuration; where a file that is to be mounted does not "
            "exist, Docker makes a folder of its name: write the file first"
        )
    if loaded.file:
        return f"{config}: no such file, and no template makes HAProxy's main file; put it back"
    settings = os.path.join(loaded.directory, "confsync.toml")  # noqa: PTH118
    return (
        f"{config}: no such file, and no {settings} either; "
        "mount HAProxy's configuration, or settings for discovery"
    )
