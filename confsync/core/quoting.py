"""Encode one text as one word of a template's language, or say why that cannot be done.

Knows the languages of files only. Which text needs it, and what a refusal costs, is not decided here
(untrusted.py, rendering.py).
"""

from confsync.domain.rendered import Language

LONGEST = 1024
"""Bytes of UTF-8. HAProxy's lines grow as needed, but no honest tag is as long as this."""

_INERT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/@=,-")


class Unquotable(ValueError):
    """The text has no faithful form in the language; the message says why, without the text."""


def quote(text: str, language: Language, *, trusted: bool = False) -> str:
    r"""Encode `text` so that `language` reads it back as exactly one word, byte for byte.

    `trusted`: the operator's own text, in which HAProxy's `%` may stand. Raises Unquotable.
    HAProxy: odd bytes become \xNN, which keeps one word bare and inside double quotes (manual 2.2,
    "Quoting and escaping"). `%` is refused because arguments that are log-format strings evaluate it
    even when written as \x25 (measured on 2.6).
    """
    raw = _bytes(text)
    match language:
        case Language.HAPROXY:
            return _haproxy(text, raw, trusted=trusted)
        case Language.MAP:
            _printable(text)
            if text.startswith("#"):
                raise Unquotable("begins with #, which makes the line of a map a comment")
            return text
        case Language.NGINX:
            return _nginx(text)
        case Language.PLAIN:
            _printable(text)
            return text


def _bytes(text: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise Unquotable("is not valid Unicode") from None
    if not raw:
        raise Unquotable("is empty, and an empty word ends HAProxy's reading of a line")
    if len(raw) > LONGEST:
        raise Unquotable(f"is longer than {LONGEST} bytes")
    return raw


def _haproxy(text: str, raw: bytes, *, trusted: bool) -> str:
    _no_control(text)
    if text.startswith("-"):
        raise Unquotable("begins with -, which HAProxy may read as a flag")
    if "%" in text and not trusted:
        raise Unquotable("has a %, which HAProxy may evaluate as a log format")
    return "".join(chr(byte) if byte in _INERT else f"\\x{byte:02x}" for byte in raw)


def _nginx(text: str) -> str:
    _no_control(text)
    # Braces and semicolons are harmless between quotes, but a template may cut the quotes off.
    if found := next((c for c in "$;{}" if c in text), ""):
        raise Unquotable(f"has a {found}, which nginx may take for its own syntax")
    if not text.isprintable():
        raise Unquotable("has a character that cannot be printed")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _no_control(text: str) -> None:
    if "\n" in text or "\r" in text:
        raise Unquotable("has a line break")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise Unquotable("has a control character")


def _printable(text: str) -> None:
    _no_control(text)
    if " " in text or not text.isprintable():
        raise Unquotable("has a space or a character that cannot be printed")
