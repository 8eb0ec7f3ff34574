"""confsync with a heart: the program itself, in whose event loop a timer beats.

`python -m benchmarks.beating LOG confsync's arguments`. Each beat that came late is a JSON line in
LOG: when (the monotonic clock's ms), and how late (ms): for so long the loop did nothing else.
"""

import asyncio
import json
import sys
import time
from typing import TextIO

from confsync.cli.main import main

BEAT = 0.002
NOTED = 1.0
"""Milliseconds: what is less is the timer's own."""


class Heart:
    """Beats in a loop for ever."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: TextIO) -> None:
        self._loop = loop
        self._log = log
        self._next()

    def _next(self) -> None:
        self._due = time.monotonic() + BEAT
        self._loop.call_later(BEAT, self._beat)

    def _beat(self) -> None:
        now = time.monotonic()
        late = (now - self._due) * 1000
        if late >= NOTED:
            print(json.dumps([round(now * 1000, 3), round(late, 3)]), file=self._log, flush=True)
        self._next()


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes loops with a heart."""

    def __init__(self, log: TextIO) -> None:
        super().__init__()
        self._file = log

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        loop.call_soon(Heart, loop, self._file)
        return loop


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:  # noqa: PTH123
        asyncio.set_event_loop_policy(Policy(file))
        del sys.argv[1]
        sys.exit(main())
