"""Talks to HAProxy's unix sockets: one command, one whole answer, in bounded time and size.

The sockets are local, or reached through a Wire (a container's, through a bridge).
What the words of an answer mean is show.py's; when to ask again because of them is target.py's.
Sources: management.txt 9.3 and 9.4; the master refuses connections while it executes itself anew
(measured on 2.6 to 3.2), and ends an answer only when the client has closed its half.
"""

import asyncio
import errno
import socket
import sys

from confsync import errors
from confsync.ports import Wire

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes; `show servers state` of 50,000 servers is some 5 MB."""

_PAUSE = 0.005
_NOBODY_LISTENS = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EPIPE,
        errno.ENOTCONN,  # what asyncio makes of EAGAIN: the backlog is full
        errno.EAGAIN,
        errno.ECONNABORTED,
    }
)

STATS_LINE = "stats socket {path} mode 660 level admin expose-fd listeners"
MASTER_WORDS = "-S {path}"


class Refused(errors.TargetUnavailable):
    """The socket's file is there and nobody listens: a reload is under way, or HAProxy has ended."""


class NoReply(errors.TargetUnavailable):
    """The command went out and the connection was cut: whether it was obeyed is not known."""


def unix_socket(path: str) -> socket.socket:
    """Make a socket, not yet connected; `path`: for the error. Raises TargetUnavailable."""
    try:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise errors.TargetUnavailable(
            f"{path} cannot be asked: {error.strerror}",
            remedy="let confsync open more files (LimitNOFILE=)",
        ) from error


class Socket:
    """One of HAProxy's two command sockets; every command is a connection of its own.

    `master`: the socket is the master's, so its answer ends only after a half-close. `wire`: how to
    reach it when it is not local.
    """

    def __init__(self, path: str, *, master: bool = False, wire: Wire | None = None) -> None:
        self.path = path
        self._master = master
        self._wire = wire
        self.peer = 0
        """Pid of who listens, of the last connection (SO_PEERCRED); 0: in a foreign pid namespace,
        or behind a wire."""

    async def ask(self, command: str, *, timeout: float = 5.0, patience: float = 0.0) -> str:  # noqa: ASYNC109
        """Send one command and return the whole answer.

        `timeout`: seconds in all; `patience`: seconds within which a refused connection is tried
        again (the command has not gone out then, so that it is never sent twice).
        Raises Refused, NoReply, TargetUnavailable, TargetDenied.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        if self._wire is not None:
                            return await self._through(self._wire, command, timeout)
                        return await self._once(command)
                    except Refused:
                        if loop.time() >= until:
                            raise
                    await asyncio.sleep(_PAUSE)
        except TimeoutError as error:
            raise errors.TargetUnavailable(
                f"{self.path} did not answer `{command}` within {timeout:g} s"
            ) from error

    async def _once(self, command: str) -> str:
        loop = asyncio.get_running_loop()
        with unix_socket(self.path) as sock:
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, self.path)
                credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
                self.peer = int.from_bytes(credentials, sys.byteorder, signed=True)
                await loop.sock_sendall(sock, command.encode() + b"\n")
                if self._master:
                    sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise self.explained(error) from error
            return (await self._rest(loop, sock, command)).decode("utf-8", "replace")

    async def _through(self, wire: Wire, command: str, timeout: float) -> str:  # noqa: ASYNC109
        payload = command.encode() + b"\n"
        try:
            reply = await wire.exchange(
                self.path, payload, half_close=self._master, timeout=timeout
            )
        except TimeoutError:  # an OSError as well
            raise
        except EOFError as error:
            raise self.cut(command) from error
        except OSError as error:
            raise self.explained(error) from error
        if len(reply) > REPLY_LIMIT:
            raise self.too_long(command)
        return reply.decode("utf-8", "replace")

    async def _rest(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, command: str
    ) -> bytes:
        reply = bytearray()
        try:
            while piece := await loop.sock_recv(sock, 1 << 18):
                reply += piece
                if len(reply) > REPLY_LIMIT:
                    raise self.too_long(command)
        except OSError as error:
            raise self.cut(command) from error
        return bytes(reply)

    def too_long(self, command: str) -> errors.TargetUnavailable:
        """Say that the answer is longer than we take."""
        return errors.TargetUnavailable(
            f"{self.path} answered `{command}` with more than {REPLY_LIMIT} bytes"
        )

    def cut(self, command: str) -> NoReply:
        """Say that the connection ended before the answer did."""
        return NoReply(f"{self.path} cut the connection at `{command}`")

    def explained(self, error: OSError) -> errors.TargetError:
        """Say what a failed connection means and what to do about it."""
        if error.errno in _NOBODY_LISTENS:
            return Refused(
                f"nobody listens on {self.path}", remedy="start HAProxy, or wait for its reload"
            )
        if error.errno in {errno.EACCES, errno.EPERM}:
            return errors.TargetDenied(
                f"this user may not connect to {self.path}", remedy=self._access()
            )
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return errors.TargetUnavailable(f"no socket {self.path}", remedy=self.remedy())
        return errors.TargetUnavailable(
            f"cannot connect to {self.path}: {error.strerror or error}", remedy=self.remedy()
        )

    def remedy(self) -> str:
        """Name the line that makes HAProxy open this socket."""
        if self._master:
            words = MASTER_WORDS.format(path=self.path)
            return (
                f"start HAProxy with `-W {words}`; under Debian's unit: "
                f'`EXTRAOPTS="{words}"` in /etc/default/haproxy; or set target.master_socket'
            )
        line = STATS_LINE.format(path=self.path)
        return (
            f"add `{line}` to the global section of haproxy.cfg and reload HAProxy, "
            "or set target.stats_socket"
        )

    def _access(self) -> str:
        if self._master:
            return (
                "run confsync as root, or start HAProxy with "
                f"`-S {self.path},mode,660,group,GROUP` and a GROUP that confsync is in"
            )
        return (
            "run confsync as root, or add `group GROUP` to the line "
            f"`{STATS_LINE.format(path=self.path)}` with a GROUP that confsync is in"
        )
