"""Follows an example as its reader would: its commands, its settings, with this machine's paths."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support import machine
from tests.support.containers import get
from tests.support.haproxy import Haproxy
from tests.support.process import Process

EXAMPLES = Path(__file__).parents[2] / "examples"
BIN = Path(sys.executable).parent


def commands(name: str) -> list[str]:
    """List what an example's page tells to type, without remarks."""
    page = (EXAMPLES / name / "README.md").read_text()
    lines = re.findall(r"^ {4}(\S.*)$", page, re.MULTILINE)
    return [re.split(r"\s+#", line)[0] for line in lines]


class Followed:
    """A copy of an example for a HAProxy of this host, and what is typed there."""

    def __init__(self, name: str, haproxy: Haproxy, folder: Path, **variables: str) -> None:
        self.folder = folder / name
        shutil.copytree(EXAMPLES / name, self.folder)
        self._replace("/etc/haproxy/", f"{haproxy.etc}/")
        self._replace("/run/haproxy-master.sock", str(haproxy.master_socket))
        self._replace("/run/haproxy/admin.sock", str(haproxy.admin_socket))
        self.port = machine.free_port()
        self._replace('":80"', f'"127.0.0.1:{self.port}"')
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "CONFSYNC_TARGET__BINARY": haproxy.binary,
            "CONFSYNC_STATE__DIRECTORY": str(folder / "state"),
            **variables,
        }

    def _replace(self, old: str, new: str) -> None:
        settings = self.folder / "confsync.toml"
        text = settings.read_text()
        assert old in text
        settings.write_text(text.replace(old, new))

    def edit(self, name: str, words: Mapping[str, str]) -> None:
        """Replace a file of it by a rename, with some of its words changed."""
        file = self.folder / name
        text = file.read_text()
        for old, new in words.items():
            assert old in text
            text = text.replace(old, new)
        fresh = file.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(file)

    def type(self, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command line in its folder."""
        return subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self, line: str) -> Process:
        """Run a command that does not end; the caller ends it."""
        shell = ["sh", "-c", f"cd {self.folder} && exec {line}"]
        return Process(shell, log=self.folder / "output", env=self.environment)

    def get(self, host: str) -> tuple[int, str]:
        return get("127.0.0.1", self.port, host)
