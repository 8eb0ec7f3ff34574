"""A Stager for turns that change nothing: candidates in a private temporary folder."""

import shutil
import tempfile
from pathlib import Path

from confsync.adapters.files.reasons import explain
from confsync.adapters.files.staging import StagedFiles
from confsync.domain.rendered import RenderedConfig
from confsync.errors import WriteError
from confsync.ports import Staged


class ScratchStore:
    """Stages into a folder of its own, removed by `discard`."""

    def stage(self, config: RenderedConfig, only: tuple[str, ...]) -> StagedFiles:
        """Write `only` of the set. Raises WriteError; leaves nothing then."""
        folder = Path(tempfile.gettempdir())
        try:
            folder = Path(tempfile.mkdtemp(prefix="confsync-"))
            paths = {}
            for number, file in enumerate(config.files):
                if file.destination in only:
                    # one folder each, so that the name stays and the order of `-f DIR` too
                    path = folder / str(number) / Path(file.destination).name
                    path.parent.mkdir()
                    path.write_bytes(file.text.encode("utf-8", "surrogateescape"))
                    paths[file.destination] = str(path)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True) if folder.name.startswith(
                "confsync-"
            ) else None
            reason = explain(error, folder)
            raise WriteError(f"{folder}: {reason.what}", remedy=reason.remedy) from error
        self._folder = folder
        return StagedFiles(config=config, paths=paths)

    def discard(self, staged: Staged, why: str = "") -> None:  # noqa: ARG002 - nothing is kept
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
