"""Nothing is loaded that was not checked as it is."""

import pytest

from confsync.engine.webserver import WebServer
from confsync.errors import CheckRejected


class Server:
    def __init__(self) -> None:
        self.state = 1
        self.bad = False
        self.done: list[str] = []
        self.meanwhile = 0

    def command(self) -> tuple[str, ...]:
        return ("nginx",)

    async def check(self) -> None:
        self.done.append(f"check {self.state}")
        self.state += self.meanwhile
        if self.bad:
            raise CheckRejected("bad")

    async def reload(self) -> None:
        self.done.append(f"reload {self.state}")

    def digest(self) -> int:
        return self.state


async def test_a_reload_checks_what_was_not_checked() -> None:
    server = Server()
    web = WebServer(server)
    assert await web.changed()
    await web.check()
    assert not await web.changed()
    await web.reload()
    server.state = 2
    assert await web.changed()
    await web.reload()
    assert server.done == ["check 1", "reload 1", "check 2", "reload 2"]
    assert not await web.changed()


async def test_what_is_refused_is_told_once_and_never_loaded() -> None:
    server = Server()
    web = WebServer(server)
    await web.check()
    server.state, server.bad = 2, True
    for _ in range(2):
        with pytest.raises(CheckRejected):
            await web.reload()
    assert not await web.changed()
    assert server.done == ["check 1", "check 2", "check 2"]


async def test_what_changes_during_a_check_is_looked_at_again() -> None:
    server = Server()
    web = WebServer(server)
    server.meanwhile = 1
    await web.check()
    assert await web.changed()
