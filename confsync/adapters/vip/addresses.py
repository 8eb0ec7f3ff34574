"""The shared addresses on this host: set for a short lease, announced, removed.

The lease is a dead-man's switch in the kernel. Whatever becomes of this process (killed, paused,
hung), an address that it does not renew is gone two seconds later, and no dead host answers for it.
"""

import contextlib
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from confsync.adapters.vip import rtnetlink
from confsync.core import announcement
from confsync.errors import SettingsError, VipDenied, VipError

_GONE = {errno.EADDRNOTAVAIL, errno.ENODEV}
_ETHERNET = 1  # ARPHRD_ETHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the addresses belong. `source`: this host's own address there."""

    device: str
    source: rtnetlink.Address


class Leased:
    """Sets, renews and removes addresses, as one.

    `device`, `source`: empty where they are to be found out. `seconds`: the lease.
    """

    def __init__(self, addresses: Sequence[str], *, device: str, source: str, seconds: int) -> None:
        self._addresses = tuple(map(ip_address, addresses))
        self._device = device
        self._source = source
        self._seconds = seconds
        self._kernel = rtnetlink.Kernel()
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        """Where they belong; found out by `clean`."""
        if self._place is None:
            raise VipError("where the shared address belongs is not known yet")
        return self._place

    def clean(self) -> tuple[str, ...]:
        """Remove what an earlier run left, on whatever device, and find the place.

        An address that this host has for its own, in a network, is none of ours.
        """
        removed = []
        for each in self._kernel.addresses():
            if each.address not in self._addresses:
                continue
            device = _name(each.index)
            if not each.whole and each.lease is None:
                own = f"{each.address}/{each.prefix} is this host's own address on {device}"
                raise SettingsError(
                    [f"vip: {own} (choose shared addresses that no host has for its own)"]
                )
            self._remove(each.address, each.prefix, each.index, device)
            removed.append(f"{each.address} on {device}")
        self._place = self._find()
        # What is not there cannot be removed, and whoever has no right is told that first.
        index = self._index()
        for address in self._addresses:
            self._remove(address, address.max_prefixlen, index, self._place.device)
        _packet_socket(self._place.device).close()
        return tuple(removed)

    def lease(self) -> None:
        """Set or renew all of them. Raises VipError."""
        index = self._index()
        for address in self._addresses:
            try:
                self._kernel.lease(address, index, self._seconds)
            except OSError as error:
                raise _fault(error, f"set {address} on {self.place.device}") from error

    def announce(self) -> None:
        """Tell the neighbours, from the device's own hardware address."""
        with contextlib.suppress(OSError, VipError), _packet_socket(self.place.device) as sock:
            *_, kind, hardware = sock.getsockname()
            if kind != _ETHERNET:
                return
            for address in self._addresses:
                for frame in announcement.frames(hardware, str(address)):
                    sock.send(frame)

    def drop(self) -> None:
        """Remove all of them."""
        with contextlib.suppress(VipError):
            index = self._index()
            for address in self._addresses:
                # One that cannot be removed must not keep the others.
                with contextlib.suppress(OSError):
                    self._kernel.remove(address, address.max_prefixlen, index)

    def close(self) -> None:
        """Give the socket back."""
        self._kernel.close()

    def _remove(self, address: rtnetlink.Address, prefix: int, index: int, device: str) -> None:
        try:
            self._kernel.remove(address, prefix, index)
        except OSError as error:
            if error.errno not in _GONE:
                raise _fault(error, f"set or remove {address} on {device}") from error

    def _index(self) -> int:
        device = self.place.device
        try:
            return socket.if_nametoindex(device)
        except OSError as error:
            raise VipError(
                f"no network interface {device}", remedy="set vip.device to one of `ip link`"
            ) from error

    def _find(self) -> Place:
        first = self._addresses[0]
        device = self._device
        found = None
        if not device:
            with contextlib.suppress(OSError):
                found = self._kernel.way(first)
            if found is None or not found.index:
                raise VipError(
                    f"no route leads to {first}", remedy="set vip.device to the interface for it"
                )
            device = _name(found.index)
        if self._source:
            return Place(device=device, source=ip_address(self._source))
        if found and found.source:
            return Place(device=device, source=found.source)
        self._place = Place(device=device, source=first)  # for `_index`
        return Place(device=device, source=self._own(self._index()))

    def _own(self, index: int) -> rtnetlink.Address:
        """Find this host's address on a device: one in the network of the first shared one."""
        first = self._addresses[0]
        own = [
            each
            for each in self._kernel.addresses()
            if each.index == index and each.address.version == first.version and not each.whole
        ]
        own.sort(key=lambda each: _shared(each, first), reverse=True)
        if not own:
            raise VipError(
                f"{_name(index)} has no IPv{first.version} address of this host's own",
                remedy="give it one, or set vip.source or vip.device",
            )
        return own[0].address


def _shared(own: rtnetlink.Found, other: rtnetlink.Address) -> bool:
    drop = own.address.max_prefixlen - own.prefix
    return int(own.address) >> drop == int(other) >> drop


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"


def _packet_socket(device: str) -> socket.socket:
    """Open a socket that sends frames on a device, and hears none."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except OSError as error:
        raise _fault(error, f"send on {device}", "NET_RAW") from error
    try:
        sock.bind((device, 0))
    except OSError as error:
        sock.close()
        raise _fault(error, f"send on {device}", "NET_RAW") from error
    return sock


def _fault(error: OSError, doing: str, right: str = "NET_ADMIN") -> VipError:
    if error.errno in {errno.EPERM, errno.EACCES}:
        return VipDenied(
            f"may not {doing}: the capability {right} is missing",
            remedy=f"run the container with --cap-add={right}, or the service with CAP_{right}",
        )
    return VipError(f"cannot {doing}: {error.strerror or error}", remedy="see vip.device")
