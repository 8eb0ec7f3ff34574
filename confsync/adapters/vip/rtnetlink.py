"""Addresses and routes of this network namespace, from the kernel itself (rtnetlink(7)).

Not `ip`: a lease that is renewed several times a second must not depend on a machine that can still
start programs, and the kernel's errors are told apart by their number.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_LIFETIMES = struct.Struct("=IIII")

_ERROR, _DONE = 2, 3
_NEW, _DELETE, _GET = 20, 21, 22  # RTM_*ADDR
_GET_ROUTE = 26
_REQUEST, _ACKNOWLEDGE, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_NO_DUPLICATE_DETECTION = 0x02
"""Else an IPv6 address may not be used for a second, and never when the other host still has it."""
_FOR_EVER = 0xFFFFFFFF
_SECONDS = 2
_SIZE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An address as the kernel has it. `lease`: seconds that it has left, None for ever."""

    address: Address
    prefix: int
    index: int
    lease: int | None

    @property
    def whole(self) -> bool:
        """It stands for itself, not for a network that this host is in."""
        return self.prefix == self.address.max_prefixlen


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How an address would be reached: the interface's index, and this host's address there."""

    index: int
    source: Address | None


class Kernel:
    """One socket to the kernel. Each call takes some microseconds and raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.settimeout(_SECONDS)
        self._socket.bind((0, 0))
        self._serial = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def lease(self, address: Address, index: int, seconds: int) -> None:
        """Set an address for so long, or renew it."""
        body = change(address, address.max_prefixlen, index, seconds)
        self._ask(_NEW, _ACKNOWLEDGE | _CREATE | _REPLACE, body)

    def remove(self, address: Address, prefix: int, index: int) -> None:
        """Remove an address; EADDRNOTAVAIL when it is not there."""
        self._ask(_DELETE, _ACKNOWLEDGE, change(address, prefix, index, None))

    def addresses(self) -> tuple[Found, ...]:
        """List all addresses of all interfaces."""
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return tuple(map(found, self._ask(_GET, _DUMP, body)))

    def way(self, address: Address) -> Way:
        """Tell how an address would be reached."""
        bits = address.max_prefixlen
        body = _ROUTE.pack(_family(address), bits, 0, 0, 0, 0, 0, 0, 0)
        (answer,) = self._ask(_GET_ROUTE, 0, body + _attribute(_RTA_DST, address.packed))
        return way(answer)

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send a request; return the bodies of the answers."""
        self._serial += 1
        size = _HEADER.size + len(body)
        header = _HEADER.pack(size, kind, flags | _REQUEST, self._serial, 0)
        self._socket.send(header + body)
        bodies: list[bytes] = []
        while True:
            for told, serial, answer in _messages(self._socket.recv(_SIZE)):
                if serial != self._serial:
                    continue  # of a request that was given up
                if told == _ERROR:
                    (number,) = struct.unpack_from("=i", answer)
                    if number:
                        raise OSError(-number, os.strerror(-number))
                    return bodies
                if told == _DONE:
                    return bodies
                bodies.append(answer)
                if not flags & (_DUMP | _ACKNOWLEDGE):
                    return bodies


def change(address: Address, prefix: int, index: int, seconds: int | None) -> bytes:
    """Word which address is meant, and for how long (None: that does not matter)."""
    body = _ADDRESS.pack(_family(address), prefix, 0, 0, index)
    body += _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)
    if seconds is None:
        return body
    # An IPv6 address that is not preferred answers, and is never the source of what starts here.
    preferred = seconds if address.version == 4 else 0
    body += _attribute(_IFA_CACHEINFO, _LIFETIMES.pack(preferred, seconds, 0, 0))
    if address.version == 6:
        body += _attribute(_IFA_FLAGS, struct.pack("=I", _NO_DUPLICATE_DETECTION))
    return body


def found(body: bytes) -> Found:
    """Read an address out of the kernel's answer."""
    _, prefix, _, _, index = _ADDRESS.unpack_from(body)
    attributes = dict(_attributes(body[_ADDRESS.size :]))
    # Of a tunnel, the other is the peer's.
    raw = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
    lease: int | None = None
    if lifetimes := attributes.get(_IFA_CACHEINFO):
        _, valid, _, _ = _LIFETIMES.unpack_from(lifetimes)
        lease = None if valid == _FOR_EVER else valid
    return Found(address=ip_address(raw), prefix=prefix, index=index, lease=lease)


def way(body: bytes) -> Way:
    """Read a route out of the kernel's answer."""
    attributes = dict(_attributes(body[_ROUTE.size :]))
    (index,) = struct.unpack_from("=I", attributes.get(_RTA_OIF, bytes(4)))
    source = attributes.get(_RTA_PREFSRC)
    return Way(index=index, source=ip_address(source) if source else None)


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[_ATTRIBUTE.size : size]
        data = data[size + -size % 4 :]


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Cut what came into messages: kind, serial, body."""
    while len(data) >= _HEADER.size:
        size, kind, _, serial, _ = _HEADER.unpack_from(data)
        if size < _HEADER.size:
            return
        yield kind, serial, data[_HEADER.size : size]
        data = data[size + -size % 4 :]
