"""Ends a program when its owner gives no beat: then nobody looks after the address that it elects for.

A program of its own, run by path without confsync's modules: it must work on when everything else of
confsync is stopped, and weighs little. An election that goes on without its owner would keep the
other host from taking an address that nobody has any more.

Arguments: the program's process group, and the seconds without a beat. Beats come on standard input;
its end is the owner's end. When nothing is left to be guarded, the owner kills it.
"""

import os
import select
import signal
import sys

BEAT = b"."


def main(group: int, seconds: float) -> None:
    """Guard until the end of either."""
    try:
        handle = os.pidfd_open(group)
    except OSError:  # a container that forbids it; or it has ended already
        handle = -1
    while select.select([0], [], [], seconds)[0] and os.read(0, 4096):
        pass
    if handle >= 0 and select.select([handle], [], [], 0)[0]:
        return  # it has ended, and its number may be another's by now
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
