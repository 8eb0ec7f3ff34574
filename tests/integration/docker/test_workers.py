"""The end of a program whose threads do not end."""

import subprocess
import sys


def test_a_thread_that_hangs_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, threading
from confsync.adapters.docker.workers import Workers
async def main():
    try:
        await Workers().call(threading.Event().wait, 0.05)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "given up\n", "")
