"""A shell at a terminal, typed at as a person does: for what only happens there (completion)."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Self

READY = "READY>"


class Terminal:
    """An interactive shell in a terminal of its own; ended with the `with` block."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._env = {"TERM": "dumb", "PS1": READY, **env}
        self._screen = ""

    def __enter__(self) -> Self:
        self._fd, theirs = pty.openpty()
        self._child = subprocess.Popen(
            self._argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=self._env,
            start_new_session=True,
        )
        os.close(theirs)
        self._until(READY)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._fd)

    def run(self, command: str) -> str:
        """Run a command; return all that was shown until it ended."""
        # A prompt is no mark: plain terminals show it again with every change of the line.
        os.write(self._fd, f"{command}; printf '\\nEN%s\\n' D\r".encode())
        return self._until("END\r\n")

    def complete(self, line: str) -> list[str]:
        """Type a line and TAB; return the words of the line as the shell has it then."""
        # What was typed becomes the argument of a command that shows it: ^A and ^E go to the
        # line's start and end.
        shown = self.run(f"{line}\t\x01printf '[%s]' \x05")
        found = re.findall(r"^((?:\[[^\[\]\r\n]*\])+)\r?$", shown, re.MULTILINE)
        assert found, shown
        return re.findall(r"\[(.*?)\]", found[-1])

    def _until(self, words: str, seconds: float = 60) -> str:
        """Read until these words are shown; return what stands before them."""
        deadline = time.monotonic() + seconds
        while words not in self._screen:
            ready, _, _ = select.select([self._fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the shell never said {words!r}: {self._screen!r}")
            self._screen += os.read(self._fd, 65536).decode(errors="replace")
        found, _, self._screen = self._screen.partition(words)
        return found
