"""SystemdTarget on a machine with systemd and Debian's haproxy.service, unchanged but by its own knobs.

The code runs inside: each script below is given to the installed program's Python.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import wait_until
from tests.support.systemd import PREFIX, SystemdHost

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the program
HEAD = """
import asyncio, dataclasses, json, subprocess, sys
from confsync import errors
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.adapters.systemd.systemctl import Systemctl
from confsync.adapters.systemd.unit import SystemdOptions, SystemdTarget
CFG = "/etc/haproxy/haproxy.cfg"
UNIT = "haproxy.service"
def sh(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True).stdout.strip()
def target(**options):
    socket = SocketTarget(SocketOptions(**options), master_pid=Systemctl(UNIT).main_pid)
    return SystemdTarget(SystemdOptions(unit=UNIT, timeout=10), socket)
def tell(**facts):
    print(json.dumps(facts, default=dataclasses.asdict))
def failed(error):
    return dict(type=type(error).__name__, what=error.what, remedy=error.remedy, detail=error.detail)
async def main():
"""


@pytest.fixture(scope="module")
def booted(program: Path) -> Iterator[SystemdHost]:
    with SystemdHost() as host:
        host.install(program)
        host.sh("cp /etc/haproxy/haproxy.cfg /root/original.cfg")
        yield host


@pytest.fixture
def host(booted: SystemdHost) -> SystemdHost:
    """The machine as Debian leaves it: HAProxy runs with both sockets."""
    booted.sh("systemctl unmask haproxy; rm -f /etc/default/haproxy /run/haproxy*.sock")
    booted.sh("cp /root/original.cfg /etc/haproxy/haproxy.cfg")
    booted.put({"/etc/haproxy/haproxy.cfg": booted.sh("cat /root/original.cfg").out + SITE})
    restart(booted)
    return booted


SITE = """
frontend in
    bind 127.0.0.1:8080
    default_backend web
backend web
    server a 127.0.0.1:8000
"""


def restart(host: SystemdHost) -> None:
    host.sh("systemctl reset-failed haproxy; systemctl restart haproxy")


def without_master_socket(host: SystemdHost) -> None:
    host.put({"/etc/default/haproxy": 'EXTRAOPTS=""\n'})
    restart(host)
    host.sh("rm -f /run/haproxy-master.sock")


def run(host: SystemdHost, body: str, *, user: str = "") -> dict[str, object]:
    """Run the body of `main`; return what it told last."""
    script = HEAD + textwrap.indent(textwrap.dedent(body), "    ") + "\nasyncio.run(main())\n"
    become = f"setpriv --reuid {user} --regid nogroup --clear-groups " if user else ""
    done = host.sh(f"{become}{PREFIX}/bin/python -", stdin=script.encode())
    found: dict[str, object] = json.loads(done.out.splitlines()[-1])
    return found


def active(host: SystemdHost) -> str:
    return host.sh("systemctl is-active haproxy", check=False).out.strip()


def main_pid(host: SystemdHost) -> str:
    return host.sh("systemctl show haproxy -p MainPID --value").out.strip()


def test_debians_unit_is_observed_checked_and_reloaded_over_the_master_socket(
    host: SystemdHost,
) -> None:
    found = run(
        host,
        """
        one = target()
        seen = first = await one.observe()
        pids = []
        for _ in range(5):
            await one.check(CFG, None)
            seen = await one.reload(seen)
            pids.append(seen.worker_pid)
        text = open(CFG).read()
        open(CFG, "w").write(text + "  bogus\\n")
        try:
            await one.check(CFG, None)
        except errors.CheckRejected as error:
            refused = error.what
        tell(first=first, last=seen, pids=pids, refused=refused)
        """,
    )
    first, last = found["first"], found["last"]
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    assert first["running"] is first["master"] is True
    assert first["notes"] == []
    assert str(first["master_pid"]) == main_pid(host)
    assert last["reloads"] == 5
    assert len(set(found["pids"])) == 5  # type: ignore[call-overload]
    assert "unknown keyword 'bogus'" in str(found["refused"])
    assert active(host) == "active"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("systemctl stop haproxy", "haproxy.service is inactive"),
        ("systemctl stop haproxy; systemctl mask haproxy", "haproxy.service is masked"),
        (
            "systemctl stop haproxy; echo x > /etc/haproxy/haproxy.cfg; systemctl start haproxy; true",
            "haproxy.service has failed (exit-code)",
        ),
    ],
)
def test_a_unit_that_does_not_run_is_told_and_never_started(
    host: SystemdHost, command: str, why: str
) -> None:
    host.sh(command)
    wait_until(lambda: active(host) in {"inactive", "failed"}, "the unit's end")
    before = active(host)
    found = run(
        host,
        """
        one = target()
        seen = await one.observe()
        try:
            await one.reload(seen)
        except errors.TargetUnavailable as error:
            tell(seen=seen, error=failed(error))
        """,
    )
    assert found["seen"]["running"] is False  # type: ignore[index]
    assert found["seen"]["why"] == why  # type: ignore[index]
    assert "does not run" in found["error"]["what"]  # type: ignore[index]
    assert active(host) == before


def test_an_unknown_unit_is_told(host: SystemdHost) -> None:
    host.sh("systemctl stop haproxy")
    found = run(
        host,
        """
        UNIT = "nothing.service"
        socket = SocketTarget(SocketOptions())
        try:
            await SystemdTarget(SystemdOptions(unit=UNIT), socket).observe()
        except errors.TargetUnavailable as error:
            tell(**failed(error))
        """,
    )
    assert found["what"] == "there is no unit nothing.service"


@pytest.mark.parametrize("stats", [True, False])
def test_without_the_master_socket_the_unit_reloads_with_a_weaker_proof(
    host: SystemdHost, stats: bool
) -> None:
    if not stats:
        host.sh("sed -i '/stats socket/d' /etc/haproxy/haproxy.cfg; rm -f /run/haproxy/admin.sock")
    without_master_socket(host)
    found = run(
        host,
        """
        one = target()
        first = await one.observe()
        remarks = await one.check(CFG, None)
        text = open(CFG).read()
        open(CFG, "w").write(text.replace("8000", "8001"))
        second = await one.reload(first)
        third = await one.reload(second)
        tell(first=first, second=second, third=third, remarks=remarks,
             children=sh("cat /proc/$(systemctl show haproxy -p MainPID --value)/task/*/children"))
        """,
    )
    first, second, third = (found[n] for n in ("first", "second", "third"))
    assert first["running"] is True  # type: ignore[index]
    assert first["master"] is False  # type: ignore[index]
    proof = "answers on the stats socket" if stats else "has a new worker process"
    assert "`systemctl reload haproxy.service`" in first["notes"][-1]  # type: ignore[index]
    assert proof in first["notes"][-1]  # type: ignore[index]
    pids = [each["worker_pid"] for each in (first, second, third)]  # type: ignore[index]
    assert len(set(pids)) == 3
    assert str(pids[-1]) in str(found["children"]).split()
    if stats:
        assert found["remarks"] == []  # the unit told the master's pid


def test_a_master_socket_that_an_earlier_haproxy_left_is_not_waited_for_for_ever(
    host: SystemdHost,
) -> None:
    host.put({"/etc/default/haproxy": 'EXTRAOPTS=""\n'})
    restart(host)
    found = run(
        host,
        """
        one = target()
        first = await one.observe()
        async with asyncio.timeout(20):
            while (last := await one.observe()).loading:
                await asyncio.sleep(0.1)
        tell(first=first, last=last, reloaded=await one.reload(last))
        """,
    )
    assert found["first"]["running"] is True  # type: ignore[index]
    assert found["last"]["master"] is False  # type: ignore[index]
    assert "nobody listens on /run/haproxy-master.sock" in str(found["last"]["notes"])  # type: ignore[index]
    assert found["reloaded"]["worker_pid"] != found["last"]["worker_pid"]  # type: ignore[index]


def test_a_failing_reload_of_the_unit_has_the_journals_words_and_leaves_it_running(
    host: SystemdHost,
) -> None:
    without_master_socket(host)
    found = run(
        host,
        """
        one = target()
        before = await one.observe()
        text = open(CFG).read()
        open(CFG, "w").write(text + "  bogus\\n")
        try:
            await one.reload(before)
        except errors.ReloadFailed as error:
            refused = failed(error)
        import socket
        taken = socket.create_server(("127.0.0.1", 8099))
        open(CFG, "w").write(text + "frontend more\\n  bind 127.0.0.1:8099\\n")
        try:
            await one.reload(before)
        except errors.ReloadFailed as error:
            unbound = failed(error)
        taken.close()
        open(CFG, "w").write(text)
        tell(before=before, refused=refused, unbound=unbound, after=await one.observe(),
             good=await one.reload(before))
        """,
    )
    # Debian's ExecReload checks first (quietly), so that HAProxy is not even asked.
    assert "failed" in found["refused"]["what"]  # type: ignore[index]
    assert "Reload failed for haproxy.service" in found["refused"]["detail"]  # type: ignore[index]
    assert "did not load the new configuration" in found["unbound"]["what"]  # type: ignore[index]
    assert "cannot bind socket" in found["unbound"]["detail"]  # type: ignore[index]
    before, after, good = (found[n]["worker_pid"] for n in ("before", "after", "good"))  # type: ignore[index]
    assert before == after != good
    assert active(host) == "active"


def test_an_ordinary_user_is_told_what_is_missing(host: SystemdHost) -> None:
    without_master_socket(host)
    pid = main_pid(host)
    found = run(
        host,
        """
        one = target()
        seen = await one.observe()
        try:
            await one.reload(seen)
        except errors.TargetDenied as error:
            tell(seen=seen, **failed(error))
        """,
        user="nobody",
    )
    assert found["seen"]["running"] is True  # type: ignore[index]
    assert found["what"] == "this user may not reload haproxy.service"
    assert "polkit" in str(found["remedy"])
    assert main_pid(host) == pid


def test_a_start_a_restart_and_a_reload_by_others_are_noticed(host: SystemdHost) -> None:
    found = run(
        host,
        """
        one = target()
        seen = [await one.observe()]
        for command in ("reload", "restart", "stop", "start"):
            sh(f"systemctl {command} haproxy")
            async with asyncio.timeout(20):
                while True:
                    now = await one.observe()
                    if now.running and now.loading:
                        continue
                    if now.running != seen[-1].running or not now.same_worker(seen[-1]):
                        break
                    await asyncio.sleep(0.02)
            seen.append(now)
        tell(seen=seen)
        """,
    )
    seen = found["seen"]
    assert isinstance(seen, list)
    assert [each["running"] for each in seen] == [True, True, True, False, True]
    assert seen[1]["master_pid"] == seen[0]["master_pid"] != seen[2]["master_pid"]
