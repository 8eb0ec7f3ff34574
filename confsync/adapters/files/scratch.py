"""A Stager for turns that change nothing: candidates in a private temporary folder."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from confsync.adapters.files import destination as dest
from confsync.adapters.files import durable
from confsync.adapters.files.staging import StagedFiles
from confsync.domain.rendered import RenderedConfig
from confsync.ports import Staged


class ScratchStore:
    """Stages into a folder of its own, removed by `discard`.

    `within`: where, if not in TMPDIR. `anywhere`: do not look whether the destinations could be
    replaced: on a machine that only checks, their folder need not exist.
    """

    def __init__(self, within: Path | None = None, *, anywhere: bool = False) -> None:
        self._within = within
        self._anywhere = anywhere

    def stage(self, config: RenderedConfig, only: tuple[str, ...]) -> StagedFiles:
        """Write `only` of the set. Raises WriteError; leaves nothing then.

        A destination that no rename could replace is an error here, too: a dry run tells.
        """
        files = [f for f in config.files if f.destination in only]
        data = [dest.encode(f.text, Path(f.destination)) for f in files]
        if not self._anywhere:
            for file in files:
                dest.replaceable(file.destination)
        if not files:
            return StagedFiles(config=config, paths={})
        try:
            folder = Path(tempfile.mkdtemp(prefix="confsync-", dir=self._within))
        except OSError as error:
            within = self._within or Path(tempfile.gettempdir())
            raise dest.failed(within / "confsync", error) from error
        paths: dict[str, str] = {}
        try:
            for number, (file, content) in enumerate(zip(files, data, strict=True)):
                # one folder each, so that the name stays and the order of `-f DIR` too
                path = folder / str(number) / Path(file.destination).name
                path.parent.mkdir(mode=0o700)
                durable.write_private(path, content)
                paths[file.destination] = str(path)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise dest.failed(folder, error) from error
        return StagedFiles(config=config, paths=paths)

    def discard(self, staged: Staged, why: str = "") -> str:
        """Remove the folder; nothing is kept, since the state stays untouched too."""
        del why
        for folder in {Path(path).parents[1] for path in staged.paths.values()}:
            with suppress(OSError):
                shutil.rmtree(folder)
        return ""
