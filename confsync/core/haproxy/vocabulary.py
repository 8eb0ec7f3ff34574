"""The one table of what may change without a reload: server words, and what a section may hold.

An allow-list: a word that is not in here means reload, and so does one that the running build does
not take. Sources: "manual" is configuration.txt 5.2 and 4.2, "management" is management.txt's `add
server` of the release named (2.6, 3.0) or its `add server help` (3.2), "measured" was tried on 2.6.12,
3.0, 3.2 or 3.4, a hash or number is HAProxy's commit or issue.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from confsync.domain.running import Capabilities

Release = tuple[int, int]

OLDEST: Release = (2, 6)
"""The first release whose `add server` is not experimental (management 2.6)."""
_NEVER: Release = (99, 0)


class Effect(StrEnum):
    """What a word of a server line does to another one before it."""

    SETS = "sets"
    CLEARS = "clears"
    STATE = "state"
    IGNORED = "ignored"
    """Says nothing about a server whose address is an IP address."""


@dataclass(frozen=True, slots=True)
class ServerWord:
    """One word of a server line. `values`: how many follow it; `since`: `add server` takes it.

    `clears`: the option that it takes back, where that is another one.
    """

    values: int = 0
    since: Release = OLDEST
    effect: Effect = Effect.SETS
    clears: str = ""


def release(version: str) -> Release:
    """Give the release of a version, such as (2, 6) of "2.6.12-1+deb12u4"; (0, 0): unknown."""
    match = re.match(r"(\d{1,3})\.(\d{1,3})", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _table() -> dict[str, ServerWord]:
    found: dict[str, ServerWord] = {}
    # management 2.6, all of its list but `enabled` (2.6: shows UP but takes no requests, #2497).
    flags = """agent-check allow-0rtt backup check check-send-proxy check-ssl check-via-socks4
        force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 no-ssl-reuse no-sslv3
        no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 no-tls-tickets send-proxy send-proxy-v2
        send-proxy-v2-ssl send-proxy-v2-ssl-cn ssl tfo tls-tickets"""
    valued = """addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn
        check-proto check-sni ciphers ciphersuites crl-file crt downinter error-limit fall fastinter
        id inter maxconn maxqueue minconn npn observe on-error on-marked-down on-marked-up
        pool-low-conn pool-max-conn pool-purge-delay port proto proxy-v2-options rise slowstart sni
        source ssl-max-ver ssl-min-ver track verify verifyhost weight ws"""
    found |= {word: ServerWord() for word in _words(flags)}
    found |= {word: ServerWord(values=1) for word in _words(valued)}
    # management 2.8, 3.0 (`cookie` is refused before, measured), 3.2's `add server help`.
    later: dict[Release, tuple[str, str]] = {
        (2, 8): ("", "shard"),
        (2, 9): ("", "client-sigalgs curves sigalgs"),
        (3, 0): ("", "cookie guid pool-conn-name"),
        (3, 1): ("", "init-state"),
        (3, 2): ("check-reuse-pool strict-maxconn", "check-pool-conn-name idle-ping"),
    }
    for since, (bare, paired) in later.items():
        found |= {word: ServerWord(since=since) for word in _words(bare)}
        found |= {word: ServerWord(values=1, since=since) for word in _words(paired)}
    # Refused by `add server` in every release (measured); or taken and wrong: `hash-key` is ignored
    # until a weight changes (64c5d45a2), `usesrc` and `interface` are not measured.
    never = """cc hash-key interface log-bufsize log-proto max-reuse namespace redir
        resolve-net resolve-opts resolve-prefer resolvers socks4 tcp-md5sig tcp-ut
        usesrc"""
    found |= {word: ServerWord(values=1, since=_NEVER) for word in _words(never)}
    found |= {word: ServerWord(since=_NEVER) for word in ("sni-auto", "no-sni-auto", "non-stick")}
    # Said with a name to resolve only (manual), and refused at runtime (measured).
    found["init-addr"] = ServerWord(values=1, effect=Effect.IGNORED)
    found["enabled"] = ServerWord(effect=Effect.STATE)
    found["disabled"] = ServerWord(effect=Effect.STATE)
    # Taken back for a server what `default-server` has set (manual); `add server` refuses most of
    # these words (measured), so they are carried out here and never sent.
    taken_back = """agent-check backup check send-proxy send-proxy-v2 send-proxy-v2-ssl
        send-proxy-v2-ssl-cn ssl tfo verifyhost"""
    for word in _words(taken_back):
        found[f"no-{word}"] = ServerWord(effect=Effect.CLEARS, clears=word)
    found["no-check-ssl"] = ServerWord(effect=Effect.CLEARS, clears="check-ssl")
    found["ssl-reuse"] = ServerWord(effect=Effect.CLEARS, clears="no-ssl-reuse")
    found["stick"] = ServerWord(effect=Effect.CLEARS, clears="non-stick")
    found["tls-tickets"] = ServerWord(clears="no-tls-tickets")
    found["no-tls-tickets"] = ServerWord(clears="tls-tickets")
    return found


SERVER_WORDS: Mapping[str, ServerWord] = _table()

FILES = frozenset({"ca-file", "crl-file", "crt"})
"""Server words that name a file: `add server` takes one that is loaded already (measured on 2.6)."""


def addable(word: str, capabilities: Capabilities, release: Release) -> bool:
    """Tell whether this build's `add server` takes a word as the file's parser does."""
    known = SERVER_WORDS.get(word)
    if known is None or release < known.since:
        return False
    return capabilities.words is None or word in capabilities.words


# Lines that mean the same to a server added at runtime as to one of the file (manual 4.2): what is
# done to requests and responses, logging, times, the client's side. Health checks' own lines belong
# to the proxy and are prepared at start, with or without servers; state files are read at start only.
HARMLESS = _words(
    """acl backlog bind capture clitcpka-cnt clitcpka-idle clitcpka-intvl compression declare
    default_backend description enabled error-log-format errorfile errorfiles errorloc errorloc302
    errorloc303 external-check filter force-be-switch force-persist fullconn guid
    hash-balance-factor hash-preserve-affinity http-after-response http-check http-error
    http-request http-response http-reuse http-send-name-header id ignore-persist
    load-server-state-from-file log log-format log-format-sd log-steps log-tag
    max-keep-alive-queue max-session-srv-conns maxconn monitor monitor-uri persist quic-initial
    rate-limit redirect retries retry-on server-state-file-name source srvtcpka-cnt srvtcpka-idle
    srvtcpka-intvl stats stick-table tcp-check tcp-request tcp-response timeout unique-id-format
    unique-id-header use-server use_backend"""
)

# Lines that proxies.py weighs: they forbid something, or want numbers on the servers.
WEIGHED = _words(
    """balance cookie disabled dynamic-cookie-key email-alert hash-type mode option stick"""
)

# `option X` (manual 4.2). Not in here, so a reload: external-check (added with `check`, such a server
# kills HAProxy: measured), transparent, and all that is unknown.
HARMLESS_OPTIONS = _words(
    """abortonclose accept-invalid-http-request accept-invalid-http-response
    accept-unsafe-violations-in-http-request accept-unsafe-violations-in-http-response allbackups
    checkcache clitcpka contstats disable-h2-upgrade dontlog-normal dontlognull forwarded forwardfor
    h1-case-adjust-bogus-client h1-case-adjust-bogus-server http-buffer-request
    http-drop-request-trailers http-drop-response-trailers http-ignore-probes http-keep-alive
    http-no-delay http-pretend-keepalive http-restrict-req-hdr-names http-server-close
    http-use-proxy-header httpchk httpclose httplog httpslog idle-close-on-response
    independent-streams ldap-check log-health-checks log-separate-errors logasap mysql-check nolinger
    originalto persist pgsql-check prefer-last-server redis-check redispatch smtpchk socket-stats
    splice-auto splice-request splice-response srvtcpka ssl-hello-chk tcp-check tcp-smart-accept
    tcp-smart-connect tcpka tcplog"""
)

# `balance X`: what takes servers at runtime (measured on 2.6, 3.0, 3.2, 3.4). Of these, FIRST and
# RANDOM go by the servers' numbers: `first` in their order, `random` loses a live server where they
# are HAProxy's own (2ff861747, #3413). HASHES are dynamic with `hash-type consistent` alone, and take
# their keys from the numbers: with HAProxy's own, 73-100 % of the keys move at a reload (measured).
FIRST, RANDOM = "first", "random"
BY_TURNS = frozenset({"roundrobin", "leastconn"})
HASHES = frozenset({"hash", "hdr", "rdp-cookie", "source", "uri", "url_param"})
STATIC = frozenset({"static-rr"})

MODES = frozenset({"http", "tcp"})


def usual_balance(release: Release) -> str:
    """Name the algorithm of a proxy without `balance` (measured: random from 3.3 on)."""
    return RANDOM if release >= (3, 3) else "roundrobin"
