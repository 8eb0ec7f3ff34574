"""Names and numbers of proxies and servers: legal, distinct, stable, the same on every machine.

Nothing in here looks at health or at templates. Legal means what HAProxy takes as a name
(`[A-Za-z0-9_.:-]`) and, stricter, begins with a letter, a digit or `_`: ACLs read a leading `-` as a
flag, and a leading `.` would be a hidden or a parent file where a template makes file names of slugs.
"""

import functools
import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterable

LONGEST = 100
"""Characters of a slug. Consul's own limit for a name that DNS can serve is 63."""

_LEGAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", re.ASCII)
_ODD = re.compile(r"[^A-Za-z0-9_.:-]+", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?",
    re.ASCII,
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)

FIRST_ID = 65_536
LAST_ID = 2**31


class Untypable(ValueError):
    """An address that cannot be one; the message says why, without the text."""


def is_legal(name: str) -> bool:
    """Tell whether a service's name can be its slug."""
    return len(name) <= LONGEST and _LEGAL.fullmatch(name) is not None


def is_host_label(text: str) -> bool:
    """Tell whether a text can stand between two dots of a Host header.

    RFC 1123's label, and `_` as well, which Docker Compose writes into names and browsers send.
    """
    return _LABEL.fullmatch(text) is not None


def is_ip(text: str) -> bool:
    """Tell an IP address from a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def slug(name: str, taken: Collection[str] = ()) -> str:
    """Make a name legal: itself if it can be, else a readable part and a hash of the whole name.

    `taken`: what it must not be. The hash depends on the name alone, so that a slug does not move
    when other services come and go.
    """
    if is_legal(name) and name not in taken:
        return name
    readable = _ODD.sub("-", name).strip("-.:")[:40].rstrip("-.:") or "service"
    salt = 0
    while True:
        hashed = hashlib.sha256(f"{salt or ''}{name}".encode("utf-8", "surrogatepass")).hexdigest()
        if (found := f"{readable}-{hashed[:8]}") not in taken:
            return found
        salt += 1


def slugs(names: Iterable[str], reserved: Collection[str] = ()) -> dict[str, str]:
    """Name -> slug, all distinct, none reserved; the order of `names` makes no difference.

    Legal names come first, so that a name made up to look like another's hash takes nothing from a
    service that has a right to its own name.
    """
    every = sorted(set(names))
    found = {name: name for name in every if is_legal(name) and name not in reserved}
    taken = {*reserved, *found}
    for name in every:
        if name not in found:
            found[name] = slug(name, taken)
            taken.add(found[name])
    return found


@functools.lru_cache(maxsize=65_536)
def address(text: str) -> str:
    """Type an address: the canonical IPv4 or IPv6 address, or a host name in lower case.

    Raises Untypable. An IPv4 address inside IPv6 becomes the IPv4 one, since it is the same server.
    """
    if not text:
        raise Untypable("has no address")
    if "%" in text:
        raise Untypable("has an address with a zone, which is no address on another machine")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return _host(text)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_unspecified:
        raise Untypable("has an address that means every address of a machine")
    if found.is_multicast or str(found) == "255.255.255.255":
        raise Untypable("has the address of a group of machines")
    return str(found)


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise Untypable("has an address that is neither an IP address nor a host name")
    if _NUMBER.fullmatch(text.rstrip(".").rpartition(".")[2]):
        # The C library reads 127.1 and 0x7f000001 as addresses; nobody who registers means that.
        raise Untypable("has an address that is a number, not an IP address")
    return text.lower()


@functools.lru_cache(maxsize=65_536)
def order(address: str, port: int) -> tuple[int, bytes, str, int]:
    """Sort servers: IPv4, IPv6, host names; addresses by their value."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return (9, b"", address, port)
    return (ip.version, ip.packed, "", port)


def server(address: str, port: int) -> str:
    """Name a server after what it is, so that another address is always another server.

    The last colon divides, so that the name of an IPv6 address is unambiguous too.
    """
    return f"{address}:{port}"


@functools.lru_cache(maxsize=65_536)
def server_id(address: str, port: int, salt: int = 0) -> int:
    """Hash an address and a port to 65,536 .. 2^31 - 1, above all ids that HAProxy gives by itself.

    Consistent hashing takes its keys from this number: with ids of its own HAProxy moves 73-100 % of
    the keys at a reload after a runtime change, with these none.
    """
    text = f"{address} {port}" + (f" {salt}" if salt else "")
    return FIRST_ID + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (
        LAST_ID - FIRST_ID
    )
