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

    def __contains__(self, place: bytes) -> bool:
        """Tell whether something is mounted there. Without /proc nothing is."""
        if self._fd < 0:
            try:
                self._fd = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
            self._poll.register(self._fd, select.POLLPRI)
            self._places = self._read()
        elif self._poll.poll(0):
            self._places = self._read()
        return place in self._places

    def _read(self) -> frozenset[bytes]:
        os.lseek(self._fd, 0, os.SEEK_SET)
        pieces = []
        while piece := os.read(self._fd, 1 << 16):
            pieces.append(piece)
        return frozenset(line.split(b" ", 5)[4] for line in b"".join(pieces).splitlines())
