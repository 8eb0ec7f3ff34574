"""The registry's text as a template may hold it: a plain word, or an object that nothing can print.

Typing values beats gating strings: a subclass of str loses its class in `+`, join, slices and macros.
So text that is not a plain word is no string at all. It answers comparisons and refuses the rest;
a refusal is collected, and what it came from is left out of the next render (rendering.py).
Nothing in here knows Jinja2's environment; sandbox.py does.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

LONGEST = 1024
"""Characters of a text that may be printed as it stands."""

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@=,][A-Za-z0-9_.:/@=,-]{0,1023}", re.ASCII)
_SHOWN = re.compile(r"[A-Za-z0-9_.:/@=,+~ -]*", re.ASCII)


def is_plain(text: str) -> bool:
    """Tell whether a text is one inert word in every language that confsync writes."""
    return _PLAIN.fullmatch(text) is not None


def shown(text: str, longest: int = 80) -> str:
    """Show a hostile text to a human: itself if harmless, else in ASCII with escapes; cut."""
    cut = text if len(text) <= longest else text[:longest] + "..."
    return cut if _SHOWN.fullmatch(cut) else ascii(cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A text that a template tried to print.

    `service`, `server`: the slug and the server's name; without `server` the whole service is to be
    left out. `missing`: it was a meta key that the instance lacks. `template`, `line`: where.
    """

    service: str
    server: str
    what: str
    template: str
    line: int
    missing: bool = False


@dataclass(slots=True)
class Refusals:
    """What one render refused; the first refusal of a service or server stands for all."""

    found: dict[tuple[str, str], Refusal] = field(default_factory=dict)

    def add(self, service: str, server: str, what: str, *, missing: bool) -> "Placeholder":
        """Note a refusal with the template's line, found among the callers."""
        if (service, server) not in self.found:
            template, line = _caller(inspect.currentframe())
            self.found[service, server] = Refusal(
                service=service,
                server=server,
                what=what,
                template=template,
                line=line,
                missing=missing,
            )
        return PLACEHOLDER


def _caller(frame: FrameType | None) -> tuple[str, int]:
    while frame is not None:
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            return str(template.name), int(template.get_corresponding_lineno(frame.f_lineno))
        frame = frame.f_back
    return "", 0


class Placeholder(str):
    """What a refusal prints. It never reaches a file: a render with refusals is done anew."""

    __slots__ = ()

    def __call__(self, *_args: object, **_kwargs: object) -> "Placeholder":
        """Stand for the result of a method as well."""
        return self


PLACEHOLDER = Placeholder("REFUSED")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text came from. `field` names it for the message: `tag`, `meta "x"`."""

    refusals: Refusals
    service: str
    server: str
    field: str

    def refuse(self, what: str, *, missing: bool = False) -> Placeholder:
        """Note a refusal."""
        return self.refusals.add(
            self.service, self.server, f"its {self.field} {what}", missing=missing
        )


class Refusing:
    """Everything Python can ask of a value, as a refusal. Subclasses say how with `_refuse`."""

    __slots__ = ()

    def _refuse(self) -> Placeholder:
        raise NotImplementedError

    def _text(self, *_args: object, **_kwargs: object) -> Any:
        return self._refuse()

    def _number(self, *_args: object) -> int:
        self._refuse()
        return 0

    def __iter__(self) -> Iterator[Any]:
        self._refuse()
        return iter(())

    __str__ = __repr__ = __format__ = __html__ = __call__ = __getitem__ = _text
    __add__ = __radd__ = __mod__ = __rmod__ = __mul__ = __rmul__ = __sub__ = __rsub__ = _text
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = _text
    __pos__ = __neg__ = __invert__ = __abs__ = __round__ = _text
    __len__ = __int__ = __index__ = _number

    def __float__(self) -> float:
        return float(self._number())


class Opaque(Refusing):
    """A text that is not a plain word.

    `==`, `<`, hash, `in`, truth, `startswith` and `endswith` answer as the text would; all else is a
    refusal. No attribute of it can be reached from a template (sandbox.py).
    """

    __slots__ = ("_hidden", "_origin")

    def __init__(self, text: str, origin: Origin) -> None:
        self._hidden = text
        self._origin = origin

    def _refuse(self) -> Placeholder:
        return self.refuse("is not a plain word, so only |quote can print it")

    def refuse(self, why: str) -> Placeholder:
        """Note a refusal of this text."""
        return self._origin.refuse(f"{shown(self._hidden)} {why}")

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, str | Opaque) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._hidden < reveal(other) if isinstance(other, str | Opaque) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._hidden > reveal(other) if isinstance(other, str | Opaque) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._hidden <= reveal(other) if isinstance(other, str | Opaque) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._hidden >= reveal(other) if isinstance(other, str | Opaque) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._hidden)

    def __bool__(self) -> bool:
        return bool(self._hidden)

    def __contains__(self, other: object) -> bool:
        return isinstance(other, str | Opaque) and reveal(other) in self._hidden

    def startswith(self, *other: object) -> bool:
        """Answer as the text would."""
        return self._hidden.startswith(_ends(other))

    def endswith(self, *other: object) -> bool:
        """Answer as the text would."""
        return self._hidden.endswith(_ends(other))

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("an opaque text is not copied")


class Missing(Refusing):
    """A meta key that the instance lacks: `is defined` and default() answer, all else is a refusal."""

    __slots__ = ("_origin",)

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def _refuse(self) -> Placeholder:
        return self._origin.refuse("is missing", missing=True)

    def _no(self, _other: object = None) -> bool:
        self._refuse()
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _no

    def __hash__(self) -> int:
        self._refuse()
        return 0


def _same(one: object, other: object) -> bool:
    return reveal(one) == reveal(other)


def _ends(arguments: tuple[object, ...]) -> tuple[str, ...]:
    flat = [x for a in arguments for x in (a if isinstance(a, tuple) else (a,))]
    return tuple(reveal(x) for x in flat)


def reveal(value: object) -> str:
    """Give the text behind a value. For core's own use: never hand the result to a template."""
    return value._hidden if isinstance(value, Opaque) else str(value)  # noqa: SLF001


def wrap(text: str, origin: Origin) -> str | Opaque:
    """Give a template what it may hold of a text."""
    return text if _PLAIN.fullmatch(text) else Opaque(text, origin)
