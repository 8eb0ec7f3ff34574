"""Deletes retired servers that nothing uses any more; whatever is doubtful stays where it is.

`del server` is refused while connections are attached, and for ever where a line of the configuration
names the server (management.txt 9.3). 3.0 and later can be waited on; others are asked again.
"""

import asyncio

from confsync.adapters.haproxy import commands, readback
from confsync.adapters.haproxy.session import Session
from confsync.domain.change import Admin
from confsync.domain.running import Leftover

_PATIENCE = 0.05
"""Seconds in all for servers that are in use, for which a change may have to wait: long enough for
idle connections to be closed, the rest is a later call's."""
_PAUSE = 0.02
_MOST = 500
"""Servers of one call: a deletion stops all of HAProxy's threads for a moment."""


class Collector:
    """One round of deletions, over one conversation."""

    def __init__(self, talk: Session, *, waits: bool) -> None:
        self._talk = talk
        self._waits = waits

    async def collect(self, leftovers: tuple[Leftover, ...]) -> tuple[Leftover, ...]:
        """Delete; returns those that are gone. Raises TargetError."""
        told = [one for one in leftovers if commands.sayable(one.backend, one.server)][:_MOST]
        seen = await self._seen(told)
        gone = [one for one in told if (one.backend, one.server) not in seen]
        may = [one for one in told if _is_it(one, seen.get((one.backend, one.server)))]
        deleted, busy = await self._delete(may)
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while busy and (left := until - loop.time()) > 0:
            if self._waits:
                first = busy[0]
                await self._talk.ask(
                    commands.wait(first.backend, first.server, max(int(left * 1000), 1)),
                    timeout=left + 5,
                )
            else:
                await asyncio.sleep(min(_PAUSE, left))
            more, busy = await self._delete(busy)
            deleted += more
        away = {(one.backend, one.server) for one in (*gone, *deleted)}
        return tuple(one for one in leftovers if (one.backend, one.server) in away)

    async def _seen(self, leftovers: list[Leftover]) -> dict[readback.Place, readback.Seen]:
        places = {(one.backend, one.server) for one in leftovers}
        backends = dict.fromkeys(one.backend for one in leftovers)
        seen: dict[readback.Place, readback.Seen] = {}
        for answer in await self._talk.ask(*map(commands.states, backends)):
            seen.update((server.place, server) for server in readback.servers(answer, places))
        return seen

    async def _delete(self, leftovers: list[Leftover]) -> tuple[list[Leftover], list[Leftover]]:
        """Try each once; returns those that are gone, and those in use."""
        asked = [commands.delete(one.backend, one.server) for one in leftovers]
        gone, busy = [], []
        for one, answer in zip(leftovers, await self._talk.ask(*asked), strict=True):
            if commands.DELETED in answer or commands.ABSENT in answer:
                gone.append(one)
            elif commands.BUSY in answer:
                busy.append(one)
        return gone, busy


def _is_it(leftover: Leftover, seen: readback.Seen | None) -> bool:
    """Tell whether a server is the retired one, and in maintenance: then it may be deleted."""
    return (
        seen is not None
        and seen.state is Admin.MAINT
        and seen.port == leftover.port
        and readback.same_address(seen.address, leftover.address)
        and leftover.server_id in {0, seen.server_id}
    )
