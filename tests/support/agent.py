"""confsync itself, as an operator runs it: the program with a settings file, in its own process.

Its log is JSON lines, which is what tests wait for: no test sleeps for an effect.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.process import Process, wait_until

Line = dict[str, Any]
LIVE = {"cycle: reloaded", "cycle: applied"}
"""What a cycle is called that changed what runs."""


class Agent:
    """One configuration of confsync: settings file, state, and the processes that use them."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Path,
        master_socket: Path,
        stats_socket: Path,
        binary: str = "haproxy",
        source: str,
        bind: str,
        stats_bind: str = "",
        extra: str = "",
        template: str = "",
        target: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`source`, `extra`: TOML text; `template`, `target`: instead of built-in and socket."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "confsync.toml"
        self.state = folder / "state"
        self.config = config
        self.env = dict(env or {})
        self._source = source
        self._template = template or (
            f'[[template]]\nsource = "builtin:haproxy.cfg"\ndestination = "{config}"\n'
            f'[template.vars]\nbind = "{bind}"\nlog = ""\n'
            + (f'stats_bind = "{stats_bind}"\n' if stats_bind else "")
        )
        self._target = target or (
            f'[target]\ntype = "socket"\nconfig = "{config}"\nmaster_socket = "{master_socket}"\n'
            f'stats_socket = "{stats_socket}"\nbinary = "{binary}"\n'
        )
        self._extra = extra
        self.write()
        self._process: Process | None = None
        self._log = folder / "agent.log"
        self._read = 0
        self.lines: list[Line] = []

    def write(self, extra: str | None = None) -> None:
        """Write the settings file, with other extra text if given."""
        if extra is not None:
            self._extra = extra
        self.file.write_text(
            f'{self._source}\n{self._template}\n{self._target}\n[state]\ndirectory = "{self.state}"\n'
            f'[log]\nformat = "json"\n{self._extra}\n'
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop(grace=20)

    def start(self, **env: str) -> None:
        """Start `confsync run`; `env` is added for this run only."""
        argv = [sys.executable, "-m", "confsync", "run", "-c", str(self.file)]
        self._process = Process(argv, log=self._log, env={**self.env, **env})

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    def stop(self) -> int | None:
        """End it with TERM; returns its exit code."""
        self.process.stop(grace=60)
        return self.process.exit_code

    def hup(self) -> None:
        self.process.signal(signal.SIGHUP)

    def output(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log(self) -> list[Line]:
        """Read what was logged since the last call, and return all of it so far."""
        text = self.output()
        end = text.rfind("\n") + 1
        for line in text[self._read : end].splitlines():
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": line, "raw": True})
        self._read = end
        return self.lines

    def mark(self) -> int:
        """Remember a place in the log, to wait for what comes after it."""
        return len(self.log())

    def wait(
        self,
        wanted: Callable[[Line], object],
        what: str,
        *,
        since: int = 0,
        timeout: float = 60,
    ) -> Line:
        """Return the first line after `since` that `wanted` accepts."""

        def found() -> Line | None:
            for line in self.log()[since:]:
                if wanted(line):
                    return line
            if not self.process.running:
                raise AssertionError(
                    f"the agent ended with {self.process.exit_code}:\n{self.output()[-3000:]}"
                )
            return None

        try:
            return wait_until(found, what, timeout=timeout) or {}
        except TimeoutError as error:
            raise AssertionError(f"{error}; the log ends:\n{self.output()[-4000:]}") from None

    def wait_cycle(
        self, outcome: str, *, since: int = 0, timeout: float = 60, **fields: object
    ) -> Line:
        """Wait for a cycle with this outcome, and these fields."""
        return self.wait(
            lambda line: (
                line.get("event") == f"cycle: {outcome}"
                and all(line.get(key) == value for key, value in fields.items())
            ),
            f"a cycle: {outcome} {fields or ''}",
            since=since,
            timeout=timeout,
        )

    def wait_live(self, *, since: int = 0, timeout: float = 60) -> Line:
        """Wait for a cycle that changed what runs, whether by a reload or without one."""
        return self.wait(
            lambda line: line.get("event") in LIVE, "a change", since=since, timeout=timeout
        )

    def cycles(self, outcome: str) -> list[Line]:
        return [line for line in self.log() if line.get("event") == f"cycle: {outcome}"]

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run another command with the same settings to its end."""
        return subprocess.run(
            [sys.executable, "-m", "confsync", *arguments, "-c", str(self.file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.env, **env},
        )

    def status(self) -> dict[str, Any]:
        """Ask the agent for its status."""
        done = self.run("status", "--output", "json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
