"""Two hosts that share addresses, and a client, in network namespaces."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.namespaces import Host, Net, Runner, runner
from tests.support.process import wait_until

VIP, MORE, MORE6 = "10.9.0.100", "10.9.0.101", "fd00:9::100"
PASSWORD = "open-sesame-4711"
SETTINGS: dict[str, dict[str, object]] = {
    # A second from host to host: two adverts are missed instead of three.
    "ucarp": {"engine": "ucarp", "ratio": 2, "more": (MORE,)},
    "keepalived": {"engine": "keepalived", "more": (MORE, MORE6)},
}


class Pair:
    """Hosts `a` and `b`, a client on the same bridge."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.net, self.folder = net, folder
        self.a, self.b, self.client = net.hosts
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self._stack = contextlib.ExitStack()
        self.settings: dict[str, object] = {}

    def close(self) -> None:
        self._stack.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        return (VIP, *self.settings.get("more", ()))  # type: ignore[misc]

    def start(self, host: Host, *within: str, ready: bool = True, **changes: object) -> Runner:
        settings = {"address": VIP, **self.settings, **changes}
        made = runner(host, self.folder, self.password, *within, **settings)
        started = self._stack.enter_context(made)
        if ready:
            started.wait("ready")
            started.tell("ok")
        return started

    def holders(self, address: str = VIP) -> list[Host]:
        return [host for host in (self.a, self.b) if host.has(address)]

    def only(self, host: Host) -> None:
        """Wait until this host has all the addresses, and the other one none."""
        wait_until(
            lambda: all(self.holders(each) == [host] for each in self.addresses),
            f"{host.letter} as the only holder",
        )

    def one(self) -> Host:
        """Wait until one host has all the addresses, and the other one none."""

        def found() -> Host | None:
            holders = [self.holders(each) for each in self.addresses]
            same = all(each == holders[0] for each in holders)
            return holders[0][0] if same and len(holders[0]) == 1 else None

        host = wait_until(found, "one holder")
        assert host is not None
        return host

    def both(self) -> tuple[Runner, Runner]:
        """Start a, which gets the addresses, then b, which takes part."""
        first = self.start(self.a)
        self.only(self.a)
        second = self.start(self.b)
        wait_until(lambda: second.standing()["role"] == "waits", "b's part")
        wait_until(lambda: self.b.pids("ucarp") or self.b.pids("keepalived"), "b's program")
        return first, second


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Net("a", "b", "c") as net:
        made = Pair(net, tmp_path)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(params=list(SETTINGS))
def engine(request: pytest.FixtureRequest, pair: Pair) -> str:
    """Both programs that elect."""
    pair.settings = SETTINGS[request.param]
    return str(request.param)


@pytest.fixture
def programs() -> Callable[[Host], list[int]]:
    """List what a host runs for an election: the program, its children, the guard."""
    return lambda host: [
        pid for word in ("ucarp --", "keepalived --", "guard.py") for pid in host.pids(word)
    ]
