"""One line of HAProxy's language: its words as written, and what HAProxy makes of each.

It follows parse_line() of HAProxy's tools.c, and the manual's sections 2.2 (quoting and escaping) and
2.3 (environment variables): blanks separate words, `#` outside quotes begins a comment wherever it
stands, a carriage return ends the line even inside quotes, variables count inside double quotes only,
and no line continues on the next one (a backslash at a line's end is a word; tried on 2.6).
Blanks are those of C: a no-break space is a letter like any other.
"""

import re

_BLANK = " \t\v\f"
_WORD = re.compile(r"""(?:[^ \t\v\f"'\\#]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", re.DOTALL)
_PLAIN = re.compile(r"[\t !$-&(-\[\]-~]*\Z")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_ODD = re.compile(r"""["'\\]""")


def words(line: str) -> tuple[str, ...]:
    """Split a line into words, quotes kept; a line with an open quote is one word, as it stands."""
    if _PLAIN.match(line):
        return tuple(line.split())
    line = line.partition("\r")[0]
    found = []
    position, end = 0, len(line)
    while position < end:
        if line[position] in _BLANK:
            position += 1
            continue
        if line[position] == "#":
            break
        match = _WORD.match(line, position)
        if match is None:
            return (line.strip(_BLANK),)
        found.append(match.group())
        position = match.end()
    return tuple(found)


def value(word: str) -> str | None:
    """Give what HAProxy reads a word as; None where that hangs on a variable, or it is refused."""
    if not _ODD.search(word):
        return word
    found: list[str] = []
    quote = ""
    position, end = 0, len(word)
    while position < end:
        letter = word[position]
        position += 1
        if letter == quote:
            quote = ""
        elif quote == "'" or (quote and letter == "'"):
            found.append(letter)
        elif letter in "\"'":
            quote = letter
        elif letter == "$" and quote:
            return None
        elif letter == "\\":
            if position >= end:
                return None
            letter = word[position]
            position += 1
            if letter == "x":
                code = word[position : position + 2]
                if len(code) != 2 or not all(c in "0123456789abcdefABCDEF" for c in code):
                    return None
                found.append(chr(int(code, 16)))
                position += 2
            elif letter in _CONTROL:
                found.append(_CONTROL[letter])
            elif letter in " #\\\"'$\t":
                found.append(letter)
            else:
                found.append("\\" + letter)
        else:
            found.append(letter)
    return None if quote else "".join(found)
