"""One answer of Consul's HTTP API: its body, not yet read, and what its headers say.

Shapes are judged here (a list where a list belongs); what stands in the rows is translate.py's.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any

from confsync.errors import Unavailable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """A usable answer.

    `index`: for the next blocking query; 0 when the header is missing or senseless. `last_contact`:
    seconds since the answering server heard from the leader. `filtered`: the token may not see all
    of it (Consul 1.11 and later say so). `asked`: the path, for messages.
    """

    body: bytes
    asked: str
    index: int = 0
    last_contact: float = 0.0
    filtered: bool = False

    @functools.cached_property
    def digest(self) -> bytes:
        """Name the body by its content: most answers of an idle registry repeat the one before."""
        return hashlib.blake2b(self.body, digest_size=16).digest()

    def rows(self) -> list[Any]:
        """Read the body as a list. Raises Unavailable."""
        value = self._value()
        if not isinstance(value, list):
            raise self._nonsense(f"{_kind(value)} where a list belongs")
        return value

    def table(self) -> dict[str, Any]:
        """Read the body as an object. Raises Unavailable."""
        value = self._value()
        if not isinstance(value, dict):
            raise self._nonsense(f"{_kind(value)} where an object belongs")
        return value

    def _value(self) -> Any:
        try:
            # Decoded here: json.loads guesses UTF-16 and UTF-32 from bytes.
            return json.loads(self.body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise self._nonsense("invalid UTF-8") from error
        except ValueError as error:
            raise self._nonsense("what is no JSON") from error
        except RecursionError as error:
            raise self._nonsense("JSON of senseless depth") from error

    def _nonsense(self, what: str) -> Unavailable:
        return Unavailable(
            f"Consul answers {self.asked} with {what}",
            remedy="is source.address the HTTP API of a Consul agent?",
        )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return "a single value"
