"""Server lines: an address, a number, and options with `default-server` folded in.

A runtime server takes nothing from `default-server` (management.txt, `add server`), so what the file's
parser would give it is written out here. Whatever could not be read to the last word is `odd`: it may
stay as it is, and any change to it is a reload.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from confsync.core.haproxy import vocabulary
from confsync.core.haproxy.remembering import Remembered
from confsync.core.haproxy.vocabulary import Effect
from confsync.core.haproxy.words import value
from confsync.domain.change import AddServer, Admin

Options = tuple[tuple[str, str], ...]
Words = tuple[str, ...]

HEAVIEST = 256
LAST_ID = 2**31 - 1

# What can neither end a command nor begin a payload or a comment on HAProxy's socket, where quotes
# are letters and `;` divides commands (measured).
_SENDABLE = re.compile(r"[A-Za-z0-9_.:/@=,+*~()\[\]-]+\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.:-]+\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}\Z", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of a backend. Two are equal when HAProxy would make them alike.

    `address` "": no IP address. `options`: folded, sorted, without id, weight, maxconn and state.
    `odd`: what could not be read, in words; then `raw` (the line's words and the defaults that it
    stands behind) is all that two can be compared by.
    """

    name: str
    address: str = ""
    port: int = 0
    server_id: int = 0
    weight: int = 1
    maxconn: int = 0
    state: Admin = Admin.READY
    options: Options = ()
    odd: str = ""
    raw: tuple[Words, ...] = field(default=())

    def has(self, option: str) -> bool:
        """Tell whether an option is set."""
        return any(name == option for name, _ in self.options)

    def get(self, option: str) -> str:
        """Give an option's value; "" when it is not set."""
        return next((v for name, v in self.options if name == option), "")

    @property
    def place(self) -> tuple[str, int]:
        """Where it is."""
        return self.address, self.port

    @property
    def serves(self) -> bool:
        """Tell whether it surely takes ordinary requests when it is up."""
        ready = self.state is Admin.READY and self.weight > 0
        return ready and not self.odd and not self.has("backup")

    @property
    def agent(self) -> bool:
        """Tell whether an agent is asked about it, or may be."""
        return self.has("agent-check") or any("agent-check" in words for words in self.raw)

    @property
    def may_be_backup(self) -> bool:
        """Tell whether it is a backup server, or may be one."""
        return bool(self.odd) or self.has("backup")

    @property
    def words(self) -> Words:
        """All that follows the address in `add server`."""
        found = ["id", str(self.server_id)] if self.server_id else []
        if self.weight != 1:
            found += ["weight", str(self.weight)]
        if self.maxconn:
            found += ["maxconn", str(self.maxconn)]
        for name, said in self.options:
            found += [name, said] if said else [name]
        return tuple(found)


def added(step: AddServer) -> Server:
    """Read an addition back: what runs once it is done."""
    found = read(("server", step.server, step.place, *step.words), ())
    return replace(found, state=step.state)


@Remembered
def read(line: Words, defaults: tuple[Words, ...]) -> Server:
    """Read a server line behind its `default-server` lines (their words, without the keyword)."""
    name = value(line[1]) if len(line) > 1 else None
    raw = (line, *defaults)
    if name is None or not _NAME.match(name):
        return Server(
            name=line[1] if len(line) > 1 else "", odd="its name is no plain word", raw=raw
        )
    try:
        return _read(name, line, defaults)
    except _OddError as error:
        return Server(name=name, odd=str(error), raw=raw)


class _OddError(ValueError):
    """What could not be read, in words."""


def _read(name: str, line: Words, defaults: tuple[Words, ...]) -> Server:
    address, port = _place(line[2] if len(line) > 2 else "")
    folded: dict[str, str] = {}
    for said in (*defaults, line[3:]):
        _fold(folded, said)
    state = Admin.MAINT if folded.pop("disabled", None) is not None else Admin.READY
    folded.pop("enabled", None)
    number = _number(folded.get("id", "0"), "id", LAST_ID)
    if folded.pop("id", "") and not number:
        raise _OddError("`id 0` is no number of HAProxy's")
    weight = _number(folded.pop("weight", "1"), "weight", HEAVIEST)
    maxconn = _number(folded.pop("maxconn", "0"), "maxconn", LAST_ID)
    _check_like_traffic(folded)
    return Server(
        name=name,
        address=address,
        port=port,
        server_id=number,
        weight=weight,
        maxconn=maxconn,
        state=state,
        options=tuple(sorted((k, v) for k, v in folded.items() if not k.startswith("-"))),
    )


def _place(word: str) -> tuple[str, int]:
    """Read a server's address and port. Host names, sockets, port maps and the like are odd."""
    text = value(word)
    if text is None:
        raise _OddError("its address is a variable")
    for family in ("ipv4@", "ipv6@"):
        text = text.removeprefix(family)
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.match(port) or not 0 < int(port) <= 65_535:
        raise _OddError(f"`{word}` is no IP address with a port")
    if "%" in host:
        raise _OddError(f"HAProxy forgets the zone of `{word}`, and its socket refuses it")
    try:
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        raise _OddError(
            f"`{word}` is no IP address with a port: only a reload resolves it"
        ) from None


def _fold(folded: dict[str, str], said: Sequence[str]) -> None:
    """Put words over what was said before them; a later word wins (manual 5.2)."""
    rest: Iterable[str] = iter(said)
    for written in rest:
        word = value(written)
        known = vocabulary.SERVER_WORDS.get(word or "")
        if word is None or known is None:
            raise _OddError(f"`{written}` is not known")
        argument = ""
        if known.values:
            follows = next(iter(rest), None)
            read_as = value(follows) if follows is not None else None
            if follows is None or not read_as:
                raise _OddError(f"`{word}` has no plain value")
            argument = read_as
        if known.clears:
            folded.pop(known.clears, None)
        match known.effect:
            case Effect.SETS:
                folded[word] = argument
            case Effect.STATE:
                folded.pop("enabled" if word == "disabled" else "disabled", None)
                folded[word] = ""
            case Effect.CLEARS if word == "no-check-ssl":
                folded["-check-ssl"] = ""  # not even where the traffic is encrypted
            case _:
                pass
        if word == "check-ssl":
            folded.pop("-check-ssl", None)


def _check_like_traffic(folded: dict[str, str]) -> None:
    """Say for a check what the file's parser lets it take from the traffic.

    Without a port or an address of its own, a check goes as the traffic goes; for a runtime server
    that must be written out (since 2.6, 7d098bea2).
    """
    if "check" not in folded or "port" in folded or "addr" in folded:
        return
    if "ssl" in folded and "-check-ssl" not in folded:
        folded["check-ssl"] = ""
    if any(word.startswith("send-proxy") for word in folded):
        folded["check-send-proxy"] = ""


def _number(text: str, word: str, most: int) -> int:
    if not _NUMBER.match(text) or int(text) > most:
        raise _OddError(f"`{word} {text}` is no number of HAProxy's")
    return int(text)


def unsendable(server: Server) -> str:
    """Name the first word that cannot be said over the socket as it is; "" when there is none."""
    return next((word for word in server.words if not _SENDABLE.match(word)), "")


def is_plain(name: str) -> bool:
    """Tell whether a server's name is one that HAProxy's socket takes."""
    return _NAME.match(name) is not None
