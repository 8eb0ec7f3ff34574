"""Whether a server can be added without a reload, and why not, in words.

Each rule here was a surprise once; tests/unit/core/test_text_vs_state.py has them one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from confsync.core.circumstances import Context
from confsync.core.haproxy import servers, vocabulary
from confsync.core.haproxy.servers import Server
from confsync.core.haproxy.weighing import Verdict
from confsync.domain.running import Leftover

_MOST_WORDS = 60
"""HAProxy takes 64 words a command (MAX_CLI_ARGS)."""
_HAPROXYS_OWN_IDS = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Those to one proxy. `running`, `target`: its servers by name, now and as they should be.

    `numbered`: all of them have numbers of their own.
    """

    backend: str
    running: Mapping[str, Server]
    target: Mapping[str, Server]
    verdict: Verdict
    context: Context
    numbered: bool

    def why_not(self, server: Server, leftover: Leftover | None) -> str:
        """Say why a server can't be added at runtime ("" when it can)."""
        if server.odd:
            return server.odd
        verdict = self.verdict
        if verdict.numbers and not self.numbered:
            return f"{verdict.numbers}, and not all have an `id`"
        if leftover is not None:
            return verdict.change or _other_than(leftover, server) or self._backup_again(server)
        return (
            verdict.add
            or self._words(server)
            or self._identity(server)
            or self._backup(server)
            or self._length(server)
        )

    def _words(self, server: Server) -> str:
        context = self.context
        for word, said in server.options:
            if word == "track" or not vocabulary.addable(
                word, context.capabilities, context.release
            ):
                return f"`{word}` can't be added at runtime"
            if word in vocabulary.FILES and (word, said) not in context.files():
                return f"`{word} {said}` is not loaded yet"
        if server.has("ssl") and server.get("verify") != "none" and not server.has("ca-file"):
            return "`ssl` needs `verify none` or a `ca-file`"
        if odd := servers.unsendable(server):
            return f"`{odd}` can't be said over HAProxy's socket"
        return ""

    def _identity(self, server: Server) -> str:
        """Names and numbers are taken even by a server in maintenance (measured)."""
        if not server.server_id:
            return ""
        holders = [s.name for s in self.running.values() if s.server_id == server.server_id]
        holders += [
            left.server
            for (backend, _), left in self.context.leftovers.items()
            if backend == self.backend and left.server_id == server.server_id
        ]
        if holders:
            return f"its id {server.server_id} is still {holders[0]}'s"
        if not self.numbered and server.server_id <= _HAPROXYS_OWN_IDS:
            return f"its id {server.server_id} may be one that HAProxy gave by itself"
        return ""

    def _backup(self, server: Server) -> str:
        """A backup server comes last at runtime; without allbackups the first one serves (measured)."""
        if not server.has("backup") or self.verdict.all_backups:
            return ""
        backups = [s.name for s in self.target.values() if s.may_be_backup]
        kept = [n for n in backups if n in self.running]
        if backups[: len(kept)] != kept or backups.count(server.name) != 1:
            return "a backup server can only come last at runtime"
        return ""

    def _backup_again(self, server: Server) -> str:
        """A leftover comes back to the place in the order that it had."""
        backups = [s for s in self.target.values() if s.may_be_backup]
        if not server.has("backup") or self.verdict.all_backups or len(backups) == 1:
            return ""
        return "a backup server can only come last at runtime"

    def _length(self, server: Server) -> str:
        words = server.words
        length = len(f"add server {self.backend}/{server.name} [{server.address}]:00000") + 2
        length += sum(len(word) + 1 for word in words)
        if len(words) > _MOST_WORDS or length > self.context.capabilities.line:
            return "its line is longer than HAProxy's socket takes"
        return ""


def _other_than(leftover: Leftover, server: Server) -> str:
    if leftover.options == flat(server) and leftover.server_id == server.server_id:
        return ""
    return "a retired server of that name with other options waits to be deleted"


def flat(server: Server) -> tuple[str, ...]:
    """Give a server's options as a leftover keeps them; no server has those of an odd one."""
    if server.odd:
        return ("(not understood)",)
    return tuple(word for pair in server.options for word in pair if word)
