"""Where something is mounted, read again only when the kernel says that it has changed."""

import os
import select

_TABLE = "/proc/self/mountinfo"


class Mounts:
    """The mount table. Its file stays open: polled, it tells of changes (proc(5), mountinfo)."""

    def __init__(self) -> None:
        self._fd = -1
        self._poll = select.poll()
        self._places: frozenset[bytes] = frozenset()
        self._names: frozenset[bytes] = frozenset()

    def named(self, name: bytes) -> bool:
        """Tell whether something is mounted at a place with this last part: most need no more."""
        self._look()
        return name in self._names

    def __contains__(self, place: bytes) -> bool:
        """Tell whether something is mounted there. Without /proc nothing is."""
        self._look()
        return place in self._places

    def _look(self) -> None:
        if self._fd < 0:
            try:
                self._fd = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return
            self._poll.register(self._fd, select.POLLPRI)
            self._read()
        elif self._poll.poll(0):
            self._read()

    def _read(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        pieces = []
        while piece := os.read(self._fd, 1 << 16):
            pieces.append(piece)
        self._places = frozenset(line.split(b" ", 5)[4] for line in b"".join(pieces).splitlines())
        self._names = frozenset(place.rpartition(b"/")[2] for place in self._places)
