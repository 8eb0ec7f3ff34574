"""What a status other than 200 means: an error of ours with what to do about it.

The text of the answer is the registry's (or a proxy's) and may be anything; it is made fit for one
line. What fails below HTTP is client.py's.
"""

import dataclasses
import email.utils

from confsync.errors import DiscoveryError, RegistryDenied, Unavailable

LONGEST_RETRY_AFTER = 600
"""Seconds; a registry (or a proxy before it) that asks for more is asked again all the same."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is none. `retry_after`: the header as it came, "" for none."""

    status: int
    body: bytes
    retry_after: str = ""


def of(refusal: Refusal, *, who: str, path: str, secret: str, now: float) -> DiscoveryError:
    """Return the error. `secret` is masked in what the answer says; `now`: unix seconds."""
    pause = _seconds(refusal.retry_after, now)
    words = _one_line(refusal.body, secret)
    said = f"{who} answers {refusal.status} to {path}" + (f": {words}" if words else "")
    match refusal.status:
        case 401 | 403:
            return RegistryDenied(
                said,
                remedy=(
                    "source.token_file (or CONSUL_HTTP_TOKEN) needs a valid token with read of"
                    " services and nodes"
                ),
                retry_after=pause,
            )
        case 429:
            remedy = "it limits requests: raise its limit, or lower source.connections"
        case 300 | 301 | 302 | 303 | 307 | 308:
            remedy = "redirects are not followed: set source.address to the agent itself"
        case 400 | 404 | 405:
            remedy = "is source.address the HTTP API of a Consul agent, http or https?"
        case _ if "datacenter" in words:
            remedy = "correct source.datacenter"
        case _:
            remedy = "see the agent's log"
    return Unavailable(said, remedy=remedy, retry_after=pause)


def _seconds(text: str, now: float) -> float:
    """Read Retry-After, seconds or a date (RFC 9110, 10.2.3), as seconds from now."""
    try:
        seconds = (
            float(text)
            if text.isdigit()
            else email.utils.parsedate_to_datetime(text).timestamp() - now
        )
    except (ValueError, OverflowError):
        return 0
    return min(max(seconds, 0), LONGEST_RETRY_AFTER)


def _one_line(body: bytes, secret: str) -> str:
    text = body.decode("utf-8", "replace")
    if secret:
        text = text.replace(secret, "*****")
    text = " ".join(text[:2000].split())
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
