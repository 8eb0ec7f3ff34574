"""A folder of destinations and a state directory, as every test of the store wants them."""

from dataclasses import dataclass
from pathlib import Path

from confsync.adapters.files.store import FileStore, StoreOptions
from confsync.domain.rendered import RenderedConfig, RenderedFile

NAMES = ("haproxy.cfg", "hosts.map", "503.http")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Three destinations, the main file first, as an operator may list them."""

    folder: Path
    state: Path

    @property
    def destinations(self) -> tuple[str, ...]:
        return tuple(str(self.folder / name) for name in NAMES)

    def store(self) -> FileStore:
        """Open the store anew, as a start does."""
        options = StoreOptions(
            state=self.state, main=self.destinations[0], destinations=self.destinations
        )
        return FileStore(options)

    def config(self, word: str, *, names: tuple[str, ...] = NAMES) -> RenderedConfig:
        """Make a set whose files all say the same word."""
        return RenderedConfig(
            files=tuple(
                RenderedFile(
                    destination=str(self.folder / name), text=f"{word} {name}\n", template="t"
                )
                for name in names
            )
        )

    def promote(self, store: FileStore, word: str, *, settle: bool = True) -> None:
        """Make a set live."""
        store.promote(store.stage(self.config(word), self.destinations))
        if settle:
            store.settle()

    def words(self) -> list[str | None]:
        """Say which set each destination is from (None: absent)."""
        return [
            Path(d).read_text().split()[0] if Path(d).exists() else None for d in self.destinations
        ]

    def strays(self) -> list[str]:
        """List what stands beside the destinations."""
        return sorted(p.name for p in self.folder.iterdir() if p.name not in NAMES)
