"""A check of the load balancer's home as a whole, where nothing of it runs yet: an image's build.

HAProxy's own check needs the folder of certificates that its configuration names, and nginx's its main
file. What has to be there for that is made, and removed again.
"""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from confsync.domain.status import CycleReport
from confsync.errors import WriteError
from confsync.settings.load import Loaded
from confsync.settings.model import Settings


class Notes:
    """Telemetry that keeps what is wrong, to be shown with the result."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def cycle(self, report: CycleReport, *, news: bool) -> None:
        """There is none."""

    def event(self, level: str, text: str, **fields: object) -> None:
        """Keep a warning or an error."""
        if level in {"warning", "error"}:
            told = "; ".join(str(fields[key]) for key in ("path", "why") if key in fields)
            self.found.append(f"{text}{': ' if told else ''}{told}")


@contextlib.asynccontextmanager
async def home(loaded: Loaded, notes: Notes) -> AsyncIterator[None]:
    """Have everything there that HAProxy's check needs; check nginx's files.

    Raises CheckRejected, CheckUnavailable, WriteError.
    """
    settings = loaded.settings
    with tempfile.TemporaryDirectory(prefix="confsync-") as aside:
        await _nginx(_elsewhere(settings, aside))
        async with _certificates(settings, aside, notes):
            yield


async def _nginx(settings: Settings) -> None:
    from confsync.wiring import nginx  # noqa: PLC0415

    web = nginx.nginx(settings)
    if web is not None:
        await web.check()


@contextlib.asynccontextmanager
async def _certificates(settings: Settings, aside: str, notes: Notes) -> AsyncIterator[None]:
    from confsync.wiring import tls, variables  # noqa: PLC0415

    folder = Path(variables.certificates(settings))
    if not _wanted(settings, folder):
        yield
        return
    # The folder's name is HAProxy's, so no other will do; the key that is made is not kept.
    state = settings.state.model_copy(update={"directory": aside})
    made = _make(folder)
    try:
        await tls.certificates(settings.model_copy(update={"state": state}), notes).prepare()
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for each in made[1:]:
            with contextlib.suppress(OSError):
                each.rmdir()


def _wanted(settings: Settings, folder: Path) -> bool:
    """Tell whether certificates are to be put there: not where a start has done it."""
    given = Path(settings.tls.certificates)
    some = settings.tls.enabled or (given.is_dir() and any(given.iterdir()))
    return some and not folder.exists()


def _make(folder: Path) -> list[Path]:
    """Make a folder; returns what of its path is new, itself first. Raises WriteError."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise WriteError(
            f"cannot make {folder} for the check: {error.strerror}",
            remedy="check as root, or set lb.directory",
        ) from error
    return new


def _elsewhere(settings: Settings, aside: str) -> Settings:
    lb = settings.lb.model_copy(update={"directory": aside})
    return settings.model_copy(update={"lb": lb})
