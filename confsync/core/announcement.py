"""The bytes that tell neighbours which hardware address an IP address has now.

A neighbour remembers for minutes where an address was. A gratuitous ARP (RFC 5227, 3) or an
unsolicited neighbour advertisement (RFC 4861, 7.2.6) corrects that at once.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from confsync.core.carp import checksum

_BROADCAST = b"\xff" * 6
_ARP, _IPV6 = 0x0806, 0x86DD
_REQUEST, _REPLY = 1, 2
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
_ICMPV6 = 58
_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
"""The flag that a remembered hardware address is to be replaced; not solicited, not a router."""
_TARGET_LINK = 2
_HOPS = 255


def frames(hardware: bytes, address: str) -> tuple[bytes, ...]:
    """Make the Ethernet frames that announce an address; `hardware`: six bytes.

    IPv4 gets two: some neighbours learn from a request alone, others from a reply alone.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        return (_advertisement(hardware, parsed),)
    return tuple(_arp(hardware, parsed, kind) for kind in (_REQUEST, _REPLY))


def _arp(hardware: bytes, address: IPv4Address, kind: int) -> bytes:
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, kind)
    target = bytes(6) if kind == _REQUEST else _BROADCAST
    said = hardware + address.packed + target + address.packed
    return _ethernet(_BROADCAST, hardware, _ARP) + body + said


def _advertisement(hardware: bytes, address: IPv6Address) -> bytes:
    def message(summed: int) -> bytes:
        head = struct.pack(">BBHI", _ADVERTISEMENT, 0, summed, _OVERRIDE)
        return head + address.packed + bytes((_TARGET_LINK, 1)) + hardware

    length = len(message(0))
    pseudo = address.packed + _ALL_NODES.packed + struct.pack(">II", length, _ICMPV6)
    body = message(checksum(pseudo + message(0)))
    header = struct.pack(">IHBB", 6 << 28, length, _ICMPV6, _HOPS)
    link = _ethernet(_ALL_NODES_MAC, hardware, _IPV6)
    return link + header + address.packed + _ALL_NODES.packed + body


def _ethernet(to: bytes, hardware: bytes, kind: int) -> bytes:
    return to + hardware + struct.pack(">H", kind)
