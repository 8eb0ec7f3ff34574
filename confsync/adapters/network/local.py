"""Tells which addresses are this host's, to find a backend that is HAProxy's own listener."""

import errno
import ipaddress
import socket


def is_local(address: str) -> bool:
    """Tell whether an IP address is one of this network namespace's; a host name never is.

    The kernel lets a socket be bound to its own addresses only (ip(7), EADDRNOTAVAIL).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.is_loopback:
        return True
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
    return True
