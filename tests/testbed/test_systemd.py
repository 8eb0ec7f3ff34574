"""The systemd container is a machine: units run, files arrive, load runs inside it."""

from pathlib import Path

import pytest

from tests.support.backend import Backends
from tests.support.load import Load
from tests.support.systemd import SystemdHost

# Whoever comes first builds the program.
pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]


def test_units_files_and_load(systemd_host: SystemdHost) -> None:
    assert systemd_host.sh("systemctl is-active haproxy").out == "active\n"
    assert "Loading success" in systemd_host.journal("haproxy")
    # /run is mounted inside: plain `docker cp` would miss it.
    systemd_host.put(
        {"/run/confsync/a": "text\n", "/usr/local/bin/b": "#!/bin/sh\necho b\n"}, mode=0o755
    )
    assert systemd_host.sh("cat /run/confsync/a; b").out == "text\nb\n"
    assert systemd_host.sh("exit 3", check=False).code == 3
    with Backends(python=systemd_host.python) as backends:
        port = backends.start("inside", port=8000)
        with Load(port, python=systemd_host.python, servers=["inside"]) as load:
            load.wait_ok(50)
        assert load.report().failed == 0


def test_the_program_runs_inside(systemd_host: SystemdHost, program: Path) -> None:
    command = systemd_host.install(program)
    assert systemd_host.sh(f"{command} --version").out.startswith("confsync ")
