"""Certificates as texts: what a PEM file holds, what may be taken in place of what, and what ends.

Nothing here verifies a signature: whether key and certificate belong together OpenSSL says
(adapters/tls), and what a certificate holds HAProxy says (adapters/haproxy/certificates.py), which
has to serve it. Private keys pass through as text and are part of no message.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable

from confsync.domain.tls import Bundle, Certificate, Expiry

DAY = 86_400
LARGEST = 256 * 1024
"""Bytes of a file that is read; a chain of four with an RSA key has some ten thousand."""

_BLOCK = re.compile(
    r"^-----BEGIN (?P<kind>[A-Z0-9 ]+)-----[ \t]*\r?\n(?P<body>.*?)^-----END (?P=kind)-----[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)
_KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
_RESERVED = (".key", ".ocsp", ".issuer", ".sctl")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+=,~-]*\Z", re.ASCII)


class Unfit(ValueError):
    """A file that cannot be served from; the message says why, and shows none of it."""


def serves(name: str) -> bool:
    """Tell whether HAProxy would load a file of this name from a `crt` folder as a certificate.

    configuration.txt 5.1, `crt`: not names that begin with a dot or end in a reserved word.
    """
    return not name.startswith(".") and not name.endswith(_RESERVED)


def sayable(name: str) -> bool:
    """Tell whether a file's name can be said over HAProxy's socket, and in its configuration."""
    return _NAME.match(name) is not None


def key_names(name: str) -> tuple[str, ...]:
    """Name the files that may hold the key of a certificate, the likeliest first."""
    stem, dot, ending = name.rpartition(".")
    return (f"{name}.key", f"{stem}.key") if dot and ending in {"crt", "pem"} else (f"{name}.key",)


def bundle(certificate: bytes, key: bytes | None = None) -> Bundle:
    """Read certificate, chain and key from one file, or the key from another. Raises Unfit."""
    whole = certificate if key is None else certificate + b"\n" + key
    blocks = [(m["kind"], m["body"]) for m in _BLOCK.finditer(_text(whole))]
    if b"-----BEGIN" not in certificate:
        raise Unfit("it is empty" if not certificate.strip() else "it holds no PEM text")
    if len(blocks) != whole.count(b"-----BEGIN"):
        raise Unfit("a part of it is cut off or garbled, as in a file half written")
    certificates = [body for kind, body in blocks if kind == "CERTIFICATE"]
    keys = [(kind, body) for kind, body in blocks if kind in _KEYS]
    if any(kind.startswith("ENCRYPTED") or "ENCRYPTED" in body for kind, body in blocks):
        raise Unfit("its private key has a passphrase, which nobody could enter")
    if not certificates:
        raise Unfit("it holds no certificate")
    if not keys:
        raise Unfit("it holds no private key, and there is none beside it")
    if len(keys) > 1:
        raise Unfit("it holds more than one private key")
    pem = "".join(
        f"-----BEGIN {kind}-----\n{_rows(body)}-----END {kind}-----\n"
        for kind, body in (
            *(("CERTIFICATE", body) for body in certificates),
            *keys,
            *(block for block in blocks if block[0] == "DH PARAMETERS"),
        )
    )
    return Bundle(
        pem=pem,
        fingerprint=hashlib.sha1(_der(certificates[0]), usedforsecurity=False).hexdigest().upper(),
        digest=hashlib.sha256(whole).hexdigest(),
        chain=len(certificates) - 1,
    )


def refusal(new: Certificate, now: float) -> str:
    """Say why a certificate that is fit must not take the place of one that serves; "" when it may."""
    if new.ends <= now:
        return f"it ended {_days(now - new.ends)} ago"
    if new.begins > now:
        return f"it begins in {_days(new.begins - now)} only: look at this machine's clock"
    return ""


def lost(old: Certificate, new: Certificate) -> tuple[str, ...]:
    """Name the names that a renewed certificate no longer has."""
    return tuple(name for name in old.names if name not in new.names)


def expiring(certificates: Iterable[Certificate], now: float) -> tuple[Expiry, ...]:
    """Tell when each ends, the next first."""
    found = [
        Expiry(path=c.path, names=c.names, ends=c.ends, days=int((c.ends - now) // DAY))
        for c in certificates
    ]
    return tuple(sorted(found, key=lambda each: (each.ends, each.path)))


def warning(expiry: Expiry) -> str:
    """Say it to the operator."""
    names = f" ({', '.join(expiry.names[:5])})" if expiry.names else ""
    if expiry.days < 0:
        since = -expiry.days - 1
        ago = f"{since} day{'s' * (since != 1)} ago" if since else "today"
        return f"{expiry.path}{names} ended {ago}: clients refuse it; renew it"
    left = "today" if expiry.days == 0 else f"in {expiry.days} day{'s' * (expiry.days != 1)}"
    return f"{expiry.path}{names} ends {left}; renew it"


def _text(data: bytes) -> str:
    return data.decode("latin-1").replace("\r\n", "\n")


def _rows(body: str) -> str:
    """Give a block's rows without blank ones: HAProxy's socket takes one for the payload's end."""
    return "".join(f"{row.strip()}\n" for row in body.split("\n") if row.strip())


def _der(body: str) -> bytes:
    if not _BASE64.fullmatch(body):
        raise Unfit("a certificate in it is garbled")
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (ValueError, binascii.Error):
        raise Unfit("a certificate in it is garbled") from None


def _days(seconds: float) -> str:
    days = int(seconds // DAY)
    return f"{days} day{'s' * (days != 1)}" if days else "less than a day"
