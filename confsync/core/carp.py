"""The bytes of a CARP advert, as ucarp 1.5 reads them: for a goodbye that ucarp itself never says.

A host that has the shared address advertises how often it will do so again. One that announces the
longest interval there is, 255 seconds and 255/256 more, is taken for dead at once by everybody who
waits for less: so an address is given away without a pause.

What the signature covers: version, type, number of the pair, shared address, counter. It does not
cover the interval, and nobody compares counters: who can send on the network can replay an advert,
or turn one into a goodbye. Nothing but a trusted network helps.
"""

import hmac
import struct
from ipaddress import IPv4Address

PROTOCOL = 112
"""IP's number, which VRRP uses too."""
GROUP = "224.0.0.18"
TTL = 255
"""An advert with any other has crossed a router and is refused."""
LONGEST_PASSWORD = 19
"""Bytes. The key has 20, of which the last ends it."""
SLOWEST = 255
"""Of the interval: so many seconds, and so many 256ths of one."""

_HEADER = struct.Struct(">BBBBBBH")
_VERSION, _ADVERT = 2, 1
_WORDS = 7
"""The length of counter and digest, in words of four bytes."""


def checksum(data: bytes) -> int:
    """Sum up as RFC 1071 has it."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def advert(
    *,
    vhid: int,
    address: IPv4Address,
    password: bytes,
    counter: bytes,
    base: int,
    skew: int,
) -> bytes:
    """Make an advert, without its IP header. `counter`: eight bytes, never the same twice.

    `base`, `skew`: seconds and 256ths of one until the next advert.
    """
    signed = bytes((_VERSION, _ADVERT, vhid)) + address.packed + counter
    tail = counter + hmac.digest(password, signed, "sha1")

    def header(summed: int) -> bytes:
        first = _VERSION << 4 | _ADVERT
        return _HEADER.pack(first, vhid, skew, _WORDS, 0, base, summed)

    return header(checksum(header(0) + tail)) + tail


def goodbye(*, vhid: int, address: IPv4Address, password: bytes, counter: bytes) -> bytes:
    """Make the advert of a host that gives the address up."""
    return advert(
        vhid=vhid,
        address=address,
        password=password,
        counter=counter,
        base=SLOWEST,
        skew=SLOWEST,
    )
