"""What a proxy's lines mean for a change of its servers: which need a reload, and why in words.

The words are vocabulary.py's; a line that is not in its table forbids everything but taking a server
out of service.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from confsync.core.haproxy import vocabulary
from confsync.core.haproxy.proxies import IN_A_BLOCK, Line, Proxy
from confsync.core.haproxy.words import value
from confsync.domain.running import Capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a reload must do what, "" where it need not.

    `add`: an addition; `change`: a weight, state, maxconn or address; `retire`: a removal (the server
    can be put in maintenance all the same). `move`: a change of address. `numbers`: additions and
    removals are sound only while all servers have ids of their own. `ordered`: the order of servers
    counts. `all_backups`: several backup servers work at a time.
    """

    add: str = ""
    change: str = ""
    retire: str = ""
    move: str = ""
    numbers: str = ""
    ordered: bool = False
    all_backups: bool = False


def weigh(proxy: Proxy, capabilities: Capabilities, release: vocabulary.Release) -> Verdict:
    """Weigh all lines that count in a proxy that is not doubtful, inherited ones first."""
    found = _Weights()
    for line in (*proxy.defaults.others, *proxy.own):
        found.take(line, capabilities)
    found.balanced(release)
    return Verdict(
        add=found.unknown or found.add,
        change=found.unknown or found.change,
        retire=found.unknown or found.retire,
        move=found.unknown or found.move,
        numbers=found.numbers,
        ordered=bool(found.unknown) or found.ordered,
        all_backups=found.all_backups,
    )


class _Weights:
    """Collects what lines say; of those that may stand once, the last counts."""

    def __init__(self) -> None:
        self.unknown = self.add = self.change = self.retire = self.move = self.numbers = ""
        self.ordered = self.all_backups = False
        self._balance = ""
        self._hash = ""

    def take(self, line: Line, capabilities: Capabilities) -> None:
        words = tuple(_plain(line))
        keyword, *rest = words
        negated = keyword in {"no", "default"} and bool(rest)
        if negated:
            keyword, *rest = rest
        said = " ".join([keyword, *rest[:1]]) if keyword == "option" else keyword
        if keyword in vocabulary.HARMLESS or keyword.startswith("."):
            return
        if keyword not in vocabulary.WEIGHED:
            self._unknown(f"`{said}` is not known to leave its servers alone")
        elif keyword == "option":
            self._option(rest[0] if rest else "", said, negated=negated, sure=not line.block)
        elif line.block:
            self._unknown(f"`{said}` {IN_A_BLOCK}")
        else:
            self._weighed(keyword, rest, capabilities)

    def _unknown(self, why: str) -> None:
        self.unknown = self.unknown or why

    def _option(self, name: str, said: str, *, negated: bool, sure: bool) -> None:
        if name == "external-check":
            # Prepared at start only: added with `check`, such a server ends HAProxy (measured).
            self.add = f"with `{said}` an added server would end HAProxy"
        elif name not in vocabulary.HARMLESS_OPTIONS:
            self._unknown(f"`{said}` is not known to leave its servers alone")
        elif name == "allbackups" and not sure:
            self._unknown(f"`{said}` {IN_A_BLOCK}")
        elif name == "allbackups":
            self.all_backups = not negated

    def _weighed(self, keyword: str, rest: list[str], capabilities: Capabilities) -> None:
        match keyword:
            case "balance":
                self._balance = rest[0] if rest else ""
            case "hash-type":
                self._hash = rest[0] if rest else ""
            case "mode" if not rest or rest[0] not in vocabulary.MODES:
                self._unknown(f"`mode {' '.join(rest)}` is not known to leave its servers alone")
            case "disabled":
                self._unknown("it is disabled")
            case "email-alert":
                self.add = "`email-alert` would not know an added server"
            case "cookie" if "dynamic" in rest and not capabilities.dynamic_cookies:
                # A server added at runtime deletes the client's cookie (measured; 9a0e0d3a1).
                self.add = self.move = "with `cookie ... dynamic` clients would lose their server"
            case "stick":
                self.numbers = "stick tables hold the servers' numbers"
            case _:
                pass

    def balanced(self, release: vocabulary.Release) -> None:
        """Weigh the algorithm, once all lines are known."""
        said = self._balance or vocabulary.usual_balance(release)
        name = said.partition("(")[0]
        if name in vocabulary.BY_TURNS:
            return
        if name == vocabulary.FIRST:
            self.numbers = "`balance first` goes by the servers' numbers"
        elif name == vocabulary.RANDOM:
            self.numbers = "`balance random` goes by the servers' numbers"
        elif name in vocabulary.HASHES and self._hash == "consistent":
            self.numbers = "consistent hashing goes by the servers' numbers"
        elif name in vocabulary.HASHES or name in vocabulary.STATIC:
            shown = (
                f"balance {said}"
                if name in vocabulary.STATIC
                else f"balance {said}` without `hash-type consistent"
            )
            why = f"`{shown}` takes no change of servers at runtime"
            self.add = self.add or why
            self.change = self.retire = why
            self.ordered = True
        else:
            self._unknown(f"`balance {said}` is not known to leave its servers alone")


def _plain(line: Line) -> Iterator[str]:
    """Give the words as HAProxy reads them, a variable as it is written: no table has it."""
    for word in line.words:
        read = value(word)
        yield word if read is None else read
