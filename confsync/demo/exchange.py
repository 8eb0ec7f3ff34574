"""One HTTP/1.1 GET over a raw connection, with every way to fail told apart.

HTTP client libraries try again in silence when a reused connection turns out closed. Here that
counts: it is just what a reload can cost a client.
"""

import asyncio
from enum import StrEnum

LIMIT = 10.0  # seconds for one request


class Failure(StrEnum):
    """How a request failed; a status other than 200 is told by its number."""

    REFUSED = "connect refused"
    RESET = "reset"
    CLOSED_NEW = "closed unanswered"
    CLOSED_REUSED = "closed on reuse"
    CUT = "answer cut short"
    TIMEOUT = "timeout"
    NONSENSE = "no HTTP"


class Failed(Exception):
    """A request without the answer 200; `kind`: a Failure, or the status."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Connection:
    """A connection that is opened for its first request and used until somebody closes it.

    Nothing looks whether an idle connection still lives before it is used again: strict on purpose.
    """

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._last = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, *, last: bool = False) -> str:
        """Send a GET and return the answer's body; raises Failed.

        `last`: tell the server that the connection ends with this answer.
        """
        reused = self._streams is not None
        try:
            async with asyncio.timeout(LIMIT):
                status, body, closing = await self._exchange(self._last if last else self._request)
        except TimeoutError as error:
            self.close()
            raise Failed(Failure.TIMEOUT) from error
        except asyncio.IncompleteReadError as error:
            self.close()
            closed = Failure.CLOSED_REUSED if reused else Failure.CLOSED_NEW
            raise Failed(Failure.CUT if error.partial else closed) from error
        except ConnectionRefusedError as error:
            self.close()
            raise Failed(Failure.REFUSED) from error
        except OSError as error:
            self.close()
            raise Failed(Failure.RESET) from error
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            self.close()
            raise Failed(Failure.NONSENSE) from error
        if closing or last:
            self.close()
        if status != 200:
            raise Failed(str(status))
        return body.decode(errors="replace")

    async def _exchange(self, request: bytes) -> tuple[int, bytes, bool]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        length = fields.get("content-length")
        # HAProxy's own pages may come without a length: they end with the connection.
        body = await (reader.read() if length is None else reader.readexactly(int(length)))
        return status, body, length is None or fields.get("connection", "").lower() == "close"

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
