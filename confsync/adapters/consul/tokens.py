"""The ACL token: where it comes from, and when it is a new one.

A token is never part of a message, a URL or a repr.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from confsync.errors import RegistryDenied


class Token:
    """The content of `path`, read anew when the file changes; without a path CONSUL_HTTP_TOKEN."""

    def __init__(self, path: str, environment: Mapping[str, str]) -> None:
        self._path = Path(path) if path else None
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._text = "" if path else environment.get("CONSUL_HTTP_TOKEN", "").strip()
        self._fault = "" if path else _fault(self._text)
        self._generation = 0

    def look(self) -> int:
        """Count the tokens so far, with the one that the file holds now; a bad file counts not."""
        with contextlib.suppress(RegistryDenied):
            self.read()
        return self._generation

    def read(self) -> str:
        """Return the token, "" for none. Raises RegistryDenied: without the file, no token at all."""
        if self._path is not None:
            self._look(self._path)
        elif self._fault:
            raise RegistryDenied(
                f"CONSUL_HTTP_TOKEN {self._fault}", remedy="set it to a token's SecretID"
            )
        return self._text

    def _look(self, path: Path) -> None:
        try:
            seen = path.stat()
            stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
            if stamp == self._stamp:
                return
            text = path.read_bytes().decode("ascii", "replace").strip()
        except OSError as error:
            raise RegistryDenied(
                f"the token file {path} cannot be read: {os.strerror(error.errno or 0)}",
                remedy="correct source.token_file, or let confsync's user read the file",
            ) from error
        # An empty file is a rotation half done, or a mistake: never a reason to go on as nobody.
        if fault := _fault(text) or ("" if text else "is empty"):
            raise RegistryDenied(
                f"the token file {path} {fault}", remedy="write a token's SecretID into it"
            )
        self._stamp = stamp
        if text != self._text:
            self._text = text
            self._generation += 1


def _fault(text: str) -> str:
    """Name what makes a text unfit as an HTTP header's value."""
    if text.isascii() and (not text or (text.isprintable() and " " not in text)):
        return ""
    return "holds no token: blanks or odd characters in it"
