"""The state directory between two processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from confsync.adapters.files.state import StateDirectory
from confsync.errors import Locked


def test_a_second_agent_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "var" / "state")
    program = (
        "import sys, pathlib; from confsync.adapters.files.state import StateDirectory\n"
        "with StateDirectory(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(state.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=f"process {holder.pid}") as caught:
            state.claim()
        assert "state.directory" in caught.value.remedy
        state.inspect()  # a dry run takes no lock
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        with state:
            assert (state.path / "lock").read_text().split() == [str(os.getpid())]
    finally:
        holder.kill()
        holder.communicate()
