"""Each HAProxy of the test bed is real, and ends when told."""

import subprocess

from tests.support import machine
from tests.support.haproxy import Haproxy, simple_config
from tests.support.process import wait_until


def test_life_of_each_version(haproxy: Haproxy) -> None:
    port = machine.free_port()
    haproxy.cfg.write_text(simple_config(haproxy, port=port, servers=[1]))
    assert haproxy.check()[0] == 0
    with haproxy:
        assert haproxy.workers() == [haproxy.worker_pid()]
        version = haproxy.runtime("show version").strip()
        assert version.startswith(haproxy.version)
        binary = subprocess.run([haproxy.binary, "-v"], capture_output=True, text=True, check=True)
        assert f" {version} " in binary.stdout, "the checking binary is another version"

        first = haproxy.worker_pid()
        haproxy.reload_by_other()
        haproxy.wait_other_worker(first)
        haproxy.kill9()
        assert not haproxy.running
        haproxy.start()
        haproxy.reload()
        assert haproxy.reloads() == 1
        haproxy.kill_worker()
        wait_until(lambda: not haproxy.running, "the end of the master after its worker")
