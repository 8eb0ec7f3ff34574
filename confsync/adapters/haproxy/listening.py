"""Asks the kernel whether HAProxy could listen where a candidate wants to, before it is reloaded.

`haproxy -c` binds nothing, and a reload that cannot bind costs connections: the new process has the
old one stop listening while it tries again (SIGTTOU, management.txt 4), which refused every new
connection for one to two seconds on 2.6, 2.8, 3.0 and 3.2 (measured). So new addresses are tried here.
"""

import errno
import ipaddress
import os
import socket

from confsync.core.haproxy import text
from confsync.errors import ReloadFailed

_ANY = frozenset({"", "*"})
_REFUSED = {errno.EADDRINUSE: "in use by another process", errno.EADDRNOTAVAIL: "not of this host"}


def same_network(pid: int) -> bool:
    """Tell whether a process is in this one's network namespace; an unreadable one is not."""
    try:
        mine, other = os.stat("/proc/self/ns/net"), os.stat(f"/proc/{pid}/ns/net")  # noqa: PTH116
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (other.st_dev, other.st_ino)


def refusal(main: str, new: str) -> ReloadFailed | None:
    """Tell which literal `bind` addresses that `new` adds to the file are not free. Blocking.

    A port that the file has on another address may be HAProxy's own: as another user it shares it
    with no probe of ours, so that nothing is said of it.
    """
    try:
        with open(main, "rb") as file:  # noqa: PTH123
            old = file.read().decode("utf-8", "surrogateescape")
    except OSError:
        old = ""
    known = text.binds(old)
    ports = {port for _, port in known}
    taken = [
        f"{address or '*'}:{port} is {_REFUSED[why]}"
        for address, port in sorted(text.binds(new, sure=True) - known)
        if (why := _why_not(address, port)) and not (why == errno.EADDRINUSE and port in ports)
    ]
    if not taken:
        return None
    return ReloadFailed(
        f"HAProxy could not listen: {'; '.join(taken)}",
        remedy="free the address or change the bind line; HAProxy was not reloaded, since a "
        "reload that cannot bind refuses connections while it tries",
    )


def _why_not(address: str, port: int) -> int:
    """Tell why a literal address cannot be bound; 0 when it can, or when that cannot be told."""
    try:
        version = 4 if address in _ANY else ipaddress.ip_address(address).version
    except ValueError:
        return 0
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # As HAProxy does: it may listen there already, on a line that is no literal address.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(("" if address in _ANY else address, port))
    except OverflowError:
        return 0
    except OSError as error:
        return error.errno if error.errno in _REFUSED else 0
    return 0
