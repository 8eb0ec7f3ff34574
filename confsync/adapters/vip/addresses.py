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
        self._kernel: rtnetlink.Kernel | None = None
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        """Where they belong; found out by `clean`."""
        if self._place is None:
            raise VipError("where the shared address belongs is not known yet")
        return self._place

    def clean(self) -> tuple[str, ...]:
        """Remove what an earlier run left, on whatever device, and find the place.

        An address that this host has for its own is none of ours: an error.
        """
        self.close()
        try:
            self._kernel = kernel = rtnetlink.Kernel()
            removed = self._clean(kernel)
            self._place = self._find(kernel)
        except OSError as error:
            raise _fault(error, "ask the kernel for addresses") from error
        # What is not there cannot be removed, and whoever has no right is told that first.
        for address in self._addresses:
            self._remove(kernel, address, self._index(), self._place.device)
        _packet_socket(self._place.device).close()
        return removed

    def _clean(self, kernel: rtnetlink.Kernel) -> tuple[str, ...]:
        all_of_them = kernel.addresses()
        left = [each for each in all_of_them if each.address in self._addresses]
        for each in left:
            if _own(each, all_of_them):
                what = f"{each.address}/{each.prefix} is this host's own on {_name(each.index)}"
                raise SettingsError(
                    [f"vip: {what} (choose shared addresses that no host has for its own)"]
                )
        for each in left:
            self._remove(kernel, each.address, each.index, _name(each.index))
        return tuple(f"{each.address} on {_name(each.index)}" for each in left)

    def lease(self) -> None:
        """Set or renew all of them. Raises VipError."""
        index = self._index()
        for address in self._addresses:
            try:
                assert self._kernel is not None
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
        if self._kernel is None:
            return
        with contextlib.suppress(VipError):
            index = self._index()
            for address in self._addresses:
                # One that cannot be removed must not keep the others.
                with contextlib.suppress(OSError):
                    self._kernel.remove(address, address.max_prefixlen, index)

    def close(self) -> None:
        """Give the socket back."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _remove(
        self, kernel: rtnetlink.Kernel, address: rtnetlink.Address, index: int, device: str
    ) -> None:
        try:
            kernel.remove(address, address.max_prefixlen, index)
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

    def _find(self, kernel: rtnetlink.Kernel) -> Place:
        first = self._addresses[0]
        device = self._device
        found = None
        if not device:
            with contextlib.suppress(OSError):
                found = kernel.way(first)
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
        return Place(device=device, source=self._source_on(kernel, self._index()))

    def _source_on(self, kernel: rtnetlink.Kernel, index: int) -> rtnetlink.Address:
        """Find this host's address on a device: one in the network of the first shared one."""
        first = self._addresses[0]
        own = [
            each
            for each in kernel.addresses()
            if each.index == index and each.address.version == first.version and not each.whole
        ]
        own.sort(key=lambda each: _shared(each, first), reverse=True)
        if not own:
            raise VipError(
                f"{_name(index)} has no IPv{first.version} address of this host's own",
                remedy="give it one, or set vip.source or vip.device",
            )
        return own[0].address


def _own(one: rtnetlink.Found, all_of_them: Sequence[rtnetlink.Found]) -> bool:
    """Tell whether an address is the host's own: one in a network, or all that its device has."""
    beside = [
        each
        for each in all_of_them
        if each.index == one.index
        and each.address != one.address
        and each.address.version == one.address.version
    ]
    return not one.whole or not beside


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
        sock.setblocking(False)
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
