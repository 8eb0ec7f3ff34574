"""The place where a measurement happens: a folder, confsync's settings, a HAProxy beside them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import machine
from tests.support.haproxy import Haproxy

PYTHON = sys.executable
CONFSYNC = str(Path(sys.executable).with_name("confsync"))


class Site:
    """One HAProxy's folder, with ports and the settings of a confsync that writes to it."""

    def __init__(self, folder: Path, version: str, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.haproxy = Haproxy(version, folder)
        self.port, self.stats_port = machine.free_ports(2)
        self.state = folder / "state"
        self._environ = environ

    def settings(
        self,
        name: str,
        source: Mapping[str, Any],
        *,
        runtime: bool = True,
        template: str = "builtin:haproxy.cfg",
    ) -> Path:
        """Write a settings file of this name; returns its path. `runtime`: changes without a reload.

        A `template` of one's own has the variables of the built-in one.
        """
        tables: dict[str, Mapping[str, Any]] = {
            "[source]": source,
            "[[template]]": {
                "source": template,
                "destination": str(self.haproxy.cfg),
            },
            "[template.vars]": {
                "bind": f"127.0.0.1:{self.port}",
                "stats_bind": f"127.0.0.1:{self.stats_port}",
                "log": "",
            },
            "[target]": {
                "config": str(self.haproxy.cfg),
                "master_socket": str(self.haproxy.master_socket),
                "stats_socket": str(self.haproxy.admin_socket),
                "binary": self.haproxy.binary,
            },
            "[runtime]": {"enabled": runtime},
            "[state]": {"directory": str(self.state)},
            "[log]": {"format": "json"},
        }
        path = self.folder / f"{name}.toml"
        # A JSON string or list is a TOML one.
        path.write_text(
            "\n".join(
                f"{table}\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in keys.items())
                for table, keys in tables.items()
            )
        )
        return path

    def begin(self, settings: Path) -> None:
        """Have confsync write the first configuration, start HAProxy, and get both in step.

        A HAProxy that started within the second of the writing may have read the file before.
        """
        self.confsync(settings, "once", "--apply")
        self.haproxy.start()
        self.confsync(settings, "once", "--apply")

    def confsync(self, settings: Path, *words: str, code: int = 0) -> str:
        """Run confsync to its end; returns what it printed. Raises RuntimeError on another code."""
        argv = [CONFSYNC, "-c", str(settings), *words]
        done = subprocess.run(
            argv, env=dict(self._environ), capture_output=True, text=True, check=False
        )
        if done.returncode != code:
            raise RuntimeError(f"exit code {done.returncode} of {' '.join(argv)}:\n{done.stderr}")
        return done.stdout


def services(count: int, instances: int, ports: Sequence[int] = (9,)) -> dict[str, Any]:
    """Return services as the file source reads them; `ports` are given out in turn.

    Two instances never have the same address and port.
    """
    found, number = [], 0
    for index in range(count):
        rows = []
        for one in range(instances):
            high, low = divmod(number // len(ports), 250)
            rows.append(
                {
                    "id": f"s{index}-{one}",
                    "address": f"127.0.{high}.{low + 1}",
                    "port": ports[number % len(ports)],
                    "tags": ["http", f"v{one % 3}"],
                    "meta": {"team": f"t{index % 7}"},
                }
            )
            number += 1
        found.append({"name": f"s{index}", "instances": rows})
    return {"services": found}
