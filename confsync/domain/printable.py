"""Foreign text made safe to show: on a terminal, in a log line, in a message.

Not for configurations: there, core types or refuses it.

What a registry, a file or a socket sent may hold newlines (a forged log line), escape sequences (a
terminal that obeys), direction marks (a line that reads backwards) or half a surrogate (a crash of
the encoder). All of them become visible escapes; printable text of any script stays as it is.
"""


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape what is not printable as ``\n``, ``\x1b``, ``\u202e``; `keep` is left alone."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or c.isprintable() else _escaped(c) for c in text)


def shortened(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, the last one an ellipsis when something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
