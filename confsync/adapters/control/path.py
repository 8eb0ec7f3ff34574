"""A socket's path of any length. The kernel takes at most 107 bytes of it (unix(7), sun_path)."""

import contextlib
import os
from collections.abc import Iterator

LIMIT = 107


@contextlib.contextmanager
def usable(path: str) -> Iterator[str]:
    """Give a name of the path that bind and connect take; only valid inside the block.

    A long one is named through an open descriptor of its folder, so that nobody's working directory
    changes. Raises OSError.
    """
    if len(os.fsencode(path)) <= LIMIT:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
