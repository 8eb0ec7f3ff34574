"""What old workers still serve is counted with what the new one does."""

import asyncio
import contextlib
import csv
import http.client
import socket

from confsync.adapters.haproxy import figures
from tests.support import machine
from tests.support.backend import Backends
from tests.support.haproxy import Haproxy, simple_config
from tests.support.process import wait_until


def answers(haproxy: Haproxy) -> bool:
    """Tell whether the worker can be asked: 3.2 shows it before that."""
    with contextlib.suppress(OSError):
        return bool(haproxy.runtime("show info"))
    return False


def ask(port: int, count: int) -> None:
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"one"
        connection.close()


async def test_old_workers_are_counted_until_they_end(haproxy: Haproxy, backends: Backends) -> None:
    port = machine.free_port()
    text = simple_config(haproxy, port=port, servers=[backends.start("one")])
    haproxy.cfg.write_text(text)
    with haproxy:
        wait_until(lambda: answers(haproxy), "the worker")
        ask(port, 5)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as held:
            held.sendall(b"GET /stream?s=0 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held.recv(100)
            first = haproxy.worker_pid()
            haproxy.reload()
            ask(port, 3)
            # The three have closed; HAProxy hears of it in its own time.
            async with asyncio.timeout(20):
                while (seen := await figures.read(str(haproxy.master_socket))).sessions != 1:
                    await asyncio.sleep(0.01)
            new, old = seen.workers
            assert (new.old, new.pid, old.old, old.pid) == (
                False,
                haproxy.worker_pid(),
                True,
                first,
            )
            assert (new.requests, old.requests) == (3, 6)
            assert (new.sessions, old.sessions) == (0, 1)
            assert (seen.requests, seen.sessions) == (9, 1)
            assert old.bytes_out > 0
        wait_until(lambda: len(haproxy.workers()) == 1, "the old worker's end")
        seen = await figures.read(str(haproxy.master_socket))
        assert [worker.old for worker in seen.workers] == [False]


async def test_one_page_is_complete_over_threads(haproxy: Haproxy, backends: Backends) -> None:
    """The reason why the endpoints of each process are gone: threads share their counters."""
    port, stats = machine.free_ports(2)
    text = simple_config(
        haproxy,
        port=port,
        servers=[backends.start("one")],
        extra=f"\nlisten stats\n  bind 127.0.0.1:{stats}\n  stats enable\n  stats uri /\n",
    ).replace("global\n", "global\n  nbthread 2\n")
    haproxy.cfg.write_text(
        text.replace(f"bind 127.0.0.1:{port}", f"bind 127.0.0.1:{port} shards by-thread")
    )
    with haproxy:
        wait_until(lambda: answers(haproxy), "the worker")
        ask(port, 40)
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", stats, timeout=10)
            connection.request("GET", "/;csv")
            page = connection.getresponse().read().decode()
            connection.close()
            rows = csv.DictReader(page.removeprefix("# ").splitlines())
            (front,) = (r for r in rows if (r["pxname"], r["svname"]) == ("in", "FRONTEND"))
            assert front["req_tot"] == "40"
        seen = await figures.read(str(haproxy.master_socket))
        assert seen.requests == 43  # the page's own three as well
