"""The toy servers: what the load client meets is what the demo says that it meets."""

import asyncio

import pytest

from confsync.demo.backends import Backend
from confsync.demo.exchange import Connection, Failed, Failure


async def test_it_answers_its_name() -> None:
    backend = Backend("web-1")
    connection = Connection(await backend.open(), "web")
    assert await connection.get() == "web-1"
    backend.end("stop")
    connection.close()


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_its_end_is_between_two_answers(how: str) -> None:
    backend = Backend("web-1")
    port = await backend.open()
    idle, busy = Connection(port, "web"), Connection(port, "web")
    await idle.get()
    await busy.get()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(busy.get())
        while not backend.busy:  # its work takes a millisecond at least
            await asyncio.sleep(0)
        backend.end("crash" if how == "crash" else "stop")
    assert running.result() == "web-1"
    with pytest.raises(Failed, match=Failure.CLOSED_REUSED):
        await idle.get()
    with pytest.raises(Failed, match=Failure.CLOSED_REUSED):
        await busy.get()
    with pytest.raises(Failed, match=Failure.REFUSED):
        await Connection(port, "web").get()
